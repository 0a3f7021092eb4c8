"""``app.check_health()``: whether jobs are really consumed, not only whether a process is alive."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from stratix_kombu.config.options import Duration, milliseconds
from stratix_kombu.errors import ConfigurationError, StratixError, nearest
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.record import WorkerInfo
from stratix_kombu.model.shown import Shown
from stratix_kombu.queue.queue import Queue

if TYPE_CHECKING:
    from stratix_kombu.queue.manager import QueueManager

WITHIN_MS = 30_000
SCOPES = ("process", "host", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Shown, NotAwaitable):
    """The result of a health check. It is true in an ``if`` when nothing is wrong."""

    _meant: ClassVar[str] = "leave out 'await', or write 'await asyncio.to_thread(app.check_health)'"

    driver: bool
    """The broker answers."""
    store: bool
    """The store answers."""
    consuming: bool
    """Each worker that was checked has recently taken messages."""
    clock: bool
    """Delayed jobs are promoted in time, the store's time goes on, and the clock of this process, if it runs one, is
    alive."""
    workers: tuple[WorkerInfo, ...]
    """The workers that were checked; ``idle_ms`` is the time since each last took messages."""
    clock_lag_ms: int
    """How long ago the first delayed job of all was due."""
    problems: tuple[str, ...]
    """The problems found, one sentence each; empty if there are none."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As values of JSON, including ``ok``."""
        return {"ok": self.ok, **Shown.to_dict(self)}

    def __bool__(self) -> bool:
        return self.ok


def check_health(manager: QueueManager, within: Duration = WITHIN_MS, workers: str = "process") -> Health:
    """See ``Application.check_health``."""
    within_ms = milliseconds(within, "check_health: 'within'")
    if workers not in SCOPES:
        raise ConfigurationError(f"check_health: unknown 'workers' {workers!r}{nearest(str(workers), SCOPES)}")
    answers = manager.check_health()
    problems = [f"the {what} does not answer" for what, answer in answers.items() if not answer]
    known = workers == "process" or answers["store"]
    seen = tuple(_own(manager)) if workers == "process" else ()
    lag_ms = still_ms = 0
    try:
        queues = manager.get_overview(minutes=1) if answers["store"] else []
        lag_ms = max((queue.overdue_ms for queue in queues), default=0)
        still_ms = manager.store.queries.stands_still_ms() if answers["store"] else 0
        if workers != "process":
            seen = tuple(_present(manager, workers, [queue.name for queue in queues if queue.workers]))
    except StratixError as error:  # it has stopped meanwhile
        problems.append(str(error))
        answers["store"] = False
        known = workers == "process"
    idle = list(_idle(seen, within_ms))
    if known and not seen and workers != "process":
        where = f"on the host {socket.gethostname()}" if workers == "host" else "anywhere"
        idle.append(f"no worker is present {where}")
    problems += idle
    late = [*_late(manager, lag_ms, within_ms), *_still(still_ms, within_ms)]
    return Health(
        driver=answers["driver"],
        store=answers["store"],
        consuming=known and not idle,
        clock=answers["store"] and not late,
        workers=seen,
        clock_lag_ms=lag_ms,
        problems=(*problems, *late),
    )


def _own(manager: QueueManager) -> Iterator[WorkerInfo]:
    for queue in manager.get_all_queues():
        if isinstance(queue, Queue) and (worker := queue.worker):
            yield worker


def _present(manager: QueueManager, scope: str, served: list[str]) -> Iterator[WorkerInfo]:
    """Those of the queues ``served``, on this host or on all."""
    here = socket.gethostname()
    for name in served:
        present = manager.store.queries.workers(name)
        yield from (worker for worker in present if scope == "all" or worker.host == here)


def _idle(workers: tuple[WorkerInfo, ...], within_ms: int) -> Iterator[str]:
    for worker in workers:
        if worker.idle_ms is not None and worker.idle_ms > within_ms:
            problem = (
                f"queue {worker.queue!r}: worker {worker.id} has not taken messages for {worker.idle_ms / 1000:.0f} s"
            )
            if worker.concurrency and worker.stuck >= worker.concurrency:
                problem += (
                    f": no slot can run anything, {worker.stuck} of {worker.concurrency} are held by handlers "
                    "that timed out, were cancelled or lost their lease, and are still running"
                )
            yield problem


def _late(manager: QueueManager, lag_ms: int, within_ms: int) -> Iterator[str]:
    if lag_ms > within_ms:
        yield f"a delayed job has been due for {lag_ms / 1000:.0f} s: no clock promotes it (a worker or beat runs one)"
    if manager.clock is not None and manager.clock.idle_ms > within_ms:
        yield f"the clock of this process has not run for {manager.clock.idle_ms / 1000:.0f} s"


def _still(still_ms: int, within_ms: int) -> Iterator[str]:
    if still_ms > within_ms:
        yield (
            f"the store's clock was set back, and its time stands still for another {still_ms / 1000:.0f} s: until "
            "then nothing becomes due, neither delayed jobs nor the ends of leases and limits; set the clock right"
        )
