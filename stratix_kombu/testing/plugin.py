"""Pytest fixtures for programs that use stratix_kombu; loaded by its entry point.

>>> def test_welcome(stratix_queue, stratix_worker):  # doctest: +SKIP
...     stratix_queue.process("welcome", send_welcome)
...     job = stratix_queue.add("welcome", {"to": "a@example.com"})
...     stratix_worker(stratix_queue)
...     assert job.refresh().return_value == "sent"
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from stratix_kombu.application import Application
from stratix_kombu.errors import WaitTimeout
from stratix_kombu.plugins import queue_plugin
from stratix_kombu.queue import Queue

UNFINISHED = ("waiting", "active", "delayed", "blocked", "paused")
Drain = Callable[..., dict[str, int]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "stratix(**settings): settings of the fixture stratix_app, e.g. driver='redis'")


@pytest.fixture
def stratix_app(request: pytest.FixtureRequest) -> Iterator[Application]:
    """A started application in a namespace of its own, in memory unless the marker ``stratix`` says otherwise.

    The environment says nothing here: a test does not write into what ``STRATIX_*`` names.
    """
    marker = request.node.get_closest_marker("stratix")
    settings = {"driver": "memory", "namespace": f"test-{uuid.uuid4().hex[:12]}", **(marker.kwargs if marker else {})}
    with Application(settings, partial(queue_plugin, environment={})) as app:
        yield app


@pytest.fixture
def stratix_queue(stratix_app: Application) -> Queue:
    """An empty queue of ``stratix_app``."""
    return stratix_app.queue.get_queue("test")


@pytest.fixture
def stratix_worker() -> Drain:
    """A function that waits until a queue has no unfinished job, and returns its counts.

    ``stratix_worker(queue, timeout=10.0)``, in seconds; raises WaitTimeout, naming what is left.
    """

    def drain(queue: Queue, timeout: float = 10.0) -> dict[str, int]:
        deadline = time.monotonic() + timeout
        while True:
            counts = queue.get_job_counts()
            left = {state: counts[state] for state in UNFINISHED if counts[state]}
            if not left:
                return counts
            if time.monotonic() > deadline:
                raise WaitTimeout(f"queue {queue.name!r} still has {left}: its jobs have not ended", timeout)
            time.sleep(0.005)

    return drain
