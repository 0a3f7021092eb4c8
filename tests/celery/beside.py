"""The same small project with stock Celery and with the bridge, side by side on one broker: two workers, one script."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.celery.results import got
from tests.celery.workers import Project, WorkerProcess

Answer = TypeVar("Answer")
WAIT_S = 60


@dataclass
class Side:
    """One of the two: its application in this process."""

    name: str
    project: Project
    log: Callable[[], str] = str
    """What its worker has logged."""
    worker: str = ""
    """The name of its worker."""
    folder: Path = Path()
    """For files of this side alone; removed at the end."""

    @property
    def app(self) -> Any:
        return self.project.app

    def task(self, name: str) -> Any:
        return self.project.task(name)

    def new_id(self) -> str:
        """An id that no other task has, on either side."""
        return f"{self.name}-{uuid.uuid4().hex[:10]}"


@dataclass
class Beside:
    """Both."""

    stock: Side
    bridge: Side
    workers: list[WorkerProcess]

    def both(self, script: Callable[[Side], Answer]) -> Answer:
        """What a script answers, which must be the same on both sides."""
        stock, bridge = script(self.stock), script(self.bridge)
        assert bridge == stock, f"with stock Celery: {stock!r}; with the bridge: {bridge!r}"
        return bridge


@contextmanager
def beside(
    broker: str,
    store: str,
    pool: str = "threads",
    concurrency: int = 4,
    routed: str = "",
    bridged: str = "",
    **conf: Any,
) -> Iterator[Beside]:
    """Two workers of one project, with and without the bridge; ``conf`` are settings of Celery. ``routed``: the end of
    the name of a queue, to which its tasks go, and the only one that its worker consumes. ``bridged``: the pool of the
    worker with the bridge, if it is another one; ``own`` is the worker of stratix_kombu."""
    sides, workers = list[Side](), list[WorkerProcess]()
    for name in ("stock", "bridge"):
        project = Project(broker, store, conf={"bridge": name == "bridge", **conf})
        queue = project.prefix + (routed or "q")
        if routed:
            project.conf["task_routes"] = {"proj.*": {"queue": queue}}
            project.app.conf.task_routes = project.conf["task_routes"]
        workers.append(
            project.start_worker((name == "bridge" and bridged) or pool, concurrency, "-Q", queue, ready=False)
        )
        folder = tempfile.mkdtemp(prefix="stratix-beside-")
        sides.append(Side(name, project, workers[-1].text, workers[-1].name, Path(folder)))
    try:
        for worker in workers:
            worker.wait_until_ready()
        yield Beside(sides[0], sides[1], workers)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.end()
        for one in sides:
            # Results that a failed test holds look for the server when they go.
            one.app.backend.remove_pending_result = lambda result: result
            one.project.close()
            shutil.rmtree(one.folder)


def outcome(get: Callable[[], Any]) -> Any:
    """What a call returns, or the text of what it raises."""
    try:
        return get()
    except Exception as error:
        return f"{type(error).__module__}.{type(error).__name__}: {error}"


def value(result: Any) -> Any:
    """The value of a result, or the text of the error that it raises."""
    return outcome(lambda: got(result, WAIT_S))
