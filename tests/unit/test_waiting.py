"""Waiting for a job, however soon it is gone, and whatever becomes of others who wait."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, Job, JobFailed, JobNotFound, WaitTimeout, create_app
from stratix_kombu.model.event import Event
from stratix_kombu.model.record import JobRecord
from tests.waiting import until

WAIT_S = 60


@pytest.fixture(params=["memory", "redis", "rabbitmq", "sqs"])
def driven(request: pytest.FixtureRequest) -> Iterator[Application]:
    """An application on each driver, with the records in memory or on Redis."""
    driver = request.param
    settings: dict[str, Any] = {"driver": driver, "namespace": f"wait{uuid.uuid4().hex[:8]}"}
    if driver == "redis":
        settings["redis"] = {"url": request.getfixturevalue("redis_url")}
    elif driver == "rabbitmq":
        settings |= {"rabbitmq": {"url": request.getfixturevalue("amqp_url")}, "store": "memory://"}
    elif driver == "sqs":
        aws = {"region": "us-east-1", "credentials": {"access_key_id": "x", "secret_access_key": "y"}}
        settings["sqs"] = {"endpoint_url": request.getfixturevalue("sqs_url"), "aws": aws}
        settings["store"] = request.getfixturevalue("redis_url")
    with create_app(settings) as app:
        app.start()
        yield app


def echo(job: Job) -> Any:
    if job.name == "bad":
        raise ValueError("no")
    return job.data


def test_the_result_of_a_job_that_is_removed_at_its_end(driven: Application) -> None:
    queue = driven.queue.create_queue("q", concurrency=20)
    queue.process(echo)
    for n in range(100):
        job = queue.add("x", n, remove_on_complete=True, remove_on_fail=True)
        assert job.wait_until_finished(WAIT_S) == n
        assert (job.state, job.data, job.return_value) == ("completed", n, n), "the handle shows how it ended"

    async def one(n: int) -> Any:
        job = await queue.aio.add("x", n, remove_on_complete=True)
        return await job.aio.wait_until_finished(WAIT_S)

    async def all_of_them() -> None:
        for start in range(0, 100, 20):
            batch = range(start, start + 20)
            assert await asyncio.gather(*(one(n) for n in batch)) == list(batch)

    asyncio.run(all_of_them())


def test_any_end_can_be_asked_for_later(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.process(echo)
    long = "x" * 100_000
    kept = {"remove_on_complete": 1, "remove_on_fail": True}
    big, bad, next_one = (queue.add(name, data, **kept) for name, data in (("x", long), ("bad", 1), ("x", 2)))
    until(lambda: queue.get_job(next_one.id).state == "completed")  # type: ignore[union-attr]
    assert queue.get_jobs() == [] or [one.id for one in queue.get_jobs()] == [next_one.id]
    assert big.wait_until_finished(WAIT_S) == long
    with pytest.raises(JobFailed, match="ValueError: no"):
        bad.wait_until_finished(WAIT_S)
    assert bad.failed_reason == "ValueError: no"
    next_one.remove()
    with pytest.raises(JobNotFound):
        next_one.wait_until_finished(WAIT_S)


def test_a_waiter_whose_loop_was_closed_costs_only_itself(app: Application) -> None:
    queue, gate = app.queue.get_queue("q"), threading.Event()
    heard: list[str] = []
    queue.on("completed", lambda job, result: heard.append(job.id))
    queue.process(lambda job: gate.wait(WAIT_S))
    job = queue.add("x")
    hub = job._hub
    loop = asyncio.new_event_loop()
    abandoned = loop.create_task(job.aio.wait_until_finished())

    async def until_it_waits() -> None:
        while not hub._waiters:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)

    loop.run_until_complete(until_it_waits())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    found: list[Any] = []
    others = [threading.Thread(target=lambda: found.append(job.wait_until_finished(WAIT_S))) for _ in range(2)]
    for one in others:
        one.start()
    until(lambda: len(hub._waiters[job.id]) == 3)  # type: ignore[attr-defined]
    gate.set()
    for one in others:
        one.join(WAIT_S)
    assert found == [True, True]
    until(lambda: heard == [job.id])
    assert not abandoned.done()
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]  # it was left so on purpose


def test_nobody_waits_on_after_a_wait_that_failed(app: Application) -> None:
    """Over its time, or with a store that does not answer."""
    queue = app.queue.get_queue("q")
    job = queue.add("x", delay=60_000)
    with pytest.raises(WaitTimeout):
        job.wait_until_finished(0.01)
    with pytest.raises(WaitTimeout):
        asyncio.run(job.aio.wait_until_finished(0.01))
    job.remove()
    with pytest.raises(JobNotFound):
        job.wait_until_finished(WAIT_S)
    assert job._hub._waiters == {}  # type: ignore[attr-defined]


def test_the_end_of_an_earlier_job_of_the_id_is_not_its_end(app: Application) -> None:
    queue = app.queue.get_queue("q")
    job = queue.add("x", job_id="k")
    found: list[Any] = []
    job._hub.subscribe("k", found.append)
    for name, value in (("removed", None), ("completed", "1"), ("failed", "no")):
        job._hub._tell([Event("1", "q", name, "k", 1, value)])  # type: ignore[attr-defined]
    assert found == []
    queue.process(lambda job: "it")
    until(lambda: [one.result for one in found] == ['"it"'])


def test_looking_again_reads_no_record_of_a_job_that_has_not_ended(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, queries = app.queue.get_queue("q"), app.queue.store.queries
    jobs = queue.add_bulk([{"name": "x", "data": n, "opts": {"delay": 60_000}} for n in range(300)])
    hub: Any = jobs[0]._hub
    found: list[Any] = []
    for job in jobs:
        hub.subscribe(job.id, found.append)
    read: list[str] = []
    get, states = queries.get, queries.states
    looked = threading.Event()
    monkeypatch.setattr(queries, "get", lambda ids: read.extend(ids) or get(ids))
    monkeypatch.setattr(queries, "states", lambda ids: looked.set() or states(ids))
    monkeypatch.setattr(app.queue.store.events, "read", lambda *args: [])  # as if every event of the end was lost
    app.queue.store.transitions.cancel(jobs[7].id, "no")
    app.queue.store.transitions.remove(jobs[8].id)
    hub._checked = float("-inf")
    until(lambda: len(found) == 2 and looked.is_set())
    assert set(read) == {jobs[7].id, jobs[8].id}
    assert {type(one) for one in found} == {JobRecord, JobNotFound}
