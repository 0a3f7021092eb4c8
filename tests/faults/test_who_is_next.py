"""The store decides which job is next: the same order, limits and pauses whatever carries the messages, and whatever
happens to them."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, Job, Queue, RateLimited
from stratix_kombu.model.claims import Taken
from stratix_kombu.model.record import Ready
from stratix_kombu.model.state import Refusal
from tests.faults.everywhere import BROKERS, app, everywhere, settings_on, shuffled, started
from tests.waiting import until

__all__ = ["app", "everywhere"]

WAIT_S = 30.0


class Ran:
    """The data of jobs, in the order in which their handlers began."""

    def __init__(self) -> None:
        self.data: list[Any] = []
        self._lock = threading.Lock()

    def __call__(self, job: Job) -> None:
        with self._lock:
            self.data.append(job.data)


def wait_for(queue: Queue, completed: int, seconds: float = WAIT_S) -> None:
    until(lambda: queue.get_job_counts()["completed"] == completed, seconds)


def depth(app: Application, queue: Queue) -> int:
    return app.queue.engine.driver.depth(queue.name) or 0


class Answers:
    """Why workers of this process got fewer jobs than they asked for, answer by answer."""

    def __init__(self, app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        self.why: list[Refusal | None] = []
        transitions = app.queue.engine.store.transitions
        take = transitions.take

        def recorded(*args: Any, **options: Any) -> Taken:
            taken = take(*args, **options)
            self.why.append(taken.why)
            return taken

        monkeypatch.setattr(transitions, "take", recorded)


def starts(queue: Queue) -> list[int]:
    return sorted(job.processed_on or 0 for job in queue.get_jobs("completed"))


def test_priority_then_place(app: Application) -> None:
    queue, ran = app.queue.create_queue("order"), Ran()
    jobs = shuffled([[priority, 0] for priority in range(10)] * 3)
    jobs = [[priority, number] for number, (priority, _) in enumerate(jobs)]
    queue.add_bulk([{"name": "n", "data": one, "opts": {"priority": one[0]}} for one in jobs])
    queue.process(ran)
    wait_for(queue, len(jobs))
    assert ran.data == sorted(jobs)


def test_an_urgent_job_is_next_however_many_wait(app: Application) -> None:
    queue, ran = app.queue.create_queue("urgent", concurrency=1), Ran()

    def handler(job: Job) -> None:
        ran(job)
        if job.data == 1:
            queue.add("n", "urgent", priority=0)

    queue.add_bulk([{"name": "n", "data": n, "opts": {"priority": 9}} for n in range(20)])
    queue.process(handler)
    wait_for(queue, 21)
    assert ran.data == [0, 1, "urgent", *range(2, 20)]


def test_the_order_is_kept_over_a_pause(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, ran = app.queue.create_queue("paused"), Ran()
    answers = Answers(app, monkeypatch)
    queue.process(ran)
    queue.add("n", "before").wait_until_finished(timeout=WAIT_S)
    until(lambda: depth(app, queue) == 0, WAIT_S)
    queue.pause()
    for number in range(20):
        queue.add("n", number)
    until(lambda: Refusal.PAUSED in answers.why, WAIT_S)
    queue.resume()
    wait_for(queue, 21)
    assert ran.data == ["before", *range(20)]


def test_the_order_is_kept_by_jobs_that_are_handed_back(everywhere: dict[str, Any]) -> None:
    ran, began, gate = Ran(), threading.Event(), threading.Event()
    shared = everywhere["driver"] != "memory"
    with started(everywhere) as app:
        queue = app.queue.create_queue("back", concurrency=3)

        def stuck(job: Job) -> None:
            began.set()
            gate.wait(WAIT_S)

        queue.add_bulk([{"name": "n", "data": n} for n in range(10)])
        queue.process(stuck)
        until(lambda: queue.get_job_counts()["active"] == 3, WAIT_S)
        assert not queue.close(0.01)
        gate.set()
        with started(everywhere) as second:
            other = second.queue.create_queue("back", concurrency=1)
            other.process(ran)
            wait_for(other, 10)
    assert ran.data == list(range(10))
    assert shared or began.is_set()


def test_a_bound_lets_the_urgent_one_start_next(app: Application) -> None:
    queue, ran = app.queue.create_queue("bound", concurrency=10, global_concurrency=1), Ran()

    def handler(job: Job) -> None:
        ran(job)
        if len(ran.data) == 2:
            queue.add("n", "urgent", priority=0)

    queue.add_bulk([{"name": "n", "data": n, "opts": {"priority": 9}} for n in range(20)])
    queue.process(handler)
    wait_for(queue, 21)
    assert ran.data == [0, 1, "urgent", *range(2, 20)]


def test_a_limit_lets_the_urgent_one_start_next(app: Application) -> None:
    queue, ran = app.queue.create_queue("limited", concurrency=10, limiter={"max": 1, "duration": 100}), Ran()

    def handler(job: Job) -> None:
        ran(job)
        if len(ran.data) == 2:
            queue.add("n", "urgent", priority=0)

    queue.add_bulk([{"name": "n", "data": n, "opts": {"priority": 9}} for n in range(10)])
    queue.process(handler)
    wait_for(queue, 11)
    assert ran.data.index("urgent") in (2, 3), "the one that was granted a little ahead may be before it"
    assert [one for one in ran.data if one != "urgent"] == list(range(10))


def test_a_limit_that_is_changed_acts_at_once(app: Application) -> None:
    queue = app.queue.create_queue("changed", concurrency=5, limiter={"max": 2, "duration": 600_000})
    queue.process(lambda job: None)
    queue.add_bulk([{"name": "n"}] * 8)
    wait_for(queue, 2)
    assert queue.get_job_counts()["waiting"] == 6
    queue.set_rate_limit(max=2, duration=200)
    queue.add("n")
    wait_for(queue, 9)


def test_a_limit_that_the_next_release_has_no_more(everywhere: dict[str, Any]) -> None:
    with started(everywhere) as old:
        queue = old.queue.create_queue("release", concurrency=5, limiter={"max": 2, "duration": 600_000})
        queue.process(lambda job: None)
        queue.add_bulk([{"name": "n"}] * 8)
        wait_for(queue, 2)
        queue.close()
        with started(everywhere) as new:
            queue = new.queue.create_queue("release", concurrency=5)
            queue.process(lambda job: None)
            wait_for(queue, 8)


def test_jobs_that_are_removed_leave_no_gap(app: Application) -> None:
    queue = app.queue.create_queue("gaps", concurrency=5, limiter={"max": 1, "duration": 3000})
    queue.process(lambda job: None)
    jobs = queue.add_bulk([{"name": "n"}] * 20)
    wait_for(queue, 1)
    for number, job in enumerate(jobs[2:]):
        job.remove() if number % 2 else job.cancel("no more")
    queue.add("n")
    wait_for(queue, 3)
    first, *_, last = starts(queue)
    assert last - first < 24_000, "with the slots of the removed ones it would be some sixty seconds"


def test_a_job_of_a_closed_key_holds_up_nobody(app: Application) -> None:
    queue = app.queue.create_queue("keys", concurrency=5, global_concurrency=1)
    began, gate = threading.Event(), threading.Event()

    @queue.process("first")
    def first(job: Job) -> None:
        began.set()
        gate.wait(WAIT_S)

    queue.process(lambda job: None)
    limiter = {"max": 1, "duration": 600_000}
    queue.add("partner", limiter=limiter).wait_until_finished(timeout=WAIT_S)
    queue.add("first")
    assert began.wait(WAIT_S)
    late = queue.add("partner", limiter=limiter)
    others = [queue.add("other") for _ in range(3)]
    gate.set()
    for one in others:
        one.wait_until_finished(timeout=20)
    assert late.get_state() == "waiting"
    queue.add("other").wait_until_finished(timeout=20)


def test_a_short_hold_does_not_shorten_a_long_one(app: Application) -> None:
    queue = app.queue.create_queue("held", concurrency=2)
    both, tries = threading.Barrier(2, timeout=WAIT_S), list[str]()
    said = threading.Event()

    def handler(job: Job) -> None:
        tries.append(job.name)
        if tries.count(job.name) > 1:
            return
        both.wait()
        if job.name == "long":
            said.set()
            raise RateLimited(1500)
        assert said.wait(WAIT_S)
        raise RateLimited(100)

    queue.process(handler)
    jobs = queue.add_bulk([{"name": "long"}, {"name": "short"}])
    for job in jobs:
        job.wait_until_finished(timeout=WAIT_S)
        assert (job.refresh().processed_on or 0) - job.timestamp >= 1500


def test_a_hold_is_lifted(app: Application) -> None:
    queue = app.queue.create_queue("lifted")
    queue.process(lambda job: "done")
    queue.hold(timedelta(minutes=10))
    job = queue.add("n")
    assert 500_000 < queue.get_rate_limit_ttl() <= 600_000
    queue.hold(0)
    assert queue.get_rate_limit_ttl() == 0
    assert job.wait_until_finished(timeout=WAIT_S) == "done"


def test_drained_is_emitted_once_at_the_end(app: Application) -> None:
    queue = app.queue.create_queue("drained", concurrency=5, limiter={"max": 1, "duration": 150})
    queue.add_bulk([{"name": "n"}] * 5)
    queue.process(lambda job: None)
    wait_for(queue, 5)

    def names() -> list[str]:
        return [event.name for event in queue.get_events(limit=1000)]

    until(lambda: names()[-1] == "drained", WAIT_S)
    assert names().count("drained") == 1


def test_drain_takes_those_that_wait_for_a_limit(app: Application) -> None:
    queue = app.queue.create_queue("emptied", concurrency=5, limiter={"max": 1, "duration": 600_000})
    queue.process(lambda job: None)
    key = {"max": 1, "duration": 600_000, "key": "partner"}
    queue.add_bulk([*[{"name": "n"}] * 5, *[{"name": "n", "opts": {"limiter": key}}] * 5])
    wait_for(queue, 1)
    assert queue.drain() == 9
    assert {state: count for state, count in queue.get_job_counts().items() if count} == {"completed": 1}


@pytest.mark.parametrize("how", ["add", "add_bulk"])
def test_what_is_due_together_comes_in_the_order_it_was_added(app: Application, how: str) -> None:
    queue, ran = app.queue.create_queue("due"), Ran()
    at = datetime.now(timezone.utc) + timedelta(seconds=1)
    if how == "add":
        for number in range(10):
            queue.add("n", number, run_at=at)
    else:
        queue.add_bulk([{"name": "n", "data": number, "opts": {"run_at": at}} for number in range(10)])
    queue.process(ran)
    wait_for(queue, 10)
    assert ran.data == list(range(10))


def test_what_was_promoted_and_waits_for_a_limit_is_next(app: Application) -> None:
    queue, ran = app.queue.create_queue("promoted", limiter={"max": 1, "duration": 500}), Ran()
    queue.pause()
    late = queue.add("n", "promoted", delay=600_000)
    late.promote()
    queue.add_bulk([{"name": "n", "data": n} for n in range(3)])
    queue.process(ran)
    queue.resume()
    wait_for(queue, 4)
    assert ran.data == ["promoted", 0, 1, 2]


def test_what_waits_longest_is_as_old_as_it_is(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Sending permits again does not make it younger."""
    settings = settings_on("rabbitmq", request, tmp_path, worker={"redelivery_grace": 200})
    with started(settings) as app:
        queue = app.queue.create_queue("age")
        began = time.monotonic()
        queue.add_bulk([{"name": "n"}] * 3)
        for _ in range(2):
            app.queue.engine.driver.purge("age")
            until(lambda: depth(app, queue) > 0, WAIT_S)
        passed_ms = (time.monotonic() - began) * 1000
        assert (queue.get_status().oldest_waiting_ms or 0) >= passed_ms - 50


