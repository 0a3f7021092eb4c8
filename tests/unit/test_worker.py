"""The worker of a queue, in memory: which jobs it takes, how many at a time, and what becomes of those it lost."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Generator
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, Queue, create_app
from stratix_kombu.errors import JobFailed
from tests.waiting import until


def slowly(attempts_made: int) -> float:
    return 5.0


@pytest.fixture
def settings(in_memory: dict[str, Any]) -> dict[str, Any]:
    return in_memory


def test_never_more_than_concurrency_at_a_time(queue: Queue) -> None:
    lock, running, peak = threading.Lock(), [0], [0]

    def work(job: Job) -> None:
        with lock:
            running[0] += 1
            peak[0] = max(peak[0], running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    jobs = queue.add_bulk([{"name": "n"} for _ in range(40)])
    queue.process(work)
    for job in jobs:
        job.wait_until_finished(timeout=20)
    assert peak == [3]


def test_urgent_jobs_come_first(app: Application) -> None:
    queue, ran = app.queue.create_queue("urgent"), list[tuple[int, int]]()
    added = [(priority, number) for number in range(3) for priority in (9, 4, 0, 5)]
    queue.add_bulk([{"name": "n", "data": one, "opts": {"priority": one[0]}} for one in added])
    queue.process(lambda job: ran.append(tuple(job.data)))
    until(lambda: len(ran) == 12)
    assert ran == sorted(added)


def test_handlers_by_name_and_for_all(queue: Queue) -> None:
    queue.process("one", lambda job: 1)
    queue.process(lambda job: job.name)
    assert queue.add("one").wait_until_finished(timeout=10) == 1
    assert queue.add("two").wait_until_finished(timeout=10) == "two"
    with pytest.raises(ConfigurationError):
        queue.process("one", lambda job: 2)


def test_a_handler_sees_that_its_job_was_handed_back(app: Application, queue: Queue) -> None:
    """Its outcome is not asked for any more, so it is no fault either."""
    began, saw = threading.Event(), threading.Event()

    @queue.process
    def patient(job: Job) -> None:
        began.set()
        until(lambda: job.cancelled)
        saw.set()

    job = queue.add("n")
    assert began.wait(10)
    assert not queue.close(0.01)
    assert saw.wait(10)
    record = app.queue.engine.store.queries.get([job.id])[0]
    assert record is not None
    assert (record.state.value, record.attempts_made) == ("waiting", 0)
    assert dict(app.queue.engine.faults) == {}


def test_jobs_in_hand_are_handed_back_at_once(app: Application, queue: Queue) -> None:
    held, gate = threading.Event(), threading.Event()

    def stuck(job: Job) -> None:
        held.set()
        gate.wait(20)

    queue.process(stuck)
    job = queue.add("n")
    assert held.wait(10)
    assert queue.close(timeout=0.05) is False
    observer = create_app({"driver": "memory", "namespace": app.queue.settings.namespace})
    record = observer.queue.get_queue("q").get_job(job.id)
    assert record is not None
    assert (record.get_state(), record.attempts_started) == ("waiting", 0)
    gate.set()
    observer.close()


def test_a_worker_that_lost_its_lease_cannot_finish(app: Application, queue: Queue) -> None:
    """The store has given the job to another: the late result is refused, and an error event reports it."""
    errors: list[BaseException] = []
    queue.on("error", errors.append)
    begun, gate = threading.Event(), threading.Event()
    results = iter(["late", "second"])

    def work(job: Job) -> str:
        result = next(results)
        if result == "late":
            begun.set()
            gate.wait(20)
        return result

    queue.process(work)
    job = queue.add("n")
    assert begun.wait(10)
    space = app.queue.store.transitions.space  # type: ignore[attr-defined]
    with space.lock:
        space.jobs[job.id].token = "another"
    space.jobs[job.id].lease_ms = 0
    assert job.wait_until_finished(timeout=10) == "second"
    gate.set()
    until(lambda: errors)
    assert job.refresh().return_value == "second"


def test_custom_backoffs(app: Application) -> None:
    queue = app.queue.create_queue("custom", backoffs={"mine": slowly})
    tries: list[str] = []

    def work(job: Job) -> None:
        tries.append(job.id)
        if job.attempts_made == 0:
            raise ValueError("first")

    queue.process(work)
    for backoff in ({"custom": "mine"}, {"custom": slowly}):
        queue.add("n", attempts=2, backoff=backoff).wait_until_finished(timeout=10)
    assert len(tries) == 4


@pytest.mark.parametrize("less_than_0", [-1, -1.0, -60_000])
def test_a_custom_backoff_may_give_up(app: Application, less_than_0: float) -> None:
    queue = app.queue.create_queue("custom", backoffs={"once more": lambda made: 5 if made == 1 else less_than_0})

    @queue.process
    def work(job: Job) -> None:
        raise ValueError("never")

    job = queue.add("n", attempts=9, backoff={"custom": "once more"})
    with pytest.raises(JobFailed, match="never"):
        job.wait_until_finished(timeout=10)
    assert job.refresh().attempts_made == 2


def test_a_plain_function_may_return_what_is_to_be_awaited(queue: Queue) -> None:
    ended: list[str] = []

    async def later(job: Job) -> object:
        await asyncio.sleep(0)
        if job.data == "raise":
            raise ValueError("later")
        if job.data == "exit":
            raise SystemExit(3)
        if job.data == "wait":
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(job.id)
        return job.data

    queue.process("of a lambda", lambda job: later(job))
    queue.process("of a future", lambda job: _Awaitable(job.data))
    assert queue.add("of a lambda", 5).wait_until_finished(timeout=10) == 5
    assert queue.add("of a future", 6).wait_until_finished(timeout=10) == 6
    for data, reason in (("raise", "ValueError: later"), ("exit", "SystemExit: 3")):
        with pytest.raises(JobFailed, match=reason):
            queue.add("of a lambda", data).wait_until_finished(timeout=10)
    late = queue.add("of a lambda", "wait", timeout=50)
    with pytest.raises(JobFailed, match="timed out after 50 ms"):
        late.wait_until_finished(timeout=10)
    cancelled = queue.add("of a lambda", "wait")
    until(lambda: cancelled.get_state() == "active")
    cancelled.cancel("by user 7")
    until(lambda: cancelled.get_state() == "failed")
    until(lambda: sorted(ended) == sorted([late.id, cancelled.id]))


class _Awaitable:
    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[object, None, object]:
        yield from asyncio.sleep(0).__await__()
        return self._value


def test_leases_of_all_jobs_that_run_at_a_time_are_renewed() -> None:
    """Longer than a lease, several at once: none is taken for stalled."""
    settings = {
        "driver": "memory",
        "namespace": f"w{uuid.uuid4().hex[:8]}",
        "worker": {"lease_duration": 200, "stalled_check_interval": 50},
    }
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("q", concurrency=5)
        queue.process(lambda job: time.sleep(0.8))
        jobs = queue.add_bulk([{"name": "n"}] * 5)
        for job in jobs:
            job.wait_until_finished(timeout=10)
        assert [job.refresh().attempts_started for job in jobs] == [1] * 5
        assert app.queue.engine.faults["stale_claim"] == 0
