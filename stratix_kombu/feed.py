"""``queue.aio.events()``: the events of a queue as an async iterator. Of all coroutines of a loop one reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from stratix_kombu.errors import Closed, ConfigurationError, EventsMissed, Unavailable

if TYPE_CHECKING:
    from stratix_kombu.model.event import Event
    from stratix_kombu.queue.queue import Queue

READ_S = 2.0
"""How long a read waits for the first event."""
PAUSE_S = 1.0
"""How long nothing is asked of a store that is unreachable."""
MOST = 10_000
"""Events that wait for a coroutine that is slow; then it has missed some."""

Loop = asyncio.AbstractEventLoop


class Feed:
    """The reader of one queue on one loop. It goes on while somebody follows."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._followers: set[_Follower] = set()
        self._task: asyncio.Task[None] | None = None
        self._reads = asyncio.Event()
        """Set when the reader knows where the log ends, or cannot know it."""

    async def follow(self, after: str | None) -> AsyncGenerator[Event, None]:
        """Events from now on, or those after a cursor first."""
        follower = _Follower(self._queue.name)
        self._followers.add(follower)
        try:
            if self._task is None or self._task.done():
                self._reads = asyncio.Event()
                self._task = asyncio.ensure_future(self._run())
            await self._reads.wait()
            seen: set[str] = set()
            while after is not None:
                page = await self._queue.aio.get_events(after)
                if not page and not follower.begin_anew():
                    break
                for event in page:
                    seen.add(event.cursor)
                    yield event
                    after = event.cursor
            while (event_ := await follower.next()) is not None:
                if event_.cursor not in seen:
                    yield event_
        finally:
            self._followers.discard(follower)
            if not self._followers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        problem: Exception | None = None
        try:
            await self._read()
        except Closed:
            pass
        except Exception as error:
            problem = error
        self._reads.set()
        for follower in self._followers:
            follower.end(problem)

    async def _read(self) -> None:
        aio = self._queue.aio
        cursor = await aio._call(self._queue._engine.store.events.tail, self._queue.name)
        self._reads.set()
        while True:
            self._queue._open()  # raises Closed
            try:
                events = await aio.get_events(cursor, wait=READ_S)
            except Unavailable:
                await asyncio.sleep(PAUSE_S)
                continue
            for event in events:
                cursor = event.cursor
                for follower in self._followers:
                    follower.tell(event)


class _Follower:
    """What one coroutine has not seen yet."""

    def __init__(self, queue: str) -> None:
        self._name = queue
        self._events: asyncio.Queue[Event | Exception | None] = asyncio.Queue(MOST)
        self._missed = 0

    def tell(self, event: Event) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            self._missed += 1

    def end(self, problem: Exception | None) -> None:
        if self._events.full():
            self._events.get_nowait()
            self._missed += 1
        self._events.put_nowait(problem)

    def begin_anew(self) -> bool:
        """While it reads the log itself nothing is lost: forget what has come, if some did not fit; whether so."""
        if not self._missed:
            return False
        self._missed = 0
        while not self._events.empty():
            self._events.get_nowait()
        return True

    async def next(self) -> Event | None:
        """None at the end. Raises EventsMissed."""
        if self._missed and self._events.empty():
            raise EventsMissed(f"queue {self._name!r}", self._missed, "*")
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event


_feeds: WeakKeyDictionary[Queue, WeakKeyDictionary[Loop, Feed]] = WeakKeyDictionary()


def feed_of(queue: Queue) -> Feed:
    """The one of the loop that runs."""
    loops = _feeds.setdefault(queue, WeakKeyDictionary())
    return loops.setdefault(asyncio.get_running_loop(), Feed(queue))


async def events_of(queue: Queue, after: str | None) -> AsyncGenerator[Event, None]:
    """See ``AsyncQueue.events``."""
    following = feed_of(queue).follow(after)
    try:
        async for event in following:
            yield event
    finally:
        with suppress(RuntimeError):
            await following.aclose()  # at once, and not when it is collected


async def cursor_of(queue: Queue, last: str | None) -> str | None:
    """The cursor that a browser says it has received last; None if it says none, or one that this store does not read:
    the queue was in another one then, perhaps. It is told what comes from now on. With an error it would not ask
    again."""
    if last:
        with suppress(ConfigurationError):
            await queue.aio.get_events(last, limit=1)
            return last
    return None
