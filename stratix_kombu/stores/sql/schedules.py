"""Repeatable jobs over tables."""

from __future__ import annotations

from stratix_kombu.model.record import Schedule
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.memory.schedules import MemorySchedules
from stratix_kombu.stores.sql.space import SqlSpace
from stratix_kombu.stores.sql.tables import SCHEDULES, schedule_of

_RUNNING = "owner = ? AND next_ms > 0 AND paused = 0"


class SqlSchedules(MemorySchedules):
    """As in memory, but for what looks at many."""

    _space: SqlSpace

    def all(self, queue: str | None = None) -> list[Schedule]:
        found: list[Schedule] = []
        while True:
            after = found[-1].key if found else ""
            with self._space.reading() as db:
                if queue is None:
                    rows = db.all(f"{SCHEDULES} WHERE key > ? ORDER BY key LIMIT ?", after, PAGE)
                else:
                    mine = f"{SCHEDULES} WHERE queue = ? AND key > ? ORDER BY key LIMIT ?"
                    rows = db.all(mine, queue, after, PAGE)
            found += map(schedule_of, rows)
            if len(rows) < PAGE:
                return found

    def get(self, key: str) -> Schedule | None:
        with self._space.reading() as db:
            row = db.one(f"{SCHEDULES} WHERE key = ?", key)
            return None if row is None else schedule_of(row)

    def due(self, limit: int = PAGE, owner: str = "") -> tuple[list[Schedule], int, int | None]:
        with self._space.reading() as db:
            now = self._space.time_of(db)
            due = db.all(
                f"{SCHEDULES} WHERE {_RUNNING} AND next_ms <= ? ORDER BY next_ms, key LIMIT ?", owner, now, limit + 1
            )
            ahead = db.one(f"SELECT min(next_ms) FROM schedules WHERE {_RUNNING} AND next_ms > ?", owner, now)
        next_ms = ahead[0] - now if ahead and ahead[0] is not None else None
        return [schedule_of(row) for row in due[:limit]], now, 0 if len(due) > limit else next_ms
