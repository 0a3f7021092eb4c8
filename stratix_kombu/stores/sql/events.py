"""The logs over tables."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import replace

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.event import Event
from stratix_kombu.model.names import shown
from stratix_kombu.stores.contract import EventLog, LogReader
from stratix_kombu.stores.memory.state import EVENTS_KEPT
from stratix_kombu.stores.sql.space import SqlSpace

_ENDS = "SELECT first_event, last_event FROM queues WHERE name = ? ORDER BY era DESC LIMIT 1"
_CURSOR = re.compile(r"[0-9]{1,18}\Z")


class SqlEventLog(EventLog):
    def __init__(self, space: SqlSpace) -> None:
        self._space = space

    def append(self, queue: str, name: str, job_id: str = "", value: str | None = None) -> None:
        with self._space.lock:
            self._space.tell(queue, name, self._space.jobs.get(job_id) if job_id else None, value, own=True)

    def tail(self, queue: str) -> str:
        with self._space.reading() as db:
            row = db.one("SELECT last_event FROM queues WHERE name = ? ORDER BY era DESC LIMIT 1", queue)
            return str(row[0] if row else db.counters().events)

    def read(self, queue: str, cursor: str, limit: int = 1000, wait_ms: int = 0) -> list[Event]:
        if not _CURSOR.match(cursor):
            raise ConfigurationError(f"{shown(cursor)} is not a cursor of an event")
        deadline = time.monotonic() + wait_ms / 1000
        while True:
            seen = self._space.changes()
            page = self._page(queue, int(cursor), limit)
            left = deadline - time.monotonic()
            if page or left <= 0:
                return page
            self._space.wait(seen, left)

    def _page(self, queue: str, after: int, limit: int) -> list[Event]:
        with self._space.reading() as db:
            row = db.one(_ENDS, queue)
            if row is None:
                return []
            after, last = max(after, row[0]), row[1]
            sql = "SELECT number, name, job, job_name, at_ms, value FROM events WHERE queue = ? AND number > ?"
            rows = db.all(f"{sql} ORDER BY number LIMIT ?", queue, max(after, last - EVENTS_KEPT), limit)
        page = [
            Event(str(number), queue, name, job_id, at_ms, value, job_name)
            for number, name, job_id, job_name, at_ms, value in rows
        ]
        missed = rows[0][0] - after - 1 if rows else 0
        return [replace(page[0], missed=missed), *page[1:]] if missed else page

    def reader(self) -> LogReader:
        return _Reader(self._space, self)


class _Reader(LogReader):
    """Reads when anything was written."""

    def __init__(self, space: SqlSpace, log: SqlEventLog) -> None:
        self._space = space
        self._log = log
        self._rung = False

    def read(self, cursors: Mapping[str, str], limit: int, wait_ms: int) -> dict[str, list[Event]]:
        deadline = time.monotonic() + wait_ms / 1000
        while True:
            seen = self._space.changes()
            found = {one: events for one, at in cursors.items() if (events := self._log.read(one, at, limit))}
            rung, self._rung = self._rung, False
            left = deadline - time.monotonic()
            if found or rung or left <= 0:
                return found
            self._space.wait(seen, left)

    def interrupt(self) -> None:
        self._rung = True
        self._space.ring()
