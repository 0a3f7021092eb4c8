"""Pytest fixtures for programs that use stratix_kombu; loaded by its entry point.

>>> def test_welcome(stratix_queue, stratix_worker):  # doctest: +SKIP
...     stratix_queue.process("welcome", send_welcome)
...     job = stratix_queue.add("welcome", {"to": "a@example.com"})
...     stratix_worker(stratix_queue)
...     assert job.refresh().return_value == "sent"
"""

from __future__ import annotations

import pkgutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from stratix_kombu.application import Application
from stratix_kombu.config.options import WorkerOptions
from stratix_kombu.errors import WaitTimeout
from stratix_kombu.lifecycle.clock import Clock
from stratix_kombu.plugins import queue_plugin
from stratix_kombu.queue.queue import Queue
from stratix_kombu.stores.memory import be_silent_at_exit

UNFINISHED = ("waiting", "active", "delayed", "blocked", "paused")
Drain = Callable[..., dict[str, int]]


def pytest_configure(config: pytest.Config) -> None:
    be_silent_at_exit()
    config.addinivalue_line(
        "markers",
        "stratix(**settings): settings of the fixture stratix_app, e.g. driver='redis'; or app='module:attribute', an "
        "application of your own",
    )


@pytest.fixture
def stratix_app(request: pytest.FixtureRequest) -> Iterator[Application]:
    """A started application in a namespace of its own, in memory unless the marker ``stratix`` says otherwise.

    The environment is ignored: a test does not write to the servers that ``STRATIX_*`` names. With the marker
    ``stratix(app="jobs:app")`` it is that application, with the settings that it has; in memory, what other tests have
    left in its queues is removed first.
    """
    marker = request.node.get_closest_marker("stratix")
    given = dict(marker.kwargs) if marker else {}
    if "app" in given:
        app = _named(given.pop("app"), request.config)
        if given:
            raise pytest.UsageError(f"marker stratix: that app has settings of its own: leave out {sorted(given)}")
    else:
        settings = {"driver": "memory", "namespace": f"test-{uuid.uuid4().hex[:12]}", **given}
        app = Application(settings, partial(queue_plugin, environment={}))
    with app:
        if not app.queue.store.shared:
            for name in app.queue.store.queries.queues():
                app.queue.get_queue(name).obliterate(force=True)
        app.start()
        yield app


def _named(reference: str, config: pytest.Config) -> Application:
    if (root := str(config.rootpath)) not in sys.path:
        sys.path.insert(0, root)
    try:
        found = pkgutil.resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as problem:
        raise pytest.UsageError(f"marker stratix: app={reference!r} cannot be found: {problem}") from problem
    if not isinstance(found, Application):
        raise pytest.UsageError(f"marker stratix: app={reference!r} is a {type(found).__name__} and no Application")
    return found


@pytest.fixture
def stratix_queue(stratix_app: Application) -> Queue:
    """An empty queue of ``stratix_app``."""
    return stratix_app.queue.get_queue("test")


@pytest.fixture
def stratix_worker() -> Drain:
    """A function that runs the jobs of a queue until all have finished, and returns its counts.

    ``stratix_worker(queue, timeout=10.0)``, in seconds; raises WaitTimeout, naming what is left. The queue may be one
    of an application of your own, which need not be started, and may have been closed.
    """

    def drain(queue: Queue, timeout: float = 10.0) -> dict[str, int]:
        deadline = time.monotonic() + timeout
        with _at_work(queue, timeout):
            while True:
                counts = queue.get_job_counts()
                left = {state: counts[state] for state in UNFINISHED if counts[state]}
                if not left:
                    return counts
                if time.monotonic() > deadline:
                    why = "" if queue.handler_names else ", and it has no handler (queue.process)"
                    raise WaitTimeout(
                        f"queue {queue.name!r} still has {left}: its jobs have not finished{why}", timeout
                    )
                time.sleep(0.005)

    return drain


@contextmanager
def _at_work(queue: Queue, timeout: float) -> Iterator[None]:
    """Take its jobs, with a clock, unless its application does."""
    if queue.local.started:
        yield
        return
    closed = queue._closed
    clock = Clock.of(queue._engine, WorkerOptions())
    queue.reopen()
    queue.start()
    clock.start()
    try:
        yield
    finally:
        clock.stop()
        (queue.end if closed else queue.stop)(timeout)
