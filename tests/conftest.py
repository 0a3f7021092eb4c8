"""Servers shared by all tests of a run; what they need is installed before the tests are spread over processes."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.installation import PACKAGES, begin_run, end_run, install
from tests.postgres_server import database_of, postgres_server
from tests.services import rabbitmq_server, redis_server, sqs_server


def pytest_configure(config: pytest.Config) -> None:
    if not _is_spread_process(config):
        begin_run()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_spread_process(config):
        end_run()


def pytest_sessionstart(session: pytest.Session) -> None:
    """All tests need all servers. Of a file that was named only the tests know what they need, and ask for it."""
    config = session.config
    if _is_spread_process(config) or config.option.collectonly or config.args_source is config.ArgsSource.ARGS:
        return
    problem = install(PACKAGES)
    if problem:
        config.get_terminal_writer().line(problem)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # thousands of tests, which stay: no later collection goes through them


def _is_spread_process(config: pytest.Config) -> bool:
    """Whether this is one of several that pytest-xdist has started."""
    return hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis server."""
    with redis_server() as url:
        yield url
        gc.collect()  # results of stock Celery unsubscribe when they are collected: the server must be there


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """A real RabbitMQ server."""
    with rabbitmq_server() as url:
        yield url
        gc.collect()


@pytest.fixture(scope="session")
def sqs_url() -> Iterator[str]:
    """moto's SQS server."""
    with sqs_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL server: the URL of a superuser's database."""
    with postgres_server() as url:
        yield url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """A new database of that server."""
    with database_of(postgres_url) as url:
        yield url
