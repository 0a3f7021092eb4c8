"""A queue as a program uses it: adding jobs, looking at them, waiting for them, listening."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, Queue, WaitTimeout
from stratix_kombu.errors import (
    DependencyNotFound,
    InvalidJobState,
    JobFailed,
    JobNotFound,
    PayloadNotSerializable,
    PayloadTooLarge,
)
from tests.waiting import until


@pytest.fixture
def settings(in_memory: dict[str, Any]) -> dict[str, Any]:
    return in_memory


def test_bad_jobs_are_refused_before_anything_is_written(queue: Queue) -> None:
    for bad in (
        lambda: queue.add("n", {"x": object()}),
        lambda: queue.add("n", "x" * 2_000_000),
        lambda: queue.add("", 1),
        lambda: queue.add("n", 1, atempts=3),
        lambda: queue.add("n", 1, dependencies=["nobody"]),
        lambda: queue.add_bulk([{"name": "good"}, {"name": "n", "data": {1: 2}}]),
        lambda: queue.add_bulk([{"name": "good"}, {"nam": "n"}]),
        lambda: queue.add_bulk([{"name": "good"}, 5]),  # type: ignore[list-item]
    ):
        with pytest.raises((ConfigurationError, PayloadNotSerializable, PayloadTooLarge, DependencyNotFound)):
            bad()
    assert queue.get_jobs() == []
    with pytest.raises(PayloadNotSerializable, match="add_bulk, job 1"):
        queue.add_bulk([{"name": "good"}, {"name": "n", "data": {1: 2}}])


def test_a_known_id_gives_the_job_that_has_it(app: Application, queue: Queue) -> None:
    first = queue.add("n", 1, job_id="same")
    again = queue.add("n", 2, {"jobId": "same"})
    assert (again.id, again.data) == (first.id, 1)
    with pytest.raises(ConfigurationError, match="taken by a job of another queue"):
        app.queue.create_queue("other").add("n", job_id="same")


def test_looking_at_jobs(app: Application, queue: Queue) -> None:
    waiting = queue.add("w", {"a": [1]}, priority=2)
    later = queue.add("d", delay=60_000, attempts=3, backoff=10)
    assert waiting.get_state() == "waiting"
    assert [job.id for job in queue.get_jobs()] == [waiting.id, later.id]
    assert [job.id for job in queue.get_jobs("delayed")] == [later.id]
    assert queue.get_job("nobody") is None
    found = app.queue.create_queue("other").get_job(waiting.id)
    assert found is None, "it is another queue's"
    assert later.opts["attempts"] == 3
    assert later.timestamp > 0
    assert (later.processed_on, later.finished_on, later.return_value) == (None, None, None)
    with pytest.raises(ConfigurationError, match=r"unknown state 'compleeted'.*did you mean 'completed'"):
        queue.get_jobs("compleeted")
    queue.pause()
    assert queue.is_paused()
    assert queue.get_job_counts()["paused"] == 1
    queue.resume()
    later.promote()
    later.update_data([2])
    assert later.refresh().data == [2]
    later.remove()
    for use in (later.refresh, later.get_state, later.retry, later.promote, later.remove):
        with pytest.raises(JobNotFound):
            use()
    with pytest.raises(InvalidJobState):
        waiting.retry()


def test_changing_when_a_job_comes(queue: Queue) -> None:
    queue.process(lambda job: "done")
    late, later = queue.add("n", delay=timedelta(hours=1)), queue.add("n", delay=60_000)
    late.change_delay(20)
    assert late.wait_until_finished(timeout=10) == "done"
    asyncio.run(later.aio.change_delay(timedelta(hours=2)))
    assert later.get_state() == "delayed"
    later.change_delay(0)
    assert later.wait_until_finished(timeout=10) == "done"
    with pytest.raises(InvalidJobState, match="it is completed, not delayed"):
        later.change_delay(5)
    with pytest.raises(ConfigurationError, match="must be milliseconds or a timedelta"):
        later.change_delay("soon")  # type: ignore[arg-type]


def test_changing_which_job_is_first(queue: Queue) -> None:
    first, second, third = (queue.add("n", number, priority=5) for number in range(3))
    third.change_priority(1)
    asyncio.run(first.aio.change_priority(9))
    second.change_priority(5)
    assert [job.id for job in queue.get_jobs("waiting")] == [third.id, second.id, first.id]
    assert first.refresh().opts["priority"] == 9
    queue.process(lambda job: job.data)
    assert first.wait_until_finished(timeout=10) == 0
    with pytest.raises(InvalidJobState, match=r"cannot change the priority of .* it is completed, not waiting or"):
        first.change_priority(1)
    with pytest.raises(ConfigurationError, match="change_priority: 'priority' must be a whole number from 0 to 9"):
        first.change_priority(10)


def test_waiting_for_jobs(queue: Queue) -> None:
    job = queue.add("n")
    with pytest.raises(WaitTimeout, match="has not finished after"):
        job.wait_until_finished(timeout=0.05)
    removed: list[BaseException] = []

    def wait() -> None:
        try:
            job.wait_until_finished(timeout=10)
        except JobNotFound as gone:
            removed.append(gone)

    waiting = threading.Thread(target=wait)
    waiting.start()
    job.remove()
    waiting.join(10)
    assert len(removed) == 1


def test_listeners(queue: Queue) -> None:
    heard: list[tuple[object, ...]] = []
    queue.on("completed", lambda job, result: heard.append(("completed", job.data, result)))
    queue.on("failed", lambda job, error: heard.append(("failed", job.data, error.reason)))
    queue.on("progress", lambda job, value: heard.append(("progress", value)))
    once: list[str] = []
    queue.once("active", lambda job: once.append(job.id))

    @queue.on("drained")
    def drained() -> None:
        heard.append(("drained",))

    def work(job: Job) -> str:
        job.update_progress(50)
        if job.data == "bad":
            raise ValueError("no")
        return "done"

    queue.process(work)
    until(lambda: heard == [("drained",)])  # it came up on an empty queue
    heard.clear()
    queue.add("n", "good").wait_until_finished(timeout=10)
    with pytest.raises(JobFailed):
        queue.add("n", "bad").wait_until_finished(timeout=10)
    until(lambda: len(heard) == 6)
    assert sorted(heard, key=str) == [
        ("completed", "good", "done"),
        ("drained",),
        ("drained",),
        ("failed", "bad", "ValueError: no"),
        ("progress", 50),
        ("progress", 50),
    ]
    assert len(once) == 1
    assert queue.off("completed") == 1
    with pytest.raises(ConfigurationError, match="did you mean 'completed'"):
        queue.on("complete", print)
