"""The logs of the Redis store: one stream a queue."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.event import Event
from stratix_kombu.model.names import shown
from stratix_kombu.stores.contract import EventLog, LogReader
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.fields import EVENT
from stratix_kombu.stores.redis.scripts import Scripts
from stratix_kombu.stores.redis.texts import text

BELL_S = 60
"""How long a bell that nobody hears is kept."""
_NAME, _JOB_ID, _JOB_NAME, _VALUE = (EVENT[one].encode() for one in ("name", "job_id", "job_name", "value"))
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
            raise ConfigurationError(f"{shown(cursor)} is not a cursor of an event")
        after, number = _entry_id(cursor), cursor.partition("/")[2]
        if wait_ms:
            key = self.key(queue)
            entries = self._client.read_streams({key: after}, limit, wait_ms).get(key, [])
            return self.events_of(queue, cursor, limit, entries) if entries else []
        return self._read_now(queue, after, number, limit)

    def events_of(self, queue: str, cursor: str, limit: int, entries: Sequence[Any]) -> list[Event]:
        """The events of entries that came after a cursor; of a log that may have dropped some it is asked."""
        number = cursor.partition("/")[2]
        # The log drops nothing before there is more than a page: then what comes next was the next one.
        if number and len(entries) < limit:
            return [_event(queue, one, int(number) + n) for n, one in enumerate(entries, 1)]
        return self._read_now(queue, _entry_id(cursor), number, limit)

    def reader(self) -> LogReader:
        return RedisLogReader(self, self._client, f"{self._base}:bell:{uuid.uuid4().hex}")

    def _read_now(self, queue: str, after: str, number: str, limit: int) -> list[Event]:
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

    def key(self, queue: str) -> str:
        return f"{self._base}:q:{queue}:events"


class RedisLogReader(LogReader):
    """Its bell is a stream like the others, to which ``interrupt`` adds an entry: so it is heard however late the wait
    begins."""

    def __init__(self, log: RedisEventLog, client: Client, bell: str) -> None:
        self.patience_ms = 1000 if client.follows_sentinels else 2500
        self._log = log
        self._client = client
        self._bell = bell
        self._heard = "0-0"

    def read(self, cursors: Mapping[str, str], limit: int, wait_ms: int) -> dict[str, list[Event]]:
        queues = {self._log.key(queue): queue for queue in cursors}
        after = {key: _entry_id(cursors[queue]) for key, queue in queues.items()}
        found = self._client.read_streams({self._bell: self._heard, **after}, limit, wait_ms)
        rings = found.pop(self._bell, None)
        if rings:
            self._heard = rings[-1][0].decode()
        read = {
            queues[key]: self._log.events_of(queues[key], cursors[queues[key]], limit, entries)
            for key, entries in found.items()
        }
        return {queue: events for queue, events in read.items() if events}

    def interrupt(self) -> None:
        self._client.run("XADD", self._bell, "MAXLEN", 1, "*", "r", "", again=True)
        self._client.run("EXPIRE", self._bell, BELL_S, again=True)


def _entry_id(cursor: str) -> str:
    after = cursor.partition("/")[0]
    return "0-0" if after == "0" else after


def _cursor(entry_id: str, number: int | None) -> str:
    """Where reading goes on: after which entry, and the how many-th that was, if that is known."""
    return entry_id if number is None or number < 0 else f"{entry_id}/{number}"


def _event(queue: str, entry: Any, number: int | None) -> Event:
    entry_id, fields = entry[0].decode(), entry[1]
    value = fields.get(_VALUE)
    job_id = text(fields.get(_JOB_ID))
    if not job_id and not value:
        value = None
    return Event(
        _cursor(entry_id, number),
        queue,
        text(fields.get(_NAME)),
        job_id,
        int(entry_id.partition("-")[0]),
        None if value is None else value.decode(errors="replace"),
        text(fields.get(_JOB_NAME)),
    )
