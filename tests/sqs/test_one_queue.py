"""One SQS queue for a queue, whatever the priorities of its jobs; and the queues that an earlier version has left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from stratix_kombu import ConfigurationError, Job, create_app
from stratix_kombu.celery import install
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.drivers.sqs.messages import entry_of
from stratix_kombu.testing.drivers import ready, take
from tests.celery.project import sqs_broker
from tests.sqs.front import Front
from tests.waiting import WAIT_S, until

Settings = Callable[..., dict[str, Any]]
Make = Callable[..., SQSDriver]


def _queues(admin: Any, namespace: str) -> list[str]:
    urls = admin.list_queues(QueueNamePrefix=namespace).get("QueueUrls", [])
    return sorted(url.rpartition("/")[2].removeprefix(f"{namespace}-") for url in urls)


def _leave_behind(admin: Any, namespace: str, level: int, messages: int) -> str:
    """A queue of an earlier version, with messages."""
    url: str = admin.create_queue(QueueName=f"{namespace}-mail-p{level}")["QueueUrl"]
    for number, job in enumerate(ready("mail", messages, level)):
        admin.send_message(QueueUrl=url, MessageBody=entry_of(job, "mail", False)["MessageBody"], DelaySeconds=0)
        assert number < messages
    return url


def _left_in(admin: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(map(int, admin.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()))


def test_jobs_of_every_priority_are_in_one_queue(make: Make, namespace: str, admin: Any, front: Front) -> None:
    driver = make()
    driver.publish([*ready("mail", 1, 0), *ready("mail", 1, 5), *ready("mail", 1, 9)])
    assert _queues(admin, namespace) == ["mail"]
    assert make().depth("mail") == 3
    make().purge("mail")
    assert driver.depth("mail") == 0
    assert front.calls["ListQueues"] == 0


def test_the_most_urgent_jobs_are_first(settings: Settings) -> None:
    order: list[int] = []

    def note(job: Job) -> None:
        order.append(job.opts["priority"])

    with create_app(settings()) as producer, create_app(settings()) as consumer:
        consumer.start()
        priorities = [9, 4, 0, 7, 9, 0]
        producer.queue.get_queue("mail").add_bulk([{"name": "n", "opts": {"priority": one}} for one in priorities])
        queue = consumer.queue.create_queue("mail", concurrency=1)
        queue.process(note)
        until(lambda: queue.get_job_counts()["completed"] == len(priorities), WAIT_S)
    assert order == sorted(priorities)


@pytest.mark.parametrize("limit", [1, 10])
def test_what_an_earlier_version_has_left_is_taken(make: Make, namespace: str, admin: Any, limit: int) -> None:
    left = [_leave_behind(admin, namespace, level, 2) for level in (3, 9)]
    driver = make()
    driver.publish(ready("mail", 2))
    receiver = driver.receiver("mail", limit)
    assert len(take(receiver, 6, limit)) == 6
    receiver.close()
    assert [_left_in(admin, url) for url in left] == [0, 0]


def test_jobs_of_an_earlier_version_are_run_in_order(settings: Settings, namespace: str, admin: Any) -> None:
    url, order = _leave_behind(admin, namespace, 6, 12), list[int]()
    with create_app(settings()) as app:
        app.start()
        queue = app.queue.create_queue("mail", concurrency=1)
        queue.add_bulk([{"name": "n", "data": n, "opts": {"priority": 7}} for n in range(5)])
        queue.process(lambda job: order.append(job.data))
        until(lambda: len(order) == 5 and _left_in(admin, url) == 0, WAIT_S)
    assert order == list(range(5))


def test_who_may_not_look_for_them_goes_on_without(front: Front, settings: Settings, make: Make) -> None:
    make().publish(ready("mail", 1))
    front.fault = lambda request: (
        (403, "AccessDenied") if request.action == "GetQueueUrl" and "-p" in request.body else None
    )
    with create_app(settings()) as app:
        app.start()
        queue = app.queue.create_queue("mail")
        queue.process(lambda job: "done")
        assert queue.add("n").wait_until_finished(timeout=15) == "done"


def test_an_idle_worker_asks_once_a_poll(settings: Settings, front: Front) -> None:
    with create_app(settings(wait_time_seconds=20)) as app:
        app.start()
        queue = app.queue.create_queue("mail")
        queue.process(lambda job: job.data)
        until(lambda: front.calls["ReceiveMessage"] == 1, WAIT_S)
        for number in range(2):
            assert queue.add("n", number, priority=9 * number).wait_until_finished(timeout=15) == number
        assert front.calls["ReceiveMessage"] <= 4


def test_without_levels_a_name_may_end_as_theirs_did(make: Make, front: Front) -> None:
    driver = make(priorities=False)
    driver.create_queue("mail-p3", {})
    driver.publish(ready("mail", 1))
    receiver = driver.receiver("mail", 1)
    take(receiver, 1)
    receiver.close()
    assert [one.body for one in front.requests if "-p3" in one.body] == []


def test_workers_of_celery_take_from_one_queue() -> None:
    celery = Celery("proj", broker=sqs_broker("http://localhost:1"))
    assert install(celery, store="memory://").queue.engine.driver.queues.levels("celery") == [0]  # type: ignore[attr-defined]


def test_names_that_a_level_had(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="priority 3"):
        make().create_queue("mail-p3", {})
    with pytest.raises(ConfigurationError, match="priority 9"):
        make().create_queue("mail-p9.fifo", {})
