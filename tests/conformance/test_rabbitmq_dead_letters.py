"""RabbitMQ's own dead letters: queues that have a dead-letter exchange, by our options or by another's."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection, Producer

from stratix_kombu import ConfigurationError, DriverUnavailable, create_app
from stratix_kombu.drivers.rabbitmq import RabbitMQDriver
from stratix_kombu.testing.drivers import ready, take
from tests.waiting import WAIT_S, until


@pytest.fixture
def namespace() -> str:
    return f"dlx{uuid.uuid4().hex[:8]}"


@pytest.fixture
def channel(amqp_url: str) -> Iterator[Any]:
    with Connection(amqp_url) as connection:
        yield connection.channel()


def test_what_no_worker_can_read_goes_to_the_dead_letter_exchange(
    amqp_url: str, redis_url: str, namespace: str, channel: Any
) -> None:
    dead = f"{namespace}.dead"
    channel.queue_declare(queue=dead, durable=True, auto_delete=False)
    options = {"url": amqp_url, "dead_letter_exchange": "", "dead_letter_routing_key": dead}
    settings = {"driver": "rabbitmq", "store": redis_url, "namespace": namespace, "rabbitmq": options}
    with create_app(settings) as app:
        app.start()
        queue, errors = app.queue.create_queue("mail"), list[BaseException]()
        queue.on("error", errors.append)
        first = queue.add("n")
        Producer(channel).publish({"some": "body"}, exchange="", routing_key=f"{namespace}.mail")
        queue.process(lambda job: "done")
        assert first.wait_until_finished(timeout=20) == "done"
        until(lambda: channel.queue_declare(queue=dead, passive=True).message_count == 1, WAIT_S)
        until(lambda: any("not a permit" in str(error) for error in errors), WAIT_S)
        assert queue.add("n").wait_until_finished(timeout=20) == "done"


def test_a_queue_that_somebody_declared_is_taken_as_it_is(amqp_url: str, namespace: str, channel: Any) -> None:
    arguments = {"x-dead-letter-exchange": "graveyard", "x-message-ttl": 600_000}
    channel.queue_declare(queue=f"{namespace}.mail", durable=True, auto_delete=False, arguments=arguments)
    driver = RabbitMQDriver({"url": amqp_url}, namespace=namespace)
    jobs = ready("mail", 3)
    driver.publish(jobs)
    until(lambda: driver.depth("mail") == 3, WAIT_S)
    receiver = driver.receiver("mail", 5)
    assert {one.job_id for one in take(receiver, 3)} == {job.id for job in jobs}
    receiver.close()
    driver.close()


def test_options_that_the_queue_was_not_declared_with(amqp_url: str, namespace: str, channel: Any) -> None:
    channel.queue_declare(queue=f"{namespace}.mail", durable=True, auto_delete=False)
    driver = RabbitMQDriver({"url": amqp_url, "dead_letter_exchange": "graveyard"}, namespace=namespace)
    with pytest.raises(DriverUnavailable, match=r"declared with other arguments.*graveyard.*delete it"):
        driver.publish(ready("mail", 1))
    driver.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dead_letter_exchnge": "x"}, "dead_letter_exchange"),
        ({"dead_letter_exchange": 5}, "must be a name"),
        ({"dead_letter_routing_key": "dead"}, "needs 'dead_letter_exchange'"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RabbitMQDriver(options, namespace="x")