def test_thousands_of_lost_permits_are_not_missed(everywhere: dict[str, Any]) -> None:
    """Long before anybody sends them again."""
    with started({**everywhere, "worker": {"redelivery_grace": 600_000}}) as app:
        queue = app.queue.create_queue("lost", concurrency=20)
        queue.add_bulk([{"name": "n"}] * 2_000)
        app.queue.engine.driver.purge("lost")
        queue.process(lambda job: None)
        wait_for(queue, 2_000, 120)


@pytest.mark.parametrize("broker", [one for one in BROKERS if one != "memory"])
def test_a_worker_that_comes_with_another_broker(broker: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    settings = settings_on(broker, request, tmp_path)
    others = settings_on("filesystem" if broker != "filesystem" else "redis", request, tmp_path / "another")
    with started({**others, "namespace": settings["namespace"], "store": settings["store"]}) as before:
        jobs = before.queue.get_queue("moved").add_bulk([{"name": "n"}] * 5)
    with started(settings) as app:
        app.queue.create_queue("moved", concurrency=2).process(lambda job: "done")
        for job in jobs:
            moved = app.queue.get_job(job.id)
            assert moved is not None
            assert moved.wait_until_finished(timeout=20) == "done"


def test_permits_that_come_twice_never_and_in_any_order_change_nothing(app: Application) -> None:
    queue, ran = app.queue.create_queue("wild", concurrency=1), Ran()
    driver = app.queue.engine.driver
    jobs = queue.add_bulk([{"name": "n", "data": n} for n in range(30)])
    driver.purge("wild")
    again = shuffled([*jobs[::3], *jobs[::2]])
    driver.publish([Ready(one.id, "wild", one.name) for one in again])
    driver.publish([Ready("never-added", "wild", "n"), Ready("", "wild")])
    queue.process(ran)
    wait_for(queue, 30)
    until(lambda: depth(app, queue) == 0, WAIT_S)
    assert ran.data == list(range(30))
    queue.add("n", "last").wait_until_finished(timeout=WAIT_S)


def test_nothing_is_sent_in_a_storm_when_a_queue_is_resumed(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, answers = app.queue.create_queue("storm", concurrency=3), Answers(app, monkeypatch)
    go_on = threading.Event()
    queue.process("waits", lambda job: go_on.wait(WAIT_S))
    queue.process(lambda job: None)
    queue.add("n").wait_until_finished(timeout=WAIT_S)
    until(lambda: depth(app, queue) == 0, WAIT_S)
    queue.pause()
    queue.add_bulk([{"name": "waits"}] * 150)
    until(lambda: Refusal.PAUSED in answers.why, WAIT_S)
    queue.resume()
    # A permit that was refused may still have to be acknowledged; no job ends meanwhile.
    until(lambda: depth(app, queue) <= 150, WAIT_S)
    go_on.set()
    wait_for(queue, 151)
    until(lambda: depth(app, queue) == 0, WAIT_S)


@pytest.mark.parametrize("broker", ["sqs"])
def test_the_jobs_of_a_fifo_group_begin_in_order(broker: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """By priority, and one that is tried again at once begins after those that wait."""
    with started(settings_on(broker, request, tmp_path)) as app:
        queue, ran = app.queue.create_queue("group.fifo", concurrency=1), Ran()

        def handler(job: Job) -> None:
            ran(job)
            if job.data == [0, 1] and ran.data.count([0, 1]) == 1:
                raise ValueError("once more")

        jobs = [[priority, number] for number, priority in enumerate((9, 0, 4, 0, 9, 4))]
        queue.add_bulk(
            [{"name": "n", "data": one, "opts": {"priority": one[0], "group": "g", "attempts": 2}} for one in jobs]
        )
        queue.process(handler)
        wait_for(queue, len(jobs))
    assert ran.data == [[0, 1], [0, 3], [0, 1], [4, 2], [4, 5], [9, 0], [9, 4]]
