"""Jobs and the clock without a worker that stays."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, JobFailed, RateLimited, create_app
from stratix_kombu.once import run_waiting, tick
from tests.waiting import until


@pytest.fixture(params=["memory", "redis"])
def app(request: pytest.FixtureRequest) -> Iterator[Application]:
    settings: dict[str, Any] = {"driver": request.param, "namespace": f"once{uuid.uuid4().hex[:8]}"}
    if request.param == "redis":
        settings["redis"] = {"url": request.getfixturevalue("redis_url")}
    with create_app(settings) as app:
        yield app


def test_what_waits_runs_here_until_nothing_waits(app: Application) -> None:
    queue = app.queue.create_queue("q")
    threads: set[int] = set()

    @queue.process("plain")
    def plain(job: Any) -> int:
        threads.add(threading.get_ident())
        if job.data == "more":
            queue.add("awaited", 1)
        if job.data == "bad" and job.attempts_made == 0:
            raise OSError("away")
        return len(threads)

    @queue.process("awaited")
    async def awaited(job: Any) -> int:
        await asyncio.sleep(0)
        return int(job.data) + 1

    jobs = [queue.add("plain", data, attempts=2) for data in ("more", "bad")]
    child = queue.add("plain", dependencies=jobs)
    assert run_waiting(app) == 5  # one of them twice
    assert [one.get_state() for one in (*jobs, child)] == ["completed"] * 3
    assert threads == {threading.get_ident()}
    assert [one.return_value for one in queue.get_jobs("completed") if one.name == "awaited"] == [2]
    assert run_waiting(app) == 0


def test_how_many_and_which(app: Application) -> None:
    first, second = app.queue.create_queue("a"), app.queue.create_queue("b")
    for queue in (first, second):
        queue.process(lambda job: None)
        queue.add_bulk([{"name": "n"} for _ in range(3)])
    assert run_waiting(app, ["a"], limit=2) == 2
    assert first.get_job_counts()["completed"] == 2
    assert run_waiting(app, timeout=0) == 0
    assert run_waiting(app) == 4


def test_limits_and_time_hold(app: Application) -> None:
    queue = app.queue.create_queue("q")
    gone = threading.Event()

    @queue.process("slow")
    def slow(job: Any) -> str:
        until(lambda: job.cancelled)
        gone.set()
        return "late"

    @queue.process("limited")
    def limited(job: Any) -> None:
        raise RateLimited(60_000)

    job = queue.add("slow", timeout=50)
    assert run_waiting(app) == 1
    assert gone.is_set()
    with pytest.raises(JobFailed, match="timed out after 50 ms"):
        job.wait_until_finished(5)
    held = queue.add("limited")
    assert run_waiting(app) == 1
    assert held.get_state() == "waiting"


def test_the_clock_goes_round_once(app: Application) -> None:
    queue = app.queue.create_queue("q")
    queue.process(lambda job: job.data)
    queue.add("late", 1, delay=1)
    queue.add_repeatable_job("again", 2, every=60_000, immediately=True)

    def ran() -> bool:
        assert tick(app)
        run_waiting(app)
        return queue.get_job_counts()["completed"] == 2

    until(ran)
    assert sorted(one.return_value for one in queue.get_jobs("completed")) == [1, 2]
