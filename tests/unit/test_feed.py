"""The events of a queue as an async iterator."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from stratix_kombu import Application, EventsMissed, create_app, feed


@pytest.fixture(params=["memory", "redis"])
def app(request: pytest.FixtureRequest) -> Iterator[Application]:
    settings: dict[str, Any] = {"driver": request.param, "namespace": f"feed{uuid.uuid4().hex[:8]}"}
    if request.param == "redis":
        settings["redis"] = {"url": request.getfixturevalue("redis_url")}
    with create_app(settings) as app:
        yield app


async def first(events: Any, number: int) -> list[Any]:
    found = []
    async with aclosing(events):
        async for event in events:
            found.append(event)
            if len(found) == number:
                break
    return found


async def following(queue: Any, number: int, after: str | None = None) -> asyncio.Task[list[Any]]:
    """A task that follows, once it does."""
    task = asyncio.ensure_future(first(queue.aio.events(after), number))
    await reading(queue)
    return task


async def reading(queue: Any) -> None:
    for _ in range(500):
        if feed.feed_of(queue)._followers and feed.feed_of(queue)._reads.is_set():
            break
        await asyncio.sleep(0.01)


def test_from_now_on_and_one_reader_for_all(app: Application) -> None:
    queue = app.queue.create_queue("q")
    queue.add("before")

    async def main() -> None:
        tasks = [await following(queue, 2) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(feed.feed_of(queue)._followers) == 3
        reader = feed.feed_of(queue)._task
        await queue.aio.add_bulk([{"name": "a"}, {"name": "b"}])
        for events in await asyncio.gather(*tasks):
            assert [(one.name, one.job_name) for one in events] == [("waiting", "a"), ("waiting", "b")]
        assert reader is not None
        await asyncio.wait({reader}, timeout=10)
        assert feed.feed_of(queue)._task is None

    asyncio.run(main())


def test_after_a_cursor_nothing_is_left_out_or_repeated(app: Application) -> None:
    queue = app.queue.create_queue("q")
    jobs = queue.add_bulk([{"name": "n"} for _ in range(5)])

    async def main() -> list[Any]:
        cursor = (await first(queue.aio.events(""), 2))[-1].cursor
        task = await following(queue, 6, cursor)
        await queue.aio.add_bulk([{"name": "n"} for _ in range(3)])
        return await task

    events = asyncio.run(main())
    assert [one.job_id for one in events[:3]] == [job.id for job in jobs[2:]]
    assert len({one.cursor for one in events}) == 6


def test_it_ends_when_the_application_is_closed(app: Application) -> None:
    queue = app.queue.create_queue("q")

    async def main() -> list[Any]:
        task = await following(queue, 5)
        await queue.aio.add("n")
        await app.aclose()
        return await asyncio.wait_for(task, 10)

    assert len(asyncio.run(main())) <= 1


def test_a_follower_that_is_too_slow_hears_of_the_gap(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MOST", 2)
    queue = app.queue.create_queue("q")

    async def main() -> int:
        events = queue.aio.events()
        coming = asyncio.ensure_future(anext(events))
        await reading(queue)
        await queue.aio.add("first")
        assert (await coming).job_name == "first"
        await queue.aio.add_bulk([{"name": "n"} for _ in range(5)])
        (follower,) = feed.feed_of(queue)._followers
        for _ in range(500):
            if follower._missed:
                break
            await asyncio.sleep(0.01)
        async with aclosing(events):
            seen = [await anext(events), await anext(events)]
            with pytest.raises(EventsMissed, match="3 events"):
                await anext(events)
        return len(seen)

    assert asyncio.run(main()) == 2
