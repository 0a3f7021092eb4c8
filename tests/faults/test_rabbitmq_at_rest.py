"""Queues of RabbitMQ without work are waited for together."""

from __future__ import annotations

import threading
import uuid
from itertools import groupby
from typing import Any

import amqp
import pytest
from kombu import Connection

from stratix_kombu import Application, create_app
from stratix_kombu.drivers.rabbitmq import watcher
from stratix_kombu.drivers.rabbitmq.driver import RabbitMQDriver
from stratix_kombu.worker import consumer
from tests.faults.proxy import Proxy
from tests.waiting import until

QUEUES = 120
FEW = 20


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue without work rests at once."""
    monkeypatch.setattr(consumer, "REST_AFTER_S", 0.05)


def settings_of(url: str, redis_url: str, **options: Any) -> dict[str, Any]:
    return {
        "driver": "rabbitmq",
        "rabbitmq": {"url": url, **options},
        "store": redis_url,
        "namespace": f"rest{uuid.uuid4().hex[:8]}",
    }


def serve(app: Application, count: int) -> None:
    for number in range(count):
        app.queue.get_queue(f"q{number}").process("n", lambda job: job.data)


def of_queues() -> list[str]:
    names = (one.name for one in threading.enumerate())
    return [one for one in names if one.startswith("stratix-q")]


def test_many_queues_need_few_threads_and_connections(amqp_url: str, redis_url: str) -> None:
    proxy = Proxy(amqp_url)
    with create_app(settings_of(proxy.url, redis_url)) as app:
        serve(app, QUEUES)
        app.start()
        jobs = [app.queue.get_queue(f"q{number}").add("n", number) for number in (0, 77, QUEUES - 1)]
        assert [job.wait_until_finished(60) for job in jobs] == [0, 77, QUEUES - 1]
        until(lambda: of_queues() == [], 30)
        assert len([one for one in threading.enumerate() if one.name == "stratix-watch"]) == 1
        assert proxy.accepted <= FEW
        for number in range(3):
            assert app.queue.get_queue("q5").add("n", number).wait_until_finished(30) == number
            until(lambda: of_queues() == [], 30)
        assert dict(app.queue.engine.faults) == {}
    proxy.close()


def test_each_process_is_given_some(amqp_url: str, redis_url: str) -> None:
    """Two that rest: no message stays with one that does not work on it."""
    settings = settings_of(amqp_url, redis_url)
    with create_app(settings) as first, create_app(settings) as second:
        for app in (first, second):
            serve(app, 2)
            app.start()
        jobs = [first.queue.get_queue("q1").add("n", number) for number in range(50)]
        assert [job.wait_until_finished(30) for job in jobs] == list(range(50))
        until(lambda: of_queues() == [], 30)
    with create_app(settings) as app:
        assert [app.queue.engine.driver.depth(one) for one in ("q0", "q1")] == [0, 0]


def test_a_queue_that_is_deleted_while_it_rests(amqp_url: str, redis_url: str) -> None:
    settings = settings_of(amqp_url, redis_url)
    with create_app(settings) as app:
        serve(app, 3)
        app.start()
        assert app.queue.get_queue("q1").add("n", 1).wait_until_finished(30) == 1
        until(lambda: of_queues() == [], 30)
        with Connection(amqp_url) as connection:
            connection.channel().queue_delete(f"{settings['namespace']}.q1")
        until(lambda: app.queue.engine.faults["consume_failed"] > 0, 30)
        assert app.queue.get_queue("q2").add("n", 2).wait_until_finished(30) == 2
        assert app.queue.get_queue("q1").add("n", 3).wait_until_finished(30) == 3


def test_connections_are_cut_while_queues_rest(amqp_url: str, redis_url: str) -> None:
    proxy = Proxy(amqp_url)
    with create_app(settings_of(proxy.url, redis_url)) as app:
        serve(app, 3)
        app.start()
        for number in range(2):
            assert app.queue.get_queue("q1").add("n", number).wait_until_finished(30) == number
            until(lambda: of_queues() == [], 30)
            proxy.cut_all()
    proxy.close()


def test_a_watch_lives_longer_than_its_heartbeats(amqp_url: str, redis_url: str) -> None:
    with create_app(settings_of(amqp_url, redis_url, heartbeat=1)) as app:
        serve(app, 2)
        app.start()
        watcher = app.queue.engine.driver.watcher()
        assert watcher is not None
        assert watcher.patience <= 0.5
        for _ in range(8):
            assert watcher.wait(["q0"], watcher.patience) is None
        watcher.close()
        assert dict(app.queue.engine.faults) == {}


def test_many_queues_are_made_over_few_channels(amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker makes those of one channel one by one, and is waited for after each page: however many there are, no
    answer takes longer than that for a page."""
    calls = list[tuple[str, int]]()
    declare, ask = amqp.Channel.queue_declare, amqp.Channel.basic_qos

    def declaring(channel: Any, *args: Any, **options: Any) -> Any:
        calls.append(("declare", channel.channel_id))
        return declare(channel, *args, **options)

    def asking(channel: Any, *args: Any, **options: Any) -> Any:
        calls.append(("ask", channel.channel_id))
        return ask(channel, *args, **options)

    monkeypatch.setattr(amqp.Channel, "queue_declare", declaring)
    monkeypatch.setattr(amqp.Channel, "basic_qos", asking)
    monkeypatch.setattr(watcher, "PAGE", 10)
    driver = RabbitMQDriver({"url": amqp_url}, namespace=f"made{uuid.uuid4().hex[:8]}")
    names = [f"q{number}" for number in range(35)]
    driver.declare_all(names)
    made = [channel for what, channel in calls if what == "declare"]
    assert (len(made), len(set(made))) == (35, watcher.MOST_CHANNELS)
    runs = [len(list(run)) for what, run in groupby(calls, lambda one: one[0]) if what == "declare"]
    assert runs == [10, 10, 10, 5]
    assert {channel for what, channel in calls[-watcher.MOST_CHANNELS :] if what == "ask"} == set(made)
    assert [driver.depth(name) for name in (names[0], names[-1])] == [0, 0]
    driver.close()
