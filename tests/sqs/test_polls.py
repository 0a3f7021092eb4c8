"""Long polls: a stop does not wait for them, and what a poll that was left still brings is given back. Their costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from stratix_kombu import Job, create_app
from stratix_kombu.drivers.sqs import SQSDriver
from stratix_kombu.testing.drivers import ready, take
from tests.sqs.front import Front
from tests.waiting import WAIT_S, until

Settings = Callable[..., dict[str, Any]]


def test_a_stop_does_not_wait_for_the_poll(front: Front, settings: Settings, make: Callable[..., SQSDriver]) -> None:
    app = create_app(settings(wait_time_seconds=20, visibility_timeout=600))
    app.start()
    app.queue.create_queue("mail").process(lambda job: None)
    until(lambda: front.calls["ReceiveMessage"] == 1, WAIT_S)
    begun = time.monotonic()
    app.close()
    assert time.monotonic() - begun < 10  # the poll takes twenty seconds
    driver = make()
    (job,) = ready("mail", 1)
    driver.publish([job])
    until(lambda: front.calls["ChangeMessageVisibilityBatch"] == 1, WAIT_S)  # the poll that was left had taken it
    receiver = driver.receiver("mail", 1)
    assert [one.job_id for one in take(receiver, 1)] == [job.id]
    receiver.close()


def test_a_receive_that_is_not_to_wait_asks_once(make: Callable[..., SQSDriver], front: Front) -> None:
    receiver = make().receiver("mail", 1)
    assert receiver.receive(1, 0.4) == []
    receiver.close()
    assert front.calls["ReceiveMessage"] == 1


def test_a_worker_that_needs_no_permit_pays_for_none(make: Callable[..., SQSDriver], front: Front) -> None:
    """However often it asks: one poll is under way, and goes on."""
    receiver = make().receiver("mail", 1)
    for _ in range(50):
        assert receiver.receive(1, 0) == []
    until(lambda: front.calls["ReceiveMessage"], WAIT_S)
    receiver.close()
    assert front.calls["ReceiveMessage"] == 1


def test_what_comes_while_no_slot_is_free_is_given_back(make: Callable[..., SQSDriver], front: Front) -> None:
    driver = make()
    full = driver.receiver("mail", 1)
    assert full.receive(1, 0) == []  # and the poll goes on
    jobs = ready("mail", 2)
    driver.publish(jobs)
    until(lambda: full.tend() is None and front.calls["ChangeMessageVisibilityBatch"] == 1, WAIT_S)
    other = driver.receiver("mail", 5)
    assert {one.job_id for one in take(other, 2)} == {job.id for job in jobs}
    other.close()
    full.close()


def test_requests_per_thousand_jobs(front: Front, settings: Settings) -> None:
    """The numbers of the README: ten jobs a request to send, to receive and to delete, but for a few not full ones."""
    count, per_thousand = 100, 10
    with create_app({**settings(), "worker": {}}) as app:
        app.start()
        queue = app.queue.create_queue("mail", concurrency=count + 10)  # ten are free, however slow the handlers are
        queue.add_bulk([{"name": "n"} for _ in range(count)])
        sent = front.calls
        queue.process(lambda job: None)
        until(lambda: queue.get_job_counts()["completed"] == count, 60)
        until(lambda: app.queue.engine.driver.depth("mail") == 0, 60)  # it did not need them all
        until(lambda: front.calls["DeleteMessageBatch"] * per_thousand >= 100, 60)  # closed now, it hands back the rest
    calls = front.calls
    assert sent["SendMessageBatch"] * per_thousand == 100
    assert calls["ReceiveMessage"] * per_thousand <= 110
    assert calls["DeleteMessageBatch"] * per_thousand == 100
    others = {"GetQueueUrl", "CreateQueue", "GetQueueAttributes"}
    assert set(calls) == {"SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch", *others}


def test_deletes_of_single_jobs_are_sent_together(
    make: Callable[..., SQSDriver], front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make()
    driver.publish(ready("mail", 25))
    receiver = driver.receiver("mail", 1)
    monkeypatch.setattr("stratix_kombu.drivers.sqs.receiver.DELETE_S", 60.0)
    take(receiver, 24, limit=1)
    receiver.tend()
    assert front.calls["DeleteMessageBatch"] == 2
    monkeypatch.setattr("stratix_kombu.drivers.sqs.receiver.DELETE_S", 0.0)
    take(receiver, 1, limit=1)
    receiver.close()
    assert front.calls["DeleteMessageBatch"] == 3
    assert driver.depth("mail") == 0


def test_a_delete_waits_no_longer_than_a_moment(
    make: Callable[..., SQSDriver], front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratix_kombu.drivers.sqs.receiver.DELETE_S", 0.0)
    driver = make()
    driver.publish(ready("mail", 1))
    receiver = driver.receiver("mail", 1)
    receiver.acknowledge(receiver.receive(1, 5))
    receiver.tend()  # as while a long job runs
    assert front.calls["DeleteMessageBatch"] == 1
    receiver.close()


def test_jobs_and_delays_longer_than_the_visibility_timeout(settings: Settings, front: Front) -> None:
    """A second stands for SQS's thirty, three for the hour that a job takes, two for a delay of a week."""
    runs, lock = list[str](), threading.Lock()

    def work(job: Job) -> None:
        with lock:
            runs.append(job.name)
        if job.name == "long":
            time.sleep(3)

    with create_app({**settings(wait_time_seconds=1, visibility_timeout=1), "worker": {}}) as app:
        app.start()
        queue = app.queue.create_queue("mail", concurrency=3)
        queue.process(work)
        jobs = [queue.add("long"), queue.add("delayed", delay=2_000)]
        for job in jobs:
            job.wait_until_finished(timeout=30)
        until(lambda: app.queue.engine.driver.depth("mail") == 0, WAIT_S)
    assert sorted(runs) == ["delayed", "long"]
    assert front.calls["SendMessageBatch"] == 2  # the delay waited in the store
