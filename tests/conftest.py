"""Servers shared by all tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services import rabbitmq_server, redis_server, sqs_server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Redis server."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """A real RabbitMQ server."""
    with rabbitmq_server() as url:
        yield url


@pytest.fixture(scope="session")
def sqs_url() -> Iterator[str]:
    """moto's SQS server."""
    with sqs_server() as url:
        yield url
