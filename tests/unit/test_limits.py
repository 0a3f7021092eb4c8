"""Rate limits and bounds of active jobs, as users write them."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import cycle, pairwise
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, RateLimited
from stratix_kombu.model.claims import Bounds, Taken
from stratix_kombu.model.record import Limit, NewJob
from stratix_kombu.model.state import Refusal, State
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
        starts_ms = sorted(job.processed_on or 0 for job in jobs if job.name == name)
        assert len(starts_ms) == count
        assert all(later - first >= 100 for first, later in pairwise(starts_ms))


def test_a_token_bucket(app: Application) -> None:
    bucket = {"max": 5, "duration": 1000, "refillRate": 50, "initialTokens": 2}
    queue = app.queue.create_queue("bucket", concurrency=10, limiter=bucket)
    queue.process(lambda job: None)
    queue.add_bulk([{"name": "call"}] * 10)
    until(lambda: len(starts(queue)) == 10)
    found = starts(queue)
    assert found[9] - found[0] >= 8 * 20 - 20


@pytest.mark.parametrize("bounce", [True, False])
def test_a_limiter_keeps_the_order(app: Application, bounce: bool) -> None:
    ran: list[int] = []
    limiter = {"max": 2, "duration": 100, "bounce_back": bounce}
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
    assert 50_000 < queue.get_rate_limit_ttl() <= 65_000
    assert second.get_state() == "waiting"
    queue.set_rate_limit()
    assert queue.get_rate_limit_ttl() == 0
    second.wait_until_finished(timeout=10)


@pytest.mark.parametrize(
    "limiter",
    [
        {"max": 5, "duration": 60_000},
        {"max": 5, "duration": 60_000, "key": "partner", "bounce_back": False},
        {"max": 5, "refill_rate": 0.5},
        {"max": 5, "refill_rate": 2.0, "initial_tokens": 0},
    ],
)
def test_what_was_set_at_run_time_can_be_read_and_set_again(app: Application, limiter: dict[str, Any]) -> None:
    queue = app.queue.create_queue("read", limiter={"max": 1, "duration": 1})
    assert (queue.get_rate_limit(), queue.get_global_concurrency()) == (None, None)
    queue.set_rate_limit(**limiter)
    queue.set_global_concurrency(0)
    assert (queue.get_rate_limit(), queue.get_global_concurrency()) == (limiter, 0)
    found = asyncio.run(queue.aio.get_rate_limit())
    queue.set_rate_limit(found)
    assert queue.get_rate_limit() == limiter
    queue.set_rate_limit()
    queue.set_global_concurrency(None)
    assert (queue.get_rate_limit(), asyncio.run(queue.aio.get_global_concurrency())) == (None, None)


def test_a_queue_is_held_by_hand(app: Application) -> None:
    queue = app.queue.create_queue("held")
    queue.process(lambda job: "done")
    queue.hold(timedelta(hours=1))
    queue.hold(10)
    assert 3_500_000 < queue.get_rate_limit_ttl() <= 3_600_000
    job = queue.add("n")
    queue.hold(0)
    assert job.wait_until_finished(timeout=10) == "done"
    with pytest.raises(ConfigurationError, match="milliseconds or a timedelta"):
        queue.hold("an hour")  # type: ignore[arg-type]


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


class Simulation:
    """Jobs behind a limit of a hundred a second, by a clock passed in; a worker asks again when the answer said so, or
    a little late."""

    def __init__(self, jobs: int, late_ms: Callable[[], int]) -> None:
        self.now = 1_000_000
        self.store = MemoryStore(clock=lambda: self.now)
        self.bounds = Bounds(Limit("l", 100, 1000))
        self.left = jobs
        self.started: list[str] = []
        self.starts: list[int] = []
        self.asked = 0
        self._late_ms = late_ms
        self.store.transitions.add([NewJob(id=f"{number:05}", queue="q", name="n") for number in range(jobs)])

    def take(self) -> Taken:
        self.asked += 1
        taken = self.store.transitions.take("q", "w", 60_000_000, 100, self.bounds)
        self.started += [one.record.id for one in taken.claims]
        self.starts += [one.record.processed_ms for one in taken.claims]
        assert all(one.wait_ms <= 100 for one in taken.claims)
        return taken

    def run(self, seconds: float = math.inf) -> None:
        until_ms = self.now + seconds * 1000
        while len(self.starts) < self.left and self.now < until_ms:
            taken = self.take()
            self.now += taken.until_ms + self._late_ms()

    def check(self) -> None:
        assert self.started == sorted(self.started)
        assert all(later - first >= 1000 for first, later in zip(self.starts, self.starts[100:], strict=False))

    @property
    def rate(self) -> float:
        """Which part of the allowed rate was used."""
        return (len(self.starts) - 100) * 10 / (self.starts[-1] - self.starts[0])


@pytest.mark.parametrize("late_ms", [(0,), (2, 5, 30), (1, 1, 1, 1, 1, 95)], ids=["prompt", "late", "stalls"])
def test_ten_thousand_jobs_are_started_in_order_and_in_time(late_ms: tuple[int, ...]) -> None:
    """However late they are asked for; and nobody asks more often than a few times a window."""
    many = Simulation(10_000, partial(next, cycle(late_ms)))
    many.run()
    many.check()
    assert len(many.starts) == 10_000
    assert many.asked <= 10 * 100
    assert many.rate >= 0.95


def test_removed_and_paused_jobs_do_not_break_the_bound() -> None:
    """A third is removed, and the queue is paused for a while."""
    many = Simulation(3000, partial(next, cycle((2, 5, 30))))
    many.run(5)
    waiting, cursor = many.store.queries.scan("q", State.WAITING, "", 3000)
    assert not cursor
    for one in waiting[::3]:
        many.store.transitions.remove(one.id)
    many.left -= len(waiting[::3])
    many.store.transitions.pause("q")
    assert many.take().why is Refusal.PAUSED
    many.now += 6_000
    many.store.transitions.resume("q")
    many.run()
    many.check()
    assert len(many.starts) == many.left


@pytest.mark.parametrize(
    ("limiter", "words"),
    [
        (5, "must be a mapping such as"),
        ({"max": 0, "duration": 5}, r"\['max'\] must be a whole number"),
        ({"max": 100_001, "duration": 60_000}, r"\['max'\] must be at most 100,000, not 100,001: .*'refill_rate'"),
        ({"max": 5}, r"\['duration'\] must be milliseconds"),
        ({"max": 5, "duration": 0}, "at least 1 ms"),
        ({"max": 5, "duration": 5, "initial_tokens": 3}, "belongs to a token bucket"),
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


@pytest.mark.parametrize("limiter", [{"max": 100_000, "duration": 60_000}, {"max": 1_000_000, "refill_rate": 9.5}])
def test_large_limiters(app: Application, limiter: Any) -> None:
    queue = app.queue.create_queue("large", limiter=limiter)
    queue.process(lambda job: "done")
    assert queue.add("n", limiter={**limiter, "key": "k"}).wait_until_finished(timeout=10) == "done"
