"""The logs of the Redis store: one stream a queue."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.event import Event
from stratix_kombu.model.names import shown
from stratix_kombu.stores.contract import EventLog
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.records import text
from stratix_kombu.stores.redis.scripts import Scripts

_CURSOR = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?(/[0-9]{1,18})?\Z")


class RedisEventLog(EventLog):
    def __init__(self, client: Client, scripts: Scripts, base: str) -> None:
        self._client = client
        self._scripts = scripts
        self._base = base

    def append(self, queue: str, name: str, job_id: str = "", value: str | None = None) -> None:
        self._scripts.run("append_event", (queue, name, job_id, "" if value is None else "1", value or ""))

    def tail(self, queue: str) -> str:
        written, _, newest, _, _ = self._scripts.run("read_events", (queue, "", 0))
        return _cursor(newest.decode(), written)

    def read(self, queue: str, cursor: str, limit: int = 1000, wait_ms: int = 0) -> list[Event]:
        if not _CURSOR.match(cursor):
            raise ConfigurationError(f"{shown(cursor)} is no cursor of an event")
        after, _, number = cursor.partition("/")
        after = "0-0" if after == "0" else after
        if wait_ms:
            entries = self._client.read_stream(self._key(queue), after, limit, wait_ms)
            # The log drops nothing before there is more than a page: then what comes next was the next one.
            if (number and len(entries) < limit) or not entries:
                return [_event(queue, one, int(number) + n) for n, one in enumerate(entries, 1)]
        written, kept, _, oldest, page = self._scripts.run("read_events", (queue, after, limit))
        entries = [(one[0], dict(zip(one[1][::2], one[1][1::2], strict=True))) for one in page]
        if not entries or written < 0:
            return [_event(queue, one, None) for one in entries]
        dropped, before = written - kept, int(number) if number else 0 if after == "0-0" else None
        missed = 0
        if entries[0][0] == oldest:
            missed = 0 if before is None else max(dropped - before, 0)
            before = dropped
        events = [_event(queue, one, None if before is None else before + n) for n, one in enumerate(entries, 1)]
        return [replace(events[0], missed=missed), *events[1:]]

    def _key(self, queue: str) -> str:
        return f"{self._base}:q:{queue}:events"


def _cursor(entry_id: str, number: int | None) -> str:
    """Where reading goes on: after which entry, and the how many-th that was, if that is known."""
    return entry_id if number is None or number < 0 else f"{entry_id}/{number}"


def _event(queue: str, entry: Any, number: int | None) -> Event:
    entry_id, fields = entry[0].decode(), entry[1]
    value = fields.get(b"v")
    job_id = text(fields.get(b"i"))
    if not job_id and not value:
        value = None
    return Event(
        _cursor(entry_id, number),
        queue,
        text(fields.get(b"e")),
        job_id,
        int(entry_id.partition("-")[0]),
        None if value is None else value.decode(errors="replace"),
        text(fields.get(b"n")),
    )
