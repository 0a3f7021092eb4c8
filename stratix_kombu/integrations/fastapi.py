"""FastAPI and Starlette: the application's life within the server's, a dependency, and events for browsers.

>>> from stratix_kombu.integrations.fastapi import lifespan
>>> api = FastAPI(lifespan=lifespan(jobs))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from stratix_kombu.application import Application
from stratix_kombu.feed import cursor_of
from stratix_kombu.queue.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

    from stratix_kombu.model.event import Event

KEEP_ALIVE_S = 15.0
"""How often something is sent, so that proxies do not end a connection that is silent."""
STREAM_S = 20.0
"""How long one answer takes; then a browser asks again: a server that is to end waits for it."""
RETRY_MS = 1_000
"""How long a browser waits before it asks again."""


def lifespan(
    app: Application, *, start: bool = False, queues: Collection[str] | None = None
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """For ``FastAPI(lifespan=...)``: the application is open while the server runs, and closed at its end. With
    ``start`` this process runs jobs, too, of ``queues`` or of all that have a handler.

    >>> api = FastAPI(lifespan=lifespan(jobs, start=True))  # doctest: +SKIP
    """

    @asynccontextmanager
    async def life(_: Any) -> AsyncIterator[None]:
        async with app:
            if start:
                await app.astart(queues)
            yield

    return life


def queue_of(app: Application, name: str) -> Callable[[], Queue]:
    """A dependency that gives the queue.

    >>> Emails = Annotated[Queue, Depends(queue_of(jobs, "emails"))]  # doctest: +SKIP
    """

    def queue() -> Queue:
        return app.queue.get_queue(name)

    return queue


class EventStream(StreamingResponse):
    """The events of a queue as server-sent events: each with its cursor as ``id``, its name, and as data a mapping with
    ``job_id``, ``job_name``, ``at_ms`` and ``value``. An answer ends after 20 seconds, since a server that is to end
    waits for it; the browser reconnects by itself and continues where it was, whether it has received an event or not.

    >>> @api.get("/events")  # doctest: +SKIP
    ... async def events(request: Request): return EventStream(queue, request)
    """

    def __init__(
        self, queue: Queue, request: Request, *, only: Callable[[Event], bool] = lambda event: True, **more: Any
    ) -> None:
        after = request.headers.get("last-event-id")
        more.setdefault("headers", {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        super().__init__(_lines(queue, after, only), media_type="text/event-stream", **more)


async def _lines(queue: Queue, after: str | None, only: Callable[[Event], bool]) -> AsyncIterator[str]:
    """Besides the events, cursors alone: they are what a browser remembers that has received no event."""
    deadline = time.monotonic() + STREAM_S
    cursor = await cursor_of(queue, after) or await _tail(queue)
    yield f": connected\nretry: {RETRY_MS}\nid: {cursor}\n\n"
    async with aclosing(queue.aio.events(cursor)) as events:
        coming: asyncio.Future[Event] | None = None
        try:
            while (left := deadline - time.monotonic()) > 0:
                coming = coming or asyncio.ensure_future(anext(events))
                if not (await asyncio.wait({coming}, timeout=min(KEEP_ALIVE_S, left)))[0]:
                    yield f": still here\nid: {cursor}\n\n"
                    continue
                try:
                    event = coming.result()
                except StopAsyncIteration:
                    return
                coming, cursor = None, event.cursor
                if only(event):
                    yield _line(event)
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.wait({coming})


async def _tail(queue: Queue) -> str:
    return await queue.aio._call(queue._engine.store.events.tail, queue.name)


def _line(event: Event) -> str:
    value = event.value
    if value is not None and event.name != "failed":  # whose value is the reason, and no JSON
        value = json.loads(value)
    data = {"job_id": event.job_id, "job_name": event.job_name, "at_ms": event.at_ms, "value": value}
    return f"id: {event.cursor}\nevent: {event.name}\ndata: {json.dumps(data)}\n\n"
