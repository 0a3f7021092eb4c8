"""An application over memory, and its dashboard."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from stratix_kombu import Application, create_app
from stratix_kombu.dashboard import Dashboard
from tests.dashboard.asking import Asking


@pytest.fixture
def app() -> Iterator[Application]:
    with create_app({"driver": "memory", "namespace": f"d{uuid.uuid4().hex[:12]}"}) as app:
        yield app
        for name in app.queue.get_queue_names():
            app.queue.get_queue(name).obliterate(force=True)


@pytest.fixture
def ops(app: Application) -> Asking:
    """Somebody who may do everything."""
    return Asking(Dashboard(app, authorize=lambda request: "ops"))
