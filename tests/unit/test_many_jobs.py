"""Jobs that are chosen by ids or by a filter: retried, promoted, removed, cancelled and counted, on all stores."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, Queue
from stratix_kombu.queue import chosen
from stratix_kombu.types import JobCount
from tests.waiting import until


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "PAGE", 3)


@pytest.fixture
def queue(app: Application) -> Queue:
    return app.queue.get_queue("mail")


def failed(queue: Queue, count: int, name: str = "n", reason: str = "broken") -> list[Job]:
    jobs = [queue.add(name, job_id=f"{name}{n:02}") for n in range(count)]
    queue.cancel_jobs(ids=jobs, cancel_reason=reason)
    return jobs


def states(*jobs: Job) -> list[str]:
    return [job.get_state() for job in jobs]


def test_those_with_these_ids(queue: Queue) -> None:
    jobs = failed(queue, 8)
    waiting, seen = queue.add("n"), list[int]()
    named = [*jobs[:4], *(job.id for job in jobs[3:7]), waiting, "nobody"]
    assert queue.retry_jobs(ids=named, on_progress=seen.append) == 7
    assert seen == [3, 6, 7]
    assert states(*jobs) == ["waiting"] * 7 + ["failed"]
    assert queue.remove_jobs(ids=[jobs[0].id, jobs[7]], count=1) == 1
    assert queue.get_job(jobs[0].id) is None
    later = queue.add("n", delay=60_000)
    assert queue.promote_jobs(ids=iter([later.id, waiting.id])) == 1
    assert asyncio.run(queue.aio.cancel_jobs(ids=[later], cancel_reason="why")) == 1
    assert later.refresh().failed_reason == "why"
    assert queue.retry_jobs(ids=[]) == 0


def test_jobs_of_another_queue_are_not_meant(app: Application, queue: Queue) -> None:
    other = app.queue.get_queue("other").add("n")
    assert queue.remove_jobs(ids=[other]) == queue.cancel_jobs(ids=[other.id]) == 0
    assert other.get_state() == "waiting"


def test_those_that_fit(queue: Queue) -> None:
    timeouts = failed(queue, 7, "slow", "Timeout: 5 s")
    others = [*failed(queue, 2, "bad"), *failed(queue, 2, "slower", "Timeout: 9 s")]
    assert queue.count_jobs("failed", name="slow", reason="timeout") == JobCount(0, True, "")
    assert queue.count_jobs("failed", name="slow", reason="Timeout").count == 7
    assert queue.retry_jobs(name="slow", reason="Timeout", count=4) == 4
    assert states(*timeouts) == ["failed"] * 3 + ["waiting"] * 4, "the newest ones first"
    seen = list[int]()
    assert queue.retry_jobs(name="slow", reason="Timeout", on_progress=seen.append) == 3
    assert seen[-1] == 3
    assert states(*others) == ["failed"] * 4
    assert queue.remove_jobs("failed", id="b") == 2
    assert asyncio.run(queue.aio.remove_jobs("failed")) == 2
    assert queue.cancel_jobs("waiting", name="slow", cancel_reason="no more") == 7
    assert {job.refresh().failed_reason for job in timeouts} == {"no more"}


def test_delayed_ones(queue: Queue) -> None:
    jobs = [queue.add(name, delay=60_000 + n) for n in range(4) for name in ("a", "b")]
    assert queue.promote_jobs(name="a") == 4
    assert states(*jobs) == ["waiting", "delayed"] * 4
    assert queue.promote_jobs(1) == 1
    assert queue.cancel_jobs("delayed") == 3


def test_active_ones_are_cancelled_once(app: Application, queue: Queue) -> None:
    queue.concurrency = 8

    async def handle(job: Job) -> None:
        await asyncio.sleep(60)

    queue.process(handle)
    jobs = [queue.add("n") for _ in range(8)]
    until(lambda: queue.get_job_counts()["active"] == 8)
    assert queue.cancel_jobs("active", cancel_reason="stop") == 8
    until(lambda: states(*jobs) == ["failed"] * 8)
    assert {job.refresh().failed_reason for job in jobs} == {"stop"}


def test_jobs_that_come_meanwhile_are_not_meant(queue: Queue) -> None:
    for n in range(10):
        queue.add("n", n)
    until(lambda: queue._engine.store.queries.now() > queue.get_jobs("waiting")[-1].timestamp + 1)
    added = list[Job]()

    def add_more(done: int) -> None:
        if len(added) < 50:
            added.extend(queue.add("n", "new") for _ in range(4))

    assert 10 <= queue.cancel_jobs("waiting", on_progress=add_more) < 50
    assert len(queue.get_jobs("waiting", end=-1)) > 0


def test_a_retry_that_fails_again_is_not_meant_again(app: Application, queue: Queue) -> None:
    jobs = failed(queue, 10)
    tries = list[str]()

    def fail(job: Job) -> None:
        tries.append(job.id)
        raise ValueError("again")

    queue.process(fail)
    assert queue.retry_jobs(name="n", on_progress=lambda done: until(lambda: len(tries) >= done)) == 10
    until(lambda: states(*jobs) == ["failed"] * 10)
    assert sorted(tries) == sorted(job.id for job in jobs)


def test_counting_goes_on(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "COUNTED_AT_ONCE", 2)
    monkeypatch.setattr(chosen, "LOOKED_AT_ONCE", 4)
    for n in range(10):
        queue.add("n", n)
    queue.pause()
    assert queue.count_jobs("waiting") == queue.count_jobs("paused") == JobCount(10, True, "")
    first = queue.count_jobs("waiting", name="n")
    assert (first.count, first.exact) == (8, False)
    rest = asyncio.run(queue.aio.count_jobs("waiting", first.cursor, name="n"))
    assert (rest.count, rest.exact, rest.cursor) == (2, True, "")


@pytest.mark.parametrize(
    ("verb", "given", "words"),
    [
        ("remove_jobs", {}, "remove_jobs: give 'ids' or a state: waiting, delayed, blocked, completed, failed"),
        ("remove_jobs", {"state": "active"}, "remove_jobs: jobs that are active cannot be meant"),
        ("cancel_jobs", {"state": "failed"}, "cancel_jobs: jobs that are failed cannot be meant"),
        ("cancel_jobs", {"state": "wating"}, "cancel_jobs: unknown state 'wating'; did you mean 'waiting'?"),
        ("cancel_jobs", {"state": "waiting", "ids": []}, "cancel_jobs: give either 'ids', or a state and options"),
        ("retry_jobs", {"ids": [], "name": "n"}, "retry_jobs: give either 'ids', or a state and options"),
        ("retry_jobs", {"state": "completed", "name": "n"}, "retry_jobs: jobs that are completed cannot be meant"),
        ("promote_jobs", {"ids": "one"}, "promote_jobs: 'ids' must be a list of jobs or ids, not 'one'"),
        ("retry_jobs", {"nmae": "n"}, "retry_jobs: unknown option 'nmae'; did you mean 'name'?"),
        ("remove_jobs", {"ids": ["x"], "count": -1}, "remove_jobs: 'count' must be"),
        ("count_jobs", {"state": "ended"}, "count_jobs: unknown state 'ended'"),
    ],
)
def test_what_cannot_be_meant(queue: Queue, verb: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        getattr(queue, verb)(**given)
