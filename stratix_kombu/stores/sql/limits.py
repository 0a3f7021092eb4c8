"""The starts under each key of a limit, over tables."""

from __future__ import annotations

import math
from typing import Any

from stratix_kombu.model.limiter import Bucket, Starts, Window, spacing
from stratix_kombu.model.record import Limit
from stratix_kombu.stores.sql.database import Database

UNUSED_MS = 24 * 3_600_000
"""After this time the starts of a key no longer matter."""
UNUSED_IN_MS = 3_600_000
"""The instant of that is rounded up, so that it does not change with each start."""
_READ = "SELECT full_at, token_ms, first, last, era FROM limits WHERE key = ? AND bucket = ? ORDER BY era DESC LIMIT 1"
_FIRST = (
    "INSERT INTO limits (full_at, token_ms, first, last, unused_ms, era, key, bucket) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_NEXT = (
    "UPDATE limits SET full_at = ?, token_ms = ?, first = ?, last = ?, unused_ms = ?, era = ? "
    "WHERE key = ? AND bucket = ? AND era = ?"
)
KEPT = 500
"""Keys that are known from one step to the next."""
DROPPED_AT_ONCE = 4
FORGOTTEN_AT_ONCE = 100
"""Starts that have left their window: so many are deleted when one is written."""


class SqlWindow(Window):
    """A window whose starts are numbered: the one ``max`` ago is found by its number."""

    def __init__(self, db: Database, key: str, first: int, last: int) -> None:
        self._db = db
        self._key = key
        self.first = first
        self.last = last
        self.new: dict[int, int] = {}
        """Those that are not written yet, by number."""

    def _at(self, number: int) -> int:
        if number in self.new:
            return self.new[number]
        row = self._db.one("SELECT at_ms FROM starts WHERE key = ? AND number = ?", self._key, number)
        return row[0] if row else 0

    def free_at(self, limit: Limit, now: int) -> int:
        full = self.last - self.first + 1 >= limit.max
        return self._at(self.last - limit.max + 1) + int(spacing(limit)) if full else 0

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        at = max(instant, self._at(self.last)) if self.last >= self.first else instant
        self.last += 1
        self.new[self.last] = at
        self.first = max(self.first, self.last - limit.max + 1)

    def copy(self) -> SqlWindow:
        other = SqlWindow(self._db, self._key, self.first, self.last)
        other.new = self.new.copy()
        return other

    def write(self, key: str) -> None:
        self._db.many(
            "INSERT INTO starts (key, number, at_ms) VALUES (?, ?, ?) "
            "ON CONFLICT (key, number) DO UPDATE SET at_ms = excluded.at_ms",
            [(key, number, at) for number, at in self.new.items()],
        )
        most = FORGOTTEN_AT_ONCE + len(self.new)
        old = self._db.all(
            "SELECT number FROM starts WHERE key = ? AND number < ? ORDER BY number LIMIT ?", key, self.first, most
        )
        self._db.many("DELETE FROM starts WHERE key = ? AND number = ?", [(key, number) for (number,) in old])
        self.new.clear()


class Limits:
    """By key, and whether it is a bucket."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._loaded: dict[tuple[str, bool], Starts] = {}
        self._was: dict[tuple[str, bool], Any] = {}
        self._eras: dict[tuple[str, bool], int | None] = {}
        """Of their rows; None where there is none."""

    def begin(self, same: bool) -> None:
        """A step begins; ``same``: what was read is as it was."""
        if not same or len(self._loaded) > KEPT:
            self._loaded.clear()
            self._was.clear()
            self._eras.clear()

    def setdefault(self, which: tuple[str, bool], new: Starts) -> Starts:
        if which not in self._loaded:
            key, is_bucket = which
            row = self._db.one(_READ, *which)
            full_at, token_ms, first, last, self._eras[which] = row or (None, None, 1, 0, None)
            new = Bucket(full_at, token_ms) if is_bucket else SqlWindow(self._db, key, first, last)
            self._loaded[which], self._was[which] = new, self._state(new)
        return self._loaded[which]

    @staticmethod
    def _state(starts: Starts) -> Any:
        if isinstance(starts, SqlWindow):
            return None, None, starts.first, starts.last
        assert isinstance(starts, Bucket)
        return *starts.state, 1, 0

    def flush(self, now: int) -> None:
        written = 0
        for which, starts in self._loaded.items():
            state = self._state(starts)
            if state == self._was[which]:
                continue
            self._was[which] = state
            until = now if state[0] is None else max(now, math.ceil(state[0]))
            unused_ms = -(-(until + UNUSED_MS) // UNUSED_IN_MS) * UNUSED_IN_MS
            before, era = self._eras[which], self._db.era()
            self._eras[which] = era
            if before is None:
                self._db.put(_FIRST, *state, unused_ms, era, *which)
            else:
                self._db.put(_NEXT, *state, unused_ms, era, *which, before)
            if isinstance(starts, SqlWindow):
                starts.write(which[0])
            written += 1
        if written:
            self._drop_unused(now, DROPPED_AT_ONCE * written)

    def _drop_unused(self, now: int, most: int) -> None:
        sql = "SELECT key, bucket, first, last FROM limits WHERE unused_ms < ? ORDER BY unused_ms LIMIT ?"
        for key, bucket, first, last in self._db.all(sql, now, most):
            for known in (self._loaded, self._was, self._eras):
                known.pop((key, bool(bucket)), None)
            if not bucket and last - first >= FORGOTTEN_AT_ONCE:  # page by page
                delete = "DELETE FROM starts WHERE key = ? AND number < ?"
                self._db.put(delete, key, first + FORGOTTEN_AT_ONCE)
                step = "UPDATE limits SET first = ? WHERE key = ? AND bucket = 0"
                self._db.put(step, first + FORGOTTEN_AT_ONCE, key)
                continue
            if not bucket:
                self._db.put("DELETE FROM starts WHERE key = ?", key)
            self._db.put("DELETE FROM limits WHERE key = ? AND bucket = ?", key, bucket)
