"""An application on each store, for tests of what both must do; modules with other needs have fixtures of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, Queue, create_app


@pytest.fixture(params=["memory", "redis"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A namespace of its own on the memory store, or on a real Redis."""
    settings: dict[str, Any] = {"driver": request.param, "namespace": f"unit{uuid.uuid4().hex[:8]}"}
    if request.param == "redis":
        settings["redis"] = {"url": request.getfixturevalue("redis_url")}
    return settings


@pytest.fixture
def in_memory() -> dict[str, Any]:
    """A namespace of its own on the memory store, with leases that expire soon."""
    return {
        "driver": "memory",
        "namespace": f"unit{uuid.uuid4().hex[:8]}",
        "shutdown_timeout": 5,
        "worker": {"lease_duration": 300, "stalled_check_interval": 50},
    }


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Application]:
    """A started application."""
    with create_app(settings) as app:
        app.start()
        yield app


@pytest.fixture
def queue(app: Application) -> Queue:
    """A queue of it, with three slots."""
    return app.queue.create_queue("q", concurrency=3)
