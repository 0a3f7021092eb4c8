"""Connections that stay open although nobody answers: nothing waits forever, and who was cut off comes back."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, DriverUnavailable, TransportDriver, create_app
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.rabbitmq import link
from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.model.record import Ready
from tests.faults.conftest import WORKER
from tests.faults.proxy import Proxy
from tests.waiting import until

REPLY_S = 0.5
BOUND_S = 30.0
"""Far more than any wait may take here, far less than forever."""


@pytest.fixture
def proxy(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(link, "CLOSE_S", REPLY_S)
    proxy = Proxy(amqp_url)
    yield proxy
    proxy.close()


@pytest.fixture
def driver(proxy: Proxy) -> Iterator[TransportDriver]:
    options = {"url": proxy.url, "connect_timeout": 500, "command_timeout": REPLY_S * 1000}
    driver = create_driver("rabbitmq", options, namespace=uuid.uuid4().hex[:8])
    assert isinstance(driver, TransportDriver)
    yield driver
    proxy.thaw()
    driver.close()


def within(work: Any) -> BaseException | None:
    """What ``work`` raises; fails if it does not return."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            work()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    threading.Thread(target=run, daemon=True).start()
    until(lambda: raised, BOUND_S)
    return raised[0]


def test_a_frozen_rabbitmq_holds_up_nobody_for_ever(driver: TransportDriver, proxy: Proxy) -> None:
    driver.publish([Ready("a", "q", "n")])
    receiver = driver.receiver("q", 1)
    (delivery,) = receiver.receive(1, 10)
    proxy.freeze()
    big = "x" * 50_000_000  # more than the buffers on the way take
    asked = (
        lambda: driver.depth("q"),
        lambda: driver.publish([Ready("c", "q", big)]),
        lambda: receiver.give_back([delivery]),
    )
    for ask in asked:
        assert isinstance(within(ask), DriverUnavailable)
    assert not within(receiver.close)
    proxy.thaw()
    driver.publish([Ready("b", "q", "n")])
    assert {one.job_id for one in receiver.receive(1, 10)} <= {"a", "b"}
    receiver.close()


@pytest.fixture
def app(proxy: Proxy, redis_url: str) -> Iterator[Application]:
    settings = {
        "driver": "rabbitmq",
        "store": redis_url,
        "namespace": f"open{uuid.uuid4().hex[:8]}",
        "worker": WORKER,
        "rabbitmq": {"url": proxy.url, "heartbeat": 1, "command_timeout": REPLY_S * 1000},
    }
    with create_app(settings) as app:
        app.start()
        yield app
        proxy.thaw()


def test_a_worker_stops_though_its_broker_is_frozen(app: Application, proxy: Proxy) -> None:
    queue = app.queue.create_queue("q")
    queue.process(lambda job: "done")
    queue.add("n").wait_until_finished(timeout=30)
    proxy.freeze()
    assert not within(lambda: app.close(timeout=1))


def test_a_job_that_is_longer_than_the_heartbeats_does_not_cost_the_connection(app: Application, proxy: Proxy) -> None:
    queue, errors, gate = app.queue.create_queue("q"), list[BaseException](), threading.Event()
    queue.on("error", errors.append)
    queue.process(lambda job: gate.wait(60))
    job = queue.add("n")
    until(lambda: queue.get_job_counts()["active"] == 1, 30)
    accepted, began = proxy.accepted, time.monotonic()
    until(lambda: time.monotonic() > began + 4, 10)  # twice what a dead broker is given
    gate.set()
    assert job.wait_until_finished(timeout=30) is True
    assert (errors, proxy.accepted) == ([], accepted)


def test_a_queue_that_was_deleted_is_declared_again(app: Application, amqp_url: str) -> None:
    queue, driver = app.queue.create_queue("q"), app.queue.engine.driver
    assert isinstance(driver, KombuDriver)
    queue.process(lambda job: "done")
    queue.add("n").wait_until_finished(timeout=30)
    driver.attempt(lambda link: link.channel.queue_delete(driver.broker_queue("q")))
    assert queue.add("n").wait_until_finished(timeout=30) == "done"


def test_a_queue_that_was_deleted_is_declared_again_by_a_worker_alone(app: Application) -> None:
    queue, driver, errors = app.queue.create_queue("q"), app.queue.engine.driver, list[BaseException]()
    assert isinstance(driver, KombuDriver)
    queue.on("error", errors.append)
    queue.process(lambda job: "done")
    queue.add("n").wait_until_finished(timeout=30)
    name = driver.broker_queue("q")
    driver.attempt(lambda link: link.channel.queue_delete(name))
    until(lambda: errors, 30)

    def consumers() -> int:
        try:
            return int(driver.attempt(lambda link: link.channel.queue_declare(name, passive=True).consumer_count))
        except DriverUnavailable:
            return 0

    until(lambda: consumers() == 1, 30)
