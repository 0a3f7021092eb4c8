"""Timeouts and cancelling, for handlers on threads and on the event loop."""

from __future__ import annotations

import asyncio
import threading
import uuid
from datetime import timedelta

import pytest

from stratix_kombu import Application, InvalidJobState, Job, JobFailed, create_app
from tests.waiting import until


def test_a_job_that_has_not_begun(app: Application) -> None:
    queue = app.queue.get_queue("q")
    job = queue.add("n", delay=60_000)
    job.cancel("not needed")
    with pytest.raises(JobFailed, match="not needed"):
        job.wait_until_finished(timeout=10)
    assert job.was_cancelled
    with pytest.raises(InvalidJobState):
        job.cancel()


def test_other_failures_are_no_cancels_and_are_counted_apart(app: Application) -> None:
    queue = app.queue.get_queue("q")

    @queue.process("fails")
    def fail(job: Job) -> None:
        raise ValueError("no")

    queue.process("waits", lambda job: None)
    failed, fine = queue.add("fails"), queue.add("waits")
    below = queue.add("waits", dependencies=[queue.add("waits", delay=60_000)])
    (waited,) = below.get_dependency_states()
    queue.get_jobs("delayed")[0].cancel("by user 7")
    for job in (failed, below):
        with pytest.raises(JobFailed):
            job.wait_until_finished(timeout=10)
    fine.wait_until_finished(timeout=10)
    assert [job.refresh().was_cancelled for job in (failed, below, fine)] == [False, False, False]
    assert below.failed_reason == f"dependency {waited} failed: by user 7"
    total = queue.get_metrics(3).total
    assert (total.completed, total.failed, total.cancelled) == (1, 2, 1)


def test_one_that_is_not_kept_says_so_too(app: Application) -> None:
    queue, heard = app.queue.get_queue("q"), list[bool]()
    queue.on("failed", lambda job, error: heard.append(job.was_cancelled))
    job = queue.add("n", delay=60_000, remove_on_fail=True)
    job.cancel("by user 7")
    with pytest.raises(JobFailed, match="by user 7"):
        job.wait_until_finished(timeout=10)
    assert job.was_cancelled
    until(lambda: heard == [True])


def test_for_asyncio(app: Application) -> None:
    async def main() -> list[bool]:
        job = await app.queue.get_queue("q").aio.add("n", delay=60_000)
        before = job.was_cancelled
        await job.aio.cancel("by user 7")
        return [before, (await job.aio.refresh()).was_cancelled]

    assert asyncio.run(main()) == [False, True]


def test_a_handler_on_a_thread_looks_for_itself(app: Application) -> None:
    queue, began, ended = app.queue.get_queue("q"), threading.Event(), threading.Event()

    def work(job: Job) -> None:
        began.set()
        try:
            while True:
                job.check_cancelled()
                ended.wait(0.01)
        finally:
            ended.set()

    queue.process(work)
    job = queue.add("n", attempts=5)
    assert began.wait(10)
    job.cancel("by user 7")
    with pytest.raises(JobFailed, match=r"failed: by user 7$"):
        job.wait_until_finished(timeout=10)
    assert job.was_cancelled
    assert ended.is_set()
    assert (job.failed_reason, len(job.stacktrace)) == ("by user 7", 1)
    assert job.refresh().attempts_made == 1


def test_a_coroutine_is_cancelled(app: Application) -> None:
    queue, began = app.queue.get_queue("q"), threading.Event()
    seen: list[str] = []

    async def work(job: Job) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    queue.process(work)
    job = queue.add("n", attempts=5)
    assert began.wait(10)
    job.cancel("by user \ud800")
    with pytest.raises(JobFailed, match=r"failed: by user \\ud800$"):
        job.wait_until_finished(timeout=10)
    assert job.was_cancelled
    assert (seen, job.refresh().attempts_made) == (["cancelled"], 1)


def test_an_attempt_on_a_thread_that_takes_too_long_has_failed(app: Application) -> None:
    queue = app.queue.create_queue("q", concurrency=3)
    gate, tries = threading.Event(), list[Job]()

    def work(job: Job) -> str:
        tries.append(job)
        if len(tries) == 1:
            gate.wait(20)
            return "late"
        return "second"

    queue.process(work)
    job = queue.add("n", attempts=2, timeout=timedelta(milliseconds=100))
    assert job.wait_until_finished(timeout=10) == "second"
    assert tries[0].cancelled
    gate.set()
    quick = queue.add("n", timeout=10_000)
    assert quick.wait_until_finished(timeout=10) == "second"
    assert job.refresh().return_value == "second"


def test_a_coroutine_that_takes_too_long_is_cancelled(app: Application) -> None:
    queue = app.queue.get_queue("q")
    seen: list[str] = []

    async def work(job: Job) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("ended")

    queue.process(work)
    job = queue.add("n", timeout=50)
    with pytest.raises(JobFailed, match="timed out after 50 ms"):
        job.wait_until_finished(timeout=10)
    assert seen == ["ended"]
    until(lambda: not queue.get_jobs("active"))


def test_from_another_process(redis_url: str) -> None:
    """Another application here: only the store is between them."""
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"can{uuid.uuid4().hex[:8]}"}
    began = threading.Event()

    def work(job: Job) -> None:
        began.set()
        while not job.cancelled:
            threading.Event().wait(0.01)
        job.check_cancelled()

    with create_app(settings) as worker:
        worker.start()
        worker.queue.get_queue("q").process(work)
        with create_app({**settings, "worker": {"clock": False}}) as other:
            other.start()
            job = other.queue.get_queue("q").add("n")
            assert began.wait(10)
            job.cancel("")
            with pytest.raises(JobFailed) as failed:
                job.wait_until_finished(timeout=10)
            assert failed.value.reason == ""
            assert job.was_cancelled
