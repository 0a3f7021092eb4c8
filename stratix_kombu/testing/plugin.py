"""Pytest fixtures for programs that use stratix_kombu; loaded by its entry point.

>>> def test_welcome(stratix_queue, stratix_worker):  # doctest: +SKIP
...     stratix_queue.process("welcome", send_welcome)
...     job = stratix_queue.add("welcome", {"to": "a@example.com"})
...     stratix_worker(stratix_queue)
...     assert job.refresh().return_value == "sent"

Every pytest of an environment with this package loads this module: it imports the package where a fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.queue import Queue


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "stratix(**settings): settings of the fixture stratix_app, e.g. driver='redis'; or app='module:attribute', an "
        "application of your own",
    )


def pytest_unconfigure() -> None:
    if memory := sys.modules.get("stratix_kombu.stores.memory"):
        memory.be_silent_at_exit()


@pytest.fixture
def stratix_app(request: pytest.FixtureRequest) -> Iterator[Application]:
    """A started application in a namespace of its own, in memory unless the marker ``stratix`` says otherwise.

    The environment is ignored: a test does not write to the servers that ``STRATIX_*`` names. With the marker
    ``stratix(app="jobs:app")`` it is that application, with the settings that it has; in memory, what other tests have
    left in its queues is removed first.
    """
    from stratix_kombu.testing.applications import started

    with started(request.node.get_closest_marker("stratix"), request.config) as app:
        yield app


@pytest.fixture
def stratix_queue(stratix_app: Application) -> Queue:
    """An empty queue of ``stratix_app``."""
    return stratix_app.queue.get_queue("test")


@pytest.fixture
def stratix_worker() -> Callable[..., dict[str, int]]:
    """A function that runs the jobs of a queue until all have finished, and returns its counts.

    ``stratix_worker(queue, timeout=10.0)``, in seconds; raises WaitTimeout, naming what is left. The queue may be one
    of an application of your own, which need not be started, and may have been closed.
    """
    from stratix_kombu.testing.applications import drain

    return drain
