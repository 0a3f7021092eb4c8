"""An application on each store, for tests of what both must do; modules with other needs have fixtures of their own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, create_app


@pytest.fixture(params=["memory", "redis"])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A namespace of its own on the memory store, or on a real Redis."""
    settings: dict[str, Any] = {"driver": request.param, "namespace": f"unit{uuid.uuid4().hex[:8]}"}
    if request.param == "redis":
        settings["redis"] = {"url": request.getfixturevalue("redis_url")}
    return settings


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Application]:
    """A started application."""
    with create_app(settings) as app:
        app.start()
        yield app
