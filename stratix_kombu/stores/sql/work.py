"""Waiting for jobs over tables."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from weakref import WeakSet

from stratix_kombu import forks
from stratix_kombu.stores.contract import Work
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.space import SqlSpace

_WITH_WORK = """
SELECT name, in_order FROM queues WHERE in_order > 0
UNION ALL
SELECT name, 1 FROM queues WHERE in_order = 0 AND aside > 0
  AND EXISTS (SELECT 1 FROM lines WHERE queue = queues.name AND unsent = 0 AND opens_ms <= ?)
"""


class SqlWork(Work):
    """All who wait in a process look once for each change: what one has seen is good for the others."""

    def __init__(self, space: SqlSpace) -> None:
        self._space = space
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._seen = -1
        self._names: frozenset[str] = frozenset()
        """The queues that were looked at."""
        self._found: dict[str, int] = {}
        self._woken: WeakSet[object] = WeakSet()

    def after_fork(self) -> None:
        self._begin_anew()

    def wait(self, queues: Sequence[str], timeout: float, waiter: object = None) -> tuple[str, int] | None:
        deadline = time.monotonic() + timeout
        while True:
            seen = self._space.changes()
            found = self._look(seen, queues)
            for queue in queues:
                if count := found.get(queue, 0):
                    return queue, count
            left = deadline - time.monotonic()
            if self._was_woken(waiter) or left <= 0:
                return None
            self._space.wait(seen, left)

    def _look(self, seen: int, queues: Sequence[str]) -> dict[str, int]:
        with self._lock:
            if seen == self._seen and self._names.issuperset(queues):
                return self._found
            self._names = self._names.union(queues)
            with self._space.reading() as db:
                self._found = self._with_work(db, self._space.time_of(db), self._names)
            self._seen = seen
            return self._found

    def _with_work(self, db: Database, now: int, names: Collection[str]) -> dict[str, int]:
        """At least those of these queues that have jobs, and how many."""
        return dict(db.all(_WITH_WORK, now))

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
            row = db.one("SELECT waiting FROM queues WHERE name = ? ORDER BY era DESC LIMIT 1", queue)
        return row[0] if row else 0
