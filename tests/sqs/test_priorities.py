"""Priorities on SQS: a queue for each level in use, 0 first, and no request to a level that has no jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from stratix_kombu import ConfigurationError, Job, create_app
from stratix_kombu.celery import install
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.stores.redis.queries import RedisQueries
from stratix_kombu.testing.drivers import ready
from tests.celery.project import sqs_broker
from tests.sqs.front import Front
from tests.waiting import until

Settings = Callable[..., dict[str, Any]]
Make = Callable[..., SQSDriver]


def _polled(front: Front) -> list[str]:
    """The ends of the queues' names, in the order they were polled."""
    urls = [one.json["QueueUrl"] for one in front.requests if one.action == "ReceiveMessage"]
    return [url.rpartition("-")[2] for url in urls]


def _queues(admin: Any, namespace: str) -> list[str]:
    urls = admin.list_queues(QueueNamePrefix=namespace).get("QueueUrls", [])
    return sorted(url.rpartition("/")[2].removeprefix(f"{namespace}-") for url in urls)


def test_a_level_is_opened_when_it_is_used(make: Make, namespace: str, admin: Any, front: Front) -> None:
    driver = make()
    driver.publish([*ready("mail", 1, 0), *ready("mail", 1, 2)])
    assert driver.depth("mail") == 2
    assert _queues(admin, namespace) == ["mail"]
    driver.publish([*ready("mail", 1, 5), *ready("mail", 1, 3), *ready("mail", 1, 9)])
    assert _queues(admin, namespace) == ["mail", "mail-p3", "mail-p9"]
    assert make().depth("mail") == 5
    make().purge("mail")
    assert driver.depth("mail") == 0
    assert front.calls["ListQueues"] == 0


def test_the_most_urgent_jobs_are_first(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratix_kombu.drivers.sqs.receiver.LINGER_S", 10.0)  # moto may be slow to answer
    order: list[int] = []

    def note(job: Job) -> None:
        order.append(job.opts["priority"])

    with create_app(settings()) as producer, create_app(settings()) as consumer:
        producer.start()
        consumer.start()
        priorities = [9, 4, 0, 7, 9, 0]
        producer.queue.get_queue("mail").add_bulk([{"name": "n", "opts": {"priority": one}} for one in priorities])
        queue = consumer.queue.create_queue("mail", concurrency=1)
        queue.process(note)
        until(lambda: queue.get_job_counts()["completed"] == len(priorities), 30)
    assert order == sorted(priorities)


def test_an_idle_worker_polls_one_queue_and_is_not_held_up_by_it(
    settings: Settings, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, ask = list[str](), RedisQueries.waiting_priorities

    def look(queries: RedisQueries, queue: str) -> list[int]:
        looks.append(queue)
        return ask(queries, queue)

    monkeypatch.setattr(RedisQueries, "waiting_priorities", look)
    with create_app(settings(wait_time_seconds=20)) as producer, create_app(settings(wait_time_seconds=20)) as consumer:
        producer.start()
        consumer.start()
        consumer.queue.create_queue("mail").process(lambda job: job.data)
        until(lambda: _polled(front) == ["mail"])
        queue = producer.queue.get_queue("mail")
        for number in range(2):
            job = queue.add("n", number, priority=9)
            assert job.wait_until_finished(timeout=15) == number  # the poll of the queue itself takes twenty seconds
        seen, polled = len(looks), _polled(front)
        assert polled.count("mail") == 1
        until(lambda: len(looks) >= seen + 3)
        assert _polled(front) == polled  # the store says that no jobs wait: their queue is not asked


def test_without_priorities_there_is_one_queue(make: Make, namespace: str, admin: Any) -> None:
    driver = make(priorities=False)
    assert not driver.capabilities.priorities
    driver.publish([*ready("mail", 1, 0), *ready("mail", 1, 9)])
    assert _queues(admin, namespace) == ["mail"]
    driver.create_queue("mail-p3", {})


def test_workers_of_celery_take_from_one_queue() -> None:
    celery = Celery("proj", broker=sqs_broker("http://localhost:1"))
    assert install(celery, store="memory://").queue.engine.driver.capabilities.priorities is False


def test_names_that_a_level_would_have(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="priority 3"):
        make().create_queue("mail-p3", {})
    with pytest.raises(ConfigurationError, match="priority 9"):
        make().create_queue("mail-p9.fifo", {})
