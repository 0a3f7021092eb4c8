"""Rate limits and bounds of active jobs, as users write them."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, RateLimited
from stratix_kombu.model.record import Limit, NewJob
from stratix_kombu.stores.memory import MemoryStore
from tests.waiting import until


def starts(queue: Any) -> list[int]:
    return sorted(job.processed_on for job in queue.get_jobs("completed"))


def test_a_queue_starts_no_more_than_its_limiter_allows(app: Application) -> None:
    queue = app.queue.create_queue("api", concurrency=10, limiter={"max": 3, "duration": 150, "bounceBack": True})
    queue.process(lambda job: None)
    queue.add_bulk([{"name": "call"}] * 12)
    until(lambda: len(starts(queue)) == 12)
    found = starts(queue)
    assert all(later - first >= 150 for first, later in zip(found, found[3:], strict=False))


def test_jobs_have_limits_of_their_own_or_share_one(app: Application) -> None:
    queue = app.queue.create_queue("mixed", concurrency=10)
    other = app.queue.create_queue("other", concurrency=10)
    for one in (queue, other):
        one.process(lambda job: None)
    slow = {"max": 1, "duration": 100}
    for _ in range(3):
        queue.add("slow", limiter=slow)
        queue.add("free")
        queue.add("shared", limiter={**slow, "key": "partner"})
        other.add("shared", limiter={**slow, "key": "partner"})
    until(lambda: len(starts(queue)) == 9 and len(starts(other)) == 3)
    jobs = [*queue.get_jobs("completed"), *other.get_jobs("completed")]
    for name, count in (("slow", 3), ("shared", 6)):
        found = sorted(job.processed_on for job in jobs if job.name == name)
        assert len(found) == count
        assert all(later - first >= 100 for first, later in pairwise(found))


def test_a_token_bucket(app: Application) -> None:
    bucket = {"max": 5, "duration": 1000, "refillRate": 50, "initialTokens": 2}
    queue = app.queue.create_queue("bucket", concurrency=10, limiter=bucket)
    queue.process(lambda job: None)
    queue.add_bulk([{"name": "call"}] * 10)
    until(lambda: len(starts(queue)) == 10)
    found = starts(queue)
    assert found[9] - found[0] >= 8 * 20 - 20


def test_a_limiter_that_does_not_bounce_keeps_the_order(app: Application) -> None:
    ran: list[int] = []
    limiter = {"max": 2, "duration": 100, "bounce_back": False}
    queue = app.queue.create_queue("ordered", limiter=limiter)
    queue.add_bulk([{"name": "n", "data": number} for number in range(8)])
    queue.process(lambda job: ran.append(job.data))
    until(lambda: len(ran) == 8)
    assert ran == list(range(8))
    assert [job for job in queue.get_jobs("completed") if job.attempts_made != 1] == []


def test_a_handler_pushes_its_queue_back(app: Application) -> None:
    queue = app.queue.create_queue("pushed", concurrency=2)
    tries: list[str] = []

    def handler(job: Job) -> str:
        tries.append(job.id)
        if len(tries) == 1:
            raise RateLimited(timedelta(milliseconds=200))
        return "done"

    queue.process(handler)
    job = queue.add("call")
    assert job.wait_until_finished(timeout=10) == "done"
    job.refresh()
    assert (job.attempts_made, job.attempts_started, len(tries)) == (1, 1, 2)
    assert (job.processed_on or 0) - job.timestamp >= 200
    assert queue.get_rate_limit_ttl() == 0


def test_limits_are_set_at_run_time(app: Application) -> None:
    queue = app.queue.create_queue("steered", concurrency=10)
    queue.process(lambda job: None)
    queue.set_rate_limit(max=1, duration=60_000)
    first = queue.add("a")
    first.wait_until_finished(timeout=10)
    second = queue.add("b")
    until(lambda: second.get_state() == "delayed")
    assert 50_000 < queue.get_rate_limit_ttl() <= 130_000
    queue.set_rate_limit()
    assert queue.get_rate_limit_ttl() == 0
    second.promote()
    second.wait_until_finished(timeout=10)


def test_no_more_jobs_run_than_the_global_concurrency(app: Application) -> None:
    running, most, guard = 0, 0, threading.Lock()
    gate = threading.Event()

    def handler(job: Job) -> None:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
        gate.wait(0.02)
        with guard:
            running -= 1

    queue = app.queue.create_queue("few", concurrency=10, global_concurrency=3)
    queue.process(handler)
    queue.add_bulk([{"name": "n"}] * 40)
    until(lambda: queue.get_job_counts()["completed"] == 40, 20)
    assert most <= 3
    queue.set_global_concurrency(1)
    most = 0
    queue.add_bulk([{"name": "n"}] * 10)
    until(lambda: queue.get_job_counts()["completed"] == 50, 20)
    assert most == 1


def test_ten_thousand_jobs_are_deferred_about_once_each() -> None:
    """By a clock passed in: a limit of a hundred a second, and every message there at once."""
    now = [1_000_000]
    store = MemoryStore(clock=lambda: now[0])
    limit = Limit("l", 100, 1000)
    ids = [f"{number}" for number in range(10_000)]
    store.transitions.add([NewJob(id=one, queue="q", name="n") for one in ids])
    claims, started = 0, list[int]()
    ready = ids
    while len(started) < len(ids):
        for start in range(0, len(ready), 100):
            page = ready[start : start + 100]
            claims += len(page)
            claimed = store.transitions.claim("q", page, "w", 60_000_000, limit)
            started += [one.record.processed_ms for one in claimed.claims]
        change, next_ms = store.transitions.promote()
        ready = [one.id for one in change.ready]
        if not ready:
            now[0] += max(next_ms or 1, 1)
    assert claims - len(ids) <= 1.2 * len(ids)
    assert all(later - first >= 1000 for first, later in zip(started, started[100:], strict=False))
    assert started[-1] - started[0] <= len(ids) / 100 * 1000 / 0.95


@pytest.mark.parametrize(
    ("limiter", "words"),
    [
        (5, "must be a mapping such as"),
        ({"max": 0, "duration": 5}, r"\['max'\] must be a whole number"),
        ({"max": 5}, r"\['duration'\] must be milliseconds"),
        ({"max": 5, "duration": 0}, "at least 1 ms"),
        ({"max": 5, "duration": 5, "initial_tokens": 3}, "belongs to a bucket"),
        ({"max": 5, "refill_rate": 0}, "tokens a second"),
        ({"max": 5, "refill_rate": 1, "initial_tokens": 6}, "from 0 to 5"),
        ({"max": 5, "durration": 5}, "unknown option 'durration'.*duration"),
        ({"max": 5, "duration": 5, "bounce_back": 1}, "True or False"),
    ],
)
def test_limiters_that_are_refused(app: Application, limiter: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        app.queue.create_queue("bad", limiter=limiter)
    with pytest.raises(ConfigurationError, match=words):
        app.queue.get_queue("good").add("n", limiter=limiter)
