"""The events of a queue as they happen, for a browser (server-sent events)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from stratix_kombu.dashboard.http import Refused, Response
from stratix_kombu.dashboard.pages.queue import known
from stratix_kombu.dashboard.site import Visit
from stratix_kombu.feed import cursor_of

if TYPE_CHECKING:
    from stratix_kombu.model.event import Event
    from stratix_kombu.queue.queue import Queue

KEEP_ALIVE_S = 15.0
"""How often something is sent, so that proxies do not end a connection that is silent."""
STREAM_S = 20.0
"""How long one answer takes; then a browser asks again: a server that is to end waits for it."""


def events(visit: Visit, name: str) -> Response:
    """The events of a queue from now on, without their values: each with its cursor as id, and as data ``event``,
    ``job_id``, ``job_name`` and ``at_ms``. A browser that reconnects continues where it was. On ASGI only."""
    known(visit, name)
    if not visit.request.streams:
        raise Refused(404, "events are sent on ASGI only: mount the dashboard's 'asgi'")
    lines = _lines(visit.app.queue.get_queue(name), visit.request.headers.get("last-event-id"))
    return Response(type="text/event-stream", headers=[("X-Accel-Buffering", "no")], stream=lines)


async def _lines(queue: Queue, after: str | None) -> AsyncIterator[str]:
    yield ": connected\n\n"
    async with aclosing(queue.aio.events(await cursor_of(queue, after))) as coming:
        pending: asyncio.Future[Event] | None = None
        deadline = time.monotonic() + STREAM_S
        try:
            while (left := deadline - time.monotonic()) > 0:
                pending = pending or asyncio.ensure_future(anext(coming))
                if not (await asyncio.wait({pending}, timeout=min(KEEP_ALIVE_S, left)))[0]:
                    yield ": still here\n\n"
                    continue
                event, pending = pending.result(), None
                data = {"event": event.name, "job_id": event.job_id, "job_name": event.job_name, "at_ms": event.at_ms}
                yield f"id: {event.cursor}\ndata: {json.dumps(data)}\n\n"
        except StopAsyncIteration:
            return
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.wait({pending})
