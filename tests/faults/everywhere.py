"""Settings of every kind of broker: what the store decides is the same on all of them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, create_app

BROKERS = ("memory", "sqlite", "postgresql", "redis", "rabbitmq", "sqs", "filesystem")
"""The last one stands for any transport that Kombu has; ``sqlite`` and ``postgresql`` are stores that need none."""
CREDENTIALS = {"access_key_id": "x", "secret_access_key": "y"}


def settings_on(broker: str, request: pytest.FixtureRequest, folder: Path, **more: Any) -> dict[str, Any]:
    """An application in a namespace of its own; its jobs are in a real Redis, but for stores that need no broker."""
    get = request.getfixturevalue
    settings: dict[str, Any] = {"driver": broker, "namespace": f"next{uuid.uuid4().hex[:8]}"}
    if broker == "sqlite":
        settings["store"] = f"sqlite:///{folder}/jobs.db?synchronous=off"
    elif broker == "postgresql":
        settings["store"] = f"{get('postgres_database')}?migrate=auto"
    elif broker != "memory":
        settings["store"] = get("redis_url")
    if broker == "redis":
        settings["redis"] = {"url": get("redis_url")}
    elif broker == "rabbitmq":
        settings["rabbitmq"] = {"url": get("amqp_url")}
    elif broker == "sqs":
        settings["sqs"] = {
            "endpoint_url": get("sqs_url"),
            "aws": {"region": "us-east-1", "credentials": CREDENTIALS},
            "wait_time_seconds": 1,
        }
    elif broker == "filesystem":
        settings["driver"] = f"filesystem://{folder}/broker"
    return {**settings, **more}


@pytest.fixture(params=BROKERS)
def everywhere(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return settings_on(request.param, request, tmp_path)


@contextmanager
def started(settings: dict[str, Any]) -> Iterator[Application]:
    """An application that takes jobs."""
    with create_app(settings) as app:
        app.start()
        yield app


@pytest.fixture
def app(everywhere: dict[str, Any]) -> Iterator[Application]:
    with started(everywhere) as app:
        yield app


def shuffled(values: list[Any]) -> list[Any]:
    """The same in another order, which is the same in every run."""
    found = list(values)
    random.Random(len(found)).shuffle(found)
    return found
