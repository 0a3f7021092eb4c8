"""A project on each transport and pool, with a real worker process for a whole module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stratix_kombu.testing.stores import audit
from tests.celery.project import sqs_broker
from tests.celery.workers import Project
from tests.waiting import WAIT_S, until

HOSTS = [
    "redis-threads",
    "redis-prefork",
    "redis-solo",
    "redis-gevent",
    "redis-own",
    "rabbitmq-own",
    "sqs-own",
    "rabbitmq-threads",
    "sqs-threads",
]
TRANSPORTS = ["redis", "rabbitmq", "sqs"]


def broker_on(transport: str, request: pytest.FixtureRequest) -> str:
    """The URL of a broker."""
    if transport == "redis":
        return str(request.getfixturevalue("redis_url"))
    if transport == "rabbitmq":
        return str(request.getfixturevalue("amqp_url"))
    return sqs_broker(request.getfixturevalue("sqs_url"))


def project_on(transport: str, request: pytest.FixtureRequest) -> Project:
    return Project(broker_on(transport, request), request.getfixturevalue("redis_url"))


@pytest.fixture(scope="module", params=HOSTS)
def hosted(request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project whose worker runs, on every host; at the end all jobs must have ended, and the store must be sound."""
    transport, pool = request.param.split("-")
    project = project_on(transport, request)
    with project.worker(pool):
        yield project
        until(lambda: not project.queue.get_jobs(["waiting", "active", "delayed", "blocked"]), WAIT_S)
    assert audit(project.app.stratix.queue.engine.store) == []
    project.close()


@pytest.fixture(params=TRANSPORTS)
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project on every transport, without a worker."""
    project = project_on(request.param, request)
    yield project
    project.close()


@pytest.fixture
def on_redis(request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project on Redis, without a worker."""
    project = project_on("redis", request)
    yield project
    project.close()


@pytest.fixture
def notes(tmp_path: Path) -> str:
    """A file that tasks write into."""
    path = tmp_path / "notes"
    path.touch()
    return str(path)


def lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
