"""What the fixtures of ``stratix_kombu.testing.plugin`` do."""

from __future__ import annotations

import pkgutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from stratix_kombu.application import Application
from stratix_kombu.config.options import WorkerOptions
from stratix_kombu.errors import WaitTimeout
from stratix_kombu.lifecycle.clock import Clock
from stratix_kombu.plugins import queue_plugin
from stratix_kombu.queue.queue import Queue

UNFINISHED = ("waiting", "active", "delayed", "blocked", "paused")


@contextmanager
def started(marker: pytest.Mark | None, config: pytest.Config) -> Iterator[Application]:
    """An application for one test, with what its marker says."""
    if marker and marker.args:
        raise pytest.UsageError(f"marker stratix: write app={marker.args[0]!r}, or each setting by its name")
    given = dict(marker.kwargs) if marker else {}
    if "app" in given:
        app = _named(given.pop("app"), config)
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


def drain(queue: Queue, timeout: float = 10.0) -> dict[str, int]:
    """Run the jobs of a queue until all have finished; returns its counts."""
    deadline = time.monotonic() + timeout
    with _at_work(queue, timeout):
        while True:
            counts = queue.get_job_counts()
            left = {state: counts[state] for state in UNFINISHED if counts[state]}
            if not left:
                return counts
            if time.monotonic() > deadline:
                why = "" if queue.handler_names else ", and it has no handler (queue.process)"
                raise WaitTimeout(f"queue {queue.name!r} still has {left}: its jobs have not finished{why}", timeout)
            time.sleep(0.005)


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
