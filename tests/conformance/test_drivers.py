"""Every built-in driver conforms, against real servers."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stratix_kombu import TransportDriver
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.testing.drivers import DriverSuite
from tests.foreign import send_celery_task


def _driver(name: str, **options: Any) -> Iterator[TransportDriver]:
    driver = create_driver(name, options, namespace=f"t{uuid.uuid4().hex[:8]}")
    assert isinstance(driver, TransportDriver)
    driver.init()
    yield driver
    driver.close()


class KombuSuite(DriverSuite):
    @pytest.fixture
    def foreign(self) -> Callable[[TransportDriver, str], None] | None:
        return send_celery_task


class TestMemory(KombuSuite):
    @pytest.fixture
    def driver(self) -> Iterator[TransportDriver]:
        yield from _driver("memory")


class TestRedis(KombuSuite):
    @pytest.fixture
    def driver(self, redis_url: str) -> Iterator[TransportDriver]:
        yield from _driver("redis", url=redis_url)


class TestRabbitMQ(KombuSuite):
    @pytest.fixture
    def driver(self, amqp_url: str) -> Iterator[TransportDriver]:
        yield from _driver("rabbitmq", url=amqp_url)


class TestRabbitMQWithPriorities(KombuSuite):
    @pytest.fixture
    def driver(self, amqp_url: str) -> Iterator[TransportDriver]:
        yield from _driver("rabbitmq", url=amqp_url, max_priority=9)

    @pytest.fixture
    def foreign(self) -> None:
        """Celery would declare the queue without priorities."""


class TestRabbitMQQuorum(KombuSuite):
    @pytest.fixture
    def driver(self, amqp_url: str) -> Iterator[TransportDriver]:
        yield from _driver("rabbitmq", url=amqp_url, quorum=True)

    @pytest.fixture
    def foreign(self) -> None:
        """Celery would declare the queue as a classic one."""


class TestSQS(KombuSuite):
    @pytest.fixture
    def driver(self, sqs_url: str) -> Iterator[TransportDriver]:
        """A call has a minute for each try: one whose answer is late is made again, and what it sent comes twice."""
        aws = {"region": "us-east-1", "credentials": {"access_key_id": "x", "secret_access_key": "y"}}
        yield from _driver("sqs", endpoint_url=sqs_url, aws=aws, command_timeout=180_000)


class TestAnyKombuURL(KombuSuite):
    """A driver with nothing but a Kombu URL."""

    @pytest.fixture
    def driver(self, redis_url: str) -> Iterator[TransportDriver]:
        driver = KombuDriver({"url": redis_url}, namespace=f"t{uuid.uuid4().hex[:8]}")
        driver.init()
        yield driver
        driver.close()
