"""Queues without work cost no thread and no connection each, and are served as soon as there is work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from stratix_kombu import Application, create_app
from stratix_kombu.worker import consumer
from tests.faults.servers import OwnRedis
from tests.waiting import until

QUEUES = 300
FEW = 20


@pytest.fixture
def app(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """A queue without work rests at once."""
    monkeypatch.setattr(consumer, "REST_AFTER_S", 0.05)
    with_patience(monkeypatch)
    app = create_app(settings)
    yield app
    app.close()


def with_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratix_kombu.drivers.redis.PATIENCE_S", 0.1)
    monkeypatch.setattr("stratix_kombu.drivers.redis.WATCH_S", 0.1)


def of_queues() -> list[str]:
    """Threads that are there for one queue."""
    names = (one.name for one in threading.enumerate())
    return [one for one in names if one.startswith("stratix-q")]


def serve(app: Application, count: int) -> None:
    for number in range(count):
        app.queue.get_queue(f"q{number}").process("n", lambda job: job.data)


def connections(settings: dict[str, Any]) -> int:
    with Redis.from_url(settings["redis"]["url"]) as client:
        return len(client.client_list())


def test_many_queues_need_few_threads_and_connections(app: Application, settings: dict[str, Any]) -> None:
    serve(app, QUEUES)
    before = connections(settings) if "redis" in settings else 0
    app.start()
    assert len(of_queues()) <= FEW
    jobs = [app.queue.get_queue(f"q{number}").add("n", number) for number in range(0, QUEUES, 10)]
    assert [job.wait_until_finished(30) for job in jobs] == list(range(0, QUEUES, 10))
    until(lambda: of_queues() == [], 30)
    if "redis" in settings:
        assert connections(settings) - before <= FEW + len(jobs), "connections of the store are kept for a while"
    assert all(app.queue.get_queue(f"q{number}").worker is not None for number in range(QUEUES))


def test_a_queue_rests_and_is_woken_again_and_again(app: Application) -> None:
    serve(app, 2)
    app.start()
    queue = app.queue.get_queue("q1")
    for number in range(5):
        assert queue.add("n", number).wait_until_finished(30) == number
        until(lambda: of_queues() == [], 30)


def test_what_waits_before_the_start_runs_though_its_message_is_lost(app: Application) -> None:
    serve(app, 3)
    job = app.queue.get_queue("q1").add("n", 7)
    assert app.queue.engine.driver.purge("q1") == 1
    app.start()
    assert job.wait_until_finished(30) == 7


def paused(app: Application) -> Callable[[], None]:
    queue = app.queue.get_queue("q0")
    queue.pause()
    return queue.resume


def limited(app: Application) -> Callable[[], None]:
    queue = app.queue.get_queue("q0")
    queue.hold(200)
    return lambda: None


@pytest.mark.parametrize("close", [paused, limited])
def test_a_closed_queue_is_served_when_it_opens(
    app: Application, close: Callable[[Application], Callable[[], None]]
) -> None:
    serve(app, 2)
    app.start()
    reopen = close(app)
    job = app.queue.get_queue("q0").add("n", 1)
    reopen()
    assert job.wait_until_finished(30) == 1


def test_a_queue_that_rests_can_be_closed(app: Application) -> None:
    serve(app, 2)
    app.start()
    assert app.queue.get_queue("q0").close()
    assert app.queue.get_queue("q1").add("n", 1).wait_until_finished(30) == 1
    until(lambda: of_queues() == [], 30)
    app.close()
    assert not [one for one in threading.enumerate() if one.name == "stratix-watch"]


def test_the_broker_is_restarted_while_queues_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    with_patience(monkeypatch)
    server = OwnRedis(keeps=True)
    server.start()
    app = create_app({"driver": "redis", "redis": {"url": server.url}})
    try:
        serve(app, 2)
        app.start()
        server.restart()
        job = app.queue.get_queue("q1").add("n", 1)
        assert job.wait_until_finished(30) == 1
        assert app.check_health().ok
    finally:
        app.close()
        server.close()
