"""Applications as the document makes them, in memory and on a real Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from stratix_kombu import Application, create_app, queue_plugin, schedule_plugin

MakeApp = Callable[..., Application]


@pytest.fixture
def redis_options(redis_url: str) -> dict[str, Any]:
    """The plugin's options for a Redis server, as the document has them."""
    url = urlsplit(redis_url)
    return {"driver": "bullmq", "redis": {"host": url.hostname, "port": url.port}}


@pytest.fixture(params=["memory", "redis"])
def driver(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The plugin's options for one of the drivers."""
    found: dict[str, Any] = {"driver": "memory"}
    return found if request.param == "memory" else request.getfixturevalue("redis_options")


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """Makes applications of one namespace with both plugins, by options in one mapping; they are closed at the end."""
    made: list[Application] = []
    namespace = f"document{uuid.uuid4().hex[:8]}"

    def make(options: dict[str, Any]) -> Application:
        app = create_app()
        app.register(queue_plugin, {"namespace": namespace, **options})
        app.register(schedule_plugin)
        made.append(app)
        return app

    yield make
    for app in reversed(made):
        app.close(timeout=5)


@pytest.fixture
def app(make_app: MakeApp, driver: dict[str, Any]) -> Application:
    """One that is not started yet."""
    return make_app(driver)
