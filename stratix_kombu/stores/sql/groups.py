"""Numbers of the groups of a queue: the last place of each, and how many of its jobs are active.

Both change with each job. Rows are written as ``Database.era`` says, and one that says nothing any more is deleted when
it was not written for some eras: a row that comes and goes with each job would leave one of its kind behind each time.
"""

from __future__ import annotations

from typing import Any

from stratix_kombu.stores.sql.database import Database

KEPT = 500
"""Groups of a queue that are known from one step to the next."""
DROPPED_AT_ONCE = 4
"""How many places of groups that say nothing any more are dropped when one is written."""
IDLE_AT_ONCE = 500
OLD_ERAS = 8


def old_era(db: Database) -> int:
    """What was written in that era, or before, is not written often."""
    return max(db.era() - OLD_ERAS, 0)


class Numbers(dict[Any, int]):
    """A number for each key, in a table of its own; 0 where there is none."""

    table: str
    named_by: tuple[str, ...]
    """The columns of a key, within its queue."""
    column: str

    def __init__(self, db: Database, queue: str) -> None:
        super().__init__()
        self.db = db
        self.queue = queue
        self._was: dict[Any, int] = {}
        self._eras: dict[Any, int] = {}
        """Of the rows that are there."""
        of_key = " AND ".join(f"{name} = ?" for name in ("queue", *self.named_by))
        columns = ("queue", *self.named_by, self.column, "era")
        self._read = f"SELECT {self.column}, era FROM {self.table} WHERE {of_key} ORDER BY era DESC LIMIT 1"
        self._first = f"INSERT INTO {self.table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        self._next = f"UPDATE {self.table} SET {self.column} = ?, era = ? WHERE {of_key} AND era = ?"
        self._delete = f"DELETE FROM {self.table} WHERE {of_key}"

    def of(self, key: Any) -> tuple[Any, ...]:
        """The values of a key's columns."""
        return (key,) if len(self.named_by) == 1 else tuple(key)

    def __missing__(self, key: Any) -> int:
        row = self.db.one(self._read, self.queue, *self.of(key))
        value = 0
        if row is not None:
            value, self._eras[key] = row
        self._was[key] = self[key] = value
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        return self[key]

    def write(self, key: Any, value: int) -> None:
        era, before = self.db.era(), self._eras.get(key)
        self._eras[key] = era
        if before is None:
            self.db.put(self._first, self.queue, *self.of(key), value, era)
        else:
            self.db.put(self._next, value, era, self.queue, *self.of(key), before)

    def drop(self, key: Any) -> None:
        """Delete its row."""
        self.db.put(self._delete, self.queue, *self.of(key))
        for known in (self, self._was, self._eras):
            known.pop(key, None)

    def flush(self) -> None:
        for key, value in [*self.items()]:
            if self._was.get(key, 0) != value:
                self._was[key] = value
                self.write(key, value)
        if len(self) > KEPT:
            for known in (self, self._was, self._eras):
                known.clear()


class GroupPlaces(Numbers):
    """The last place of each group, by priority and name."""

    table = "group_places"
    named_by = ("priority", "name")
    column = "place"

    def __init__(self, db: Database, queue: str, started: dict[int, int]) -> None:
        super().__init__(db, queue)
        self._started = started

    def write(self, key: Any, value: int) -> None:
        super().write(key, value)
        # A group whose last place the queue has passed counts as if it had none.
        priority = key[0]
        sql = "SELECT name FROM group_places WHERE queue = ? AND priority = ? AND place < ? AND era <= ? LIMIT ?"
        passed = self._started.get(priority, 0)
        for (name,) in self.db.all(sql, self.queue, priority, passed, old_era(self.db), DROPPED_AT_ONCE):
            if (priority, name) not in self:
                self.drop((priority, name))


class GroupActive(Numbers):
    """Active jobs of each group."""

    table = "group_active"
    named_by = ("name",)
    column = "jobs"

    def drop_if_idle(self, name: str) -> None:
        if not self[name]:
            self.drop(name)


def idle_groups(db: Database) -> list[tuple[Any, ...]]:
    """Some groups that have had no active job for some eras: queue and name."""
    sql = "SELECT queue, name FROM group_active WHERE jobs = 0 AND era <= ? LIMIT ?"
    return db.all(sql, old_era(db), IDLE_AT_ONCE)
