"""The dashboard as an ASGI application: its pages are made in threads, since the calls to the store block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stratix_kombu.calls import Calls
from stratix_kombu.dashboard.http import MAX_BODY, Request, as_json, complete

if TYPE_CHECKING:
    from stratix_kombu.dashboard.core import Dashboard

THREADS = 8
"""Pages that are made at the same time."""
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AsgiApp:
    """Mounted below ``root_path``."""

    def __init__(self, dashboard: Dashboard) -> None:
        self._dashboard = dashboard
        self._calls = Calls(THREADS)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        body = await _body(receive)
        if body is None:
            response = complete(as_json({"error": f"a request may have {MAX_BODY} bytes"}, 413))
        else:
            response = await self._calls.run(self._dashboard.respond, request_of(scope, body))
        headers = [("Content-Type", response.type), *response.headers]
        coded = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": response.status, "headers": coded})
        if response.stream is None:
            await send({"type": "http.response.body", "body": response.body})
        else:
            await _stream(response.stream, receive, send)


def request_of(scope: MutableMapping[str, Any], body: bytes) -> Request:
    """The request. ``path`` has ``root_path`` at its begin, unless the host is an older one."""
    root = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers[name.decode("latin-1").lower()] = value.decode("latin-1")
    return Request(
        method=scope["method"],
        path=path[len(root) :] if root and path.startswith(root) else path,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=headers,
        body=body,
        prefix=quote(root),
        native=scope,
        peer=(scope.get("client") or ("",))[0],
        streams=True,
    )


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _stream(lines: AsyncIterator[str], receive: Receive, send: Send) -> None:
    """Send what comes, until the other end has gone."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def sent() -> None:
        async for line in lines:
            await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    tasks = {asyncio.ensure_future(gone()), asyncio.ensure_future(sent())}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
