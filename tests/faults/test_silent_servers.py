"""Servers that take what is sent and never answer: nothing waits for longer than was said, and closing not for them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from stratix_kombu import Application, StoreUnavailable, create_app
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.outbox import Outbox
from stratix_kombu.errors import DriverUnavailable
from stratix_kombu.model.record import Ready
from tests.faults.conftest import WORKER
from tests.faults.proxy import Proxy
from tests.faults.test_half_open import within
from tests.waiting import WAIT_S, until

PATIENCE_MS = 2_000
THREADS = 60
ADDS = 20
LONG_MS = 300_000
"""So that only who does not wait for the server is ready before the test gives up."""
BROKERS = {"redis": "redis_url", "rabbitmq": "amqp_url", "sqs": "sqs_url"}


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Iterator[Proxy]:
    proxy = Proxy(request.getfixturevalue(BROKERS[request.param]))
    proxy.name = request.param
    yield proxy
    proxy.close()


@pytest.fixture
def store(redis_url: str) -> Iterator[Proxy]:
    proxy = Proxy(redis_url)
    yield proxy
    proxy.close()


def _application(broker: Proxy, store: Proxy, timeout_ms: int, store_ms: int = 0) -> Application:
    options: dict[str, Any] = {"command_timeout": timeout_ms}
    if broker.name == "sqs":
        credentials = {"access_key_id": "x", "secret_access_key": "y"}
        options |= {"endpoint_url": broker.url, "aws": {"region": "us-east-1", "credentials": credentials}}
    else:
        options["url"] = broker.url
    return create_app(
        {
            "driver": broker.name,
            broker.name: options,
            "namespace": f"mute{uuid.uuid4().hex[:8]}",
            "store": {"url": store.url, "command_timeout": store_ms or timeout_ms},
            "worker": WORKER,
        }
    )


def test_adding_ends_in_time(broker: Proxy, store: Proxy) -> None:
    app = _application(broker, store, PATIENCE_MS)
    queue, errors = app.queue.create_queue("q"), list[BaseException]()
    queue.on("error", errors.append)
    queue.add("first")
    broker.freeze()
    assert within(lambda: queue.add("broker is mute")) is None
    until(lambda: [error for error in errors if isinstance(error, DriverUnavailable)], WAIT_S)
    store.freeze()
    assert isinstance(within(lambda: queue.add("store is mute")), StoreUnavailable)
    for proxy in (store, broker):
        proxy.thaw()
    queue.add("last")
    assert within(lambda: app.close(timeout=1)) is None


def _outbox(app: Application) -> Outbox:
    driver = app.queue.engine.driver
    assert isinstance(driver, KombuDriver)
    return driver._outbox


def test_one_add_waits_for_the_broker_and_no_other(
    broker: Proxy, store: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is added meanwhile is sent as soon as the broker answers: there is no clock here that would recover it."""
    app = _application(broker, store, PATIENCE_MS)
    queue, other = app.queue.create_queue("q"), app.queue.create_queue("other")
    errors = list[BaseException]()
    for one in (queue, other):
        one.add("first")
        one.on("error", errors.append)
    outbox, waited = _outbox(app), list[str]()
    post = outbox.post

    def watched(jobs: Sequence[Ready]) -> bool:
        try:
            return post(jobs)
        except DriverUnavailable:
            waited.append(jobs[0].queue)
            raise

    monkeypatch.setattr(outbox, "post", watched)
    broker.freeze()
    queue.add("it waits")
    for number in range(ADDS):
        queue.add("n", number)
        other.add("n", number)
    assert len(waited) <= 1, "one waits for the broker; with RabbitMQ, whose confirms come later, none"
    until(lambda: errors, WAIT_S)
    assert {type(error) for error in errors} == {DriverUnavailable}
    broker.thaw()
    depth = app.queue.engine.driver.depth
    # What the broker took and could not confirm is sent more than once.
    until(lambda: (depth("q") or 0) >= ADDS + 2 and (depth("other") or 0) >= ADDS + 1, WAIT_S)
    assert within(lambda: app.close(timeout=1)) is None


@pytest.mark.parametrize("broker", ["redis", "sqs"], indirect=True)  # RabbitMQ's words on what was sent are waited for
def test_closing_does_not_wait_for_what_cannot_be_sent(
    broker: Proxy, store: Proxy, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = _application(broker, store, PATIENCE_MS)
    queue = app.queue.create_queue("q")
    queue.add("first")
    broker.freeze()
    for number in range(3):
        queue.add("n", number)
    thread, joined = _outbox(app)._thread, list[float]()
    monkeypatch.setattr(thread, "join", joined.append)
    app.queue.engine.driver.close()
    assert joined == []
    assert "3 messages were not confirmed when it was closed; recovery sends them again" in caplog.text
    assert within(lambda: app.close(timeout=1)) is None


def test_adding_waits_for_one_link_and_not_for_each(broker: Proxy, store: Proxy) -> None:
    """Threads that added together leave as many links behind, and all of them are dead."""
    app = _application(broker, store, PATIENCE_MS, LONG_MS)  # sixty together may take long
    queue, together = app.queue.create_queue("q"), threading.Barrier(THREADS)

    def add() -> None:
        for number in range(2):
            together.wait(90)
            queue.add("n", number)

    threads = [threading.Thread(target=add) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    broker.freeze()
    assert within(lambda: queue.add("broker is mute")) is None
    broker.thaw()
    assert within(lambda: app.close(timeout=1)) is None


def test_closing_ends_in_time(broker: Proxy, store: Proxy) -> None:
    """While a poll, a read of events, a heartbeat, a step of the clock, and an outcome wait for an answer."""
    app = _application(broker, store, LONG_MS)
    queue, gate = app.queue.create_queue("q", concurrency=2), threading.Event()
    queue.process(lambda job: gate.wait(60))
    queue.on("completed", lambda job, result: None)
    app.start()
    queue.add("n")
    until(lambda: queue.get_job_counts()["active"] == 1, 30)
    for proxy in (broker, store):
        proxy.freeze()
    gate.set()
    assert within(lambda: app.close(timeout=1)) is None
