"""Adds of asyncio whose store is away for a while, and in forked children."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from stratix_kombu import Application, Job, Queue, StoreUnavailable, create_app
from stratix_kombu.model.record import Added, NewJob
from stratix_kombu.testing.forking import together
from tests.faults.servers import OwnRedis
from tests.waiting import WAIT_S, until

PATIENCE_MS = 500


@pytest.fixture
def server() -> Iterator[OwnRedis]:
    server = OwnRedis(keeps=False)
    server.start()
    yield server
    server.close()


@pytest.fixture
def app(server: OwnRedis) -> Iterator[Application]:
    options = {"url": server.url, "command_timeout": PATIENCE_MS}
    app = create_app({"driver": "redis", "redis": options, "namespace": "adds"})
    yield app
    app.close()


async def _all(queue: Queue, count: int) -> list[Any]:
    """Each has a step of its own, for its id was there before."""
    adds = (queue.aio.add("n", number, job_id="one") for number in range(count))
    return await asyncio.gather(*adds, return_exceptions=True)


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_a_store_that_is_away_is_asked_once_for_all_of_a_turn(
    server: OwnRedis, app: Application, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Fifty that were tried one after the other would take longer than the test waits."""
    queue = app.queue.get_queue("q")
    asyncio.run(_all(queue, 3))
    tried: list[int] = []
    add = app.queue.store.transitions.add

    def counted(jobs: Sequence[NewJob]) -> Added:
        tried.append(len(jobs))
        return add(jobs)

    monkeypatch.setattr(app.queue.store.transitions, "add", counted)
    server.freeze() if how == "frozen" else server.kill()
    errors = asyncio.run(_all(queue, 50))
    assert {type(one) for one in errors} == {StoreUnavailable}
    assert len({id(one) for one in errors}) == 50
    assert len({str(one) for one in errors}) == 1
    assert all(one.__cause__ is not None for one in errors)
    assert tried == [1]
    server.thaw() if how == "frozen" else server.start()
    until(lambda: isinstance(asyncio.run(_all(queue, 1))[0], Job), WAIT_S)
    until(lambda: queue.get_job_counts()["waiting"] == 1, WAIT_S)


def test_those_that_were_added_before_the_store_went_away_have_their_jobs(
    server: OwnRedis, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = app.queue.get_queue("q")
    add = app.queue.store.transitions.add
    steps: list[int] = []

    def goes_away(jobs: Sequence[NewJob]) -> Added:
        steps.append(len(jobs))
        if len(steps) == 3:
            server.freeze()
        return add(jobs)

    monkeypatch.setattr(app.queue.store.transitions, "add", goes_away)

    async def main() -> list[Any]:
        ids = ["a", "b", "a", "c", "c", "d"]  # an id that comes again begins another step
        adds = (queue.aio.add("n", number, job_id=one) for number, one in enumerate(ids))
        return await asyncio.gather(*adds, return_exceptions=True)

    answers = asyncio.run(main())
    server.thaw()
    assert [one.data if isinstance(one, Job) else type(one) for one in answers] == [
        0,
        1,
        0,
        3,
        StoreUnavailable,
        StoreUnavailable,
    ]
    assert steps == [2, 2, 2]


def test_parent_and_children_add_side_by_side(app: Application) -> None:
    """Also when an add of the parent is under way, and others wait for it, at the moment of the fork."""
    queue = app.queue.get_queue("q")
    add, held, go = app.queue.store.transitions.add, threading.Event(), threading.Event()

    async def under_way() -> list[Any]:
        return await asyncio.gather(*(_turns(queue, "before", turns=3) for _ in range(2)))

    def hold(jobs: Sequence[NewJob]) -> Added:
        held.set()
        assert go.wait(30)
        return add(jobs)

    app.queue.store.transitions.add = hold  # type: ignore[method-assign]
    parent = threading.Thread(target=lambda: asyncio.run(under_way()))
    parent.start()
    assert held.wait(30)
    app.queue.store.transitions.add = add  # type: ignore[method-assign]

    def work(me: str) -> int:
        if me == "parent":
            go.set()
        return len(asyncio.run(_turns(queue, me, turns=5)))

    assert together(3, work) == [50] * 4
    parent.join(30)
    assert queue.get_job_counts()["waiting"] == 2 * 3 * 10 + 4 * 50


async def _turns(queue: Queue, me: str, turns: int) -> list[Job]:
    jobs: list[Job] = []
    for turn in range(turns):
        jobs += await asyncio.gather(*(queue.aio.add("n", f"{me}-{turn}-{number}") for number in range(10)))
    return jobs
