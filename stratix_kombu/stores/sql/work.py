"""Waiting for jobs over tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from weakref import WeakSet

from stratix_kombu import forks
from stratix_kombu.stores.contract import Work
from stratix_kombu.stores.sql.space import SqlSpace

_WITH_WORK = """
SELECT name, in_order FROM queues WHERE in_order > 0
UNION ALL
SELECT name, 1 FROM queues WHERE in_order = 0 AND aside > 0
  AND EXISTS (SELECT 1 FROM lines WHERE queue = queues.name AND unsent = 0 AND opens_ms <= ?)
"""


class SqlWork(Work):
    """All who wait in a process look once for each change: what one has seen is good for the others."""

    with_work = _WITH_WORK

    def __init__(self, space: SqlSpace) -> None:
        self._space = space
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._seen = -1
        self._found: dict[str, int] = {}
        self._woken: WeakSet[object] = WeakSet()

    def after_fork(self) -> None:
        self._begin_anew()

    def wait(self, queues: Sequence[str], timeout: float, waiter: object = None) -> tuple[str, int] | None:
        deadline = time.monotonic() + timeout
        while True:
            seen = self._space.changes()
            found = self._look(seen)
            for queue in queues:
                if count := found.get(queue, 0):
                    return queue, count
            left = deadline - time.monotonic()
            if self._was_woken(waiter) or left <= 0:
                return None
            self._space.wait(seen, left)

    def _look(self, seen: int) -> dict[str, int]:
        with self._lock:
            if seen == self._seen:
                return self._found
            with self._space.reading() as db:
                now = self._space.time_of(db)
                self._found = dict(db.all(self.with_work, now))
            self._seen = seen
            return self._found

    def _was_woken(self, waiter: object) -> bool:
        with self._lock:
            woken = waiter is not None and waiter in self._woken
            if woken:
                self._woken.discard(waiter)
            return woken

    def wake(self, waiter: object) -> None:
        with self._lock:
            self._woken.add(waiter)
        self._space.ring()

    def count(self, queue: str) -> int:
        with self._space.reading() as db:
            row = db.one("SELECT waiting FROM queues WHERE name = ?", queue)
        return row[0] if row else 0
