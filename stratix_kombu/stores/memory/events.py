"""The logs of the memory store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.event import Event
from stratix_kombu.model.names import shown
from stratix_kombu.stores.contract import EventLog, LogReader
from stratix_kombu.stores.memory.state import Space

_CURSOR = re.compile(r"[0-9]{1,18}\Z")


class MemoryEventLog(EventLog):
    def __init__(self, space: Space) -> None:
        self._space = space

    def append(self, queue: str, name: str, job_id: str = "", value: str | None = None) -> None:
        with self._space.lock:
            job = self._space.jobs.get(job_id)
            self._space.tell(queue, name, job, value, own=True)

    def tail(self, queue: str) -> str:
        with self._space.lock:
            return str(self._space.queues[queue].last_event)

    def reader(self) -> LogReader:
        return _MemoryReader(self, self._space)

    def read(self, queue: str, cursor: str, limit: int = 1000, wait_ms: int = 0) -> list[Event]:
        if not _CURSOR.match(cursor):
            raise ConfigurationError(f"{shown(cursor)} is not a cursor of an event")
        after = int(cursor)
        with self._space.lock:
            if wait_ms:
                # The queue may be forgotten meanwhile.
                self._space.told.wait_for(lambda: self._space.queues[queue].last_event > after, wait_ms / 1000)
            space = self._space.queues[queue]
            after = max(after, space.first_event)
            new = min(space.last_event - after, len(space.events))
            page = list(islice(space.events, len(space.events) - new, len(space.events) - new + limit))
            missed = space.last_event - new - after
            return [replace(page[0], missed=missed), *page[1:]] if page and missed else page


class _MemoryReader(LogReader):
    def __init__(self, log: MemoryEventLog, space: Space) -> None:
        self._log = log
        self._space = space
        self._rung = False

    def read(self, cursors: Mapping[str, str], limit: int, wait_ms: int) -> dict[str, list[Event]]:
        after = {queue: int(cursor) for queue, cursor in cursors.items()}
        with self._space.lock:
            queues = self._space.queues
            self._space.told.wait_for(
                lambda: self._rung or any(queues[one].last_event > seen for one, seen in after.items()), wait_ms / 1000
            )
            self._rung = False
            new = [one for one, seen in after.items() if queues[one].last_event > seen]
        return {one: events for one in new if (events := self._log.read(one, cursors[one], limit))}

    def interrupt(self) -> None:
        with self._space.lock:
            self._rung = True
            self._space.told.notify_all()
