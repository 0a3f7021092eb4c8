"""What is counted: each step leaves one row, and these are added to minutes, hours and totals by and by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, fields
from typing import Any

from stratix_kombu.model.metrics import (
    COUNTS,
    HOUR_MS,
    KEPT_HOURS,
    KEPT_MINUTES,
    MINUTE_MS,
    NAMED_HOURS,
    OTHER,
    Distribution,
    Histogram,
    Tally,
    Totals,
)
from stratix_kombu.stores.memory.metrics import Counted
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.texts import dumps, loads

ADDED_EVERY = 256
"""So many rows are added at once, by the step that leaves the last of them."""


class Observed(Counted):
    """What one step counts of a queue, in order: nothing is reckoned yet."""

    def __init__(self) -> None:
        self.what: list[list[Any]] = []

    def count(self, now: int, what: str, times: int = 1) -> None:
        self.what += [[now, what]] * times

    def attempt(
        self, now: int, waited_ms: int, ran_ms: int, name: str = "", completed: bool = True, *, times: int = 1
    ) -> None:
        self.what += [[now, waited_ms, ran_ms, name, int(completed)]] * times


Entries = dict[tuple[Any, ...], int]
"""What was counted, and how often: jobs that were taken and have ended together are alike."""


def _entries_of(texts: Iterable[str]) -> Entries:
    return Counter(tuple(entry) for text in texts for entry in loads(text))


def _observe(counted: Counted, entries: Entries) -> None:
    for entry, times in entries.items():
        if len(entry) == 2:
            counted.count(*entry, times)
        else:
            counted.attempt(*entry, times=times)


class Counting(Counted):
    """What has been counted of a queue, read as far as it is asked for."""

    def __init__(self, db: Database, queue: str) -> None:
        super().__init__()
        self._db = db
        self._queue = queue
        row = db.one("SELECT what FROM totals WHERE queue = ?", queue)
        if row is not None:
            self.totals = _totals_of(row[0])

    def read_minutes(self, first: int) -> None:
        sql = "SELECT minute, what FROM minutes WHERE queue = ? AND minute >= ?"
        self._minutes = {minute: _tally_of(minute, what) for minute, what in self._db.all(sql, self._queue, first)}

    def read_hours(self, first: int) -> None:
        sql = "SELECT hour, what FROM hours WHERE queue = ? AND hour >= ?"
        self._hours = {hour: _tally_of(hour, what, HOUR_MS) for hour, what in self._db.all(sql, self._queue, first)}

    def read_named(self, first: int, names: Iterable[str]) -> None:
        """All names, and the hours of some."""
        known = self._db.all("SELECT name FROM named WHERE queue = ?", self._queue)
        self._named = {name: {} for (name,) in known}
        sql = "SELECT hour, what FROM named_hours WHERE queue = ? AND name = ? AND hour >= ?"
        for name in names:
            if name in self._named:
                rows = self._db.all(sql, self._queue, name, first)
                self._named[name] = {hour: _tally_of(hour, what, HOUR_MS) for hour, what in rows}

    def observe(self) -> None:
        """With what was not added yet."""
        rows = self._db.all("SELECT what FROM observed WHERE queue = ? ORDER BY number", self._queue)
        _observe(self, _entries_of(what for (what,) in rows))

    def add(self, texts: list[str]) -> None:
        """Add these for good."""
        entries = _entries_of(texts)
        first = min(entry[0] for entry in entries)
        self.read_minutes(first // MINUTE_MS)
        self.read_hours(first // HOUR_MS)
        self.read_named(first // HOUR_MS, [*dict.fromkeys(entry[3] for entry in entries if len(entry) > 3), OTHER])
        known = set(self._named)
        _observe(self, entries)
        put = "INSERT INTO totals (queue, what) VALUES (?, ?) ON CONFLICT (queue) DO UPDATE SET what = excluded.what"
        self._db.put(put, self._queue, dumps(asdict(self.totals)))
        for period, tallies, kept in (("minute", self._minutes, KEPT_MINUTES), ("hour", self._hours, KEPT_HOURS)):
            put = (
                f"INSERT INTO {period}s (queue, {period}, what) VALUES (?, ?, ?) "
                f"ON CONFLICT (queue, {period}) DO UPDATE SET what = excluded.what"
            )
            self._db.many(put, [(self._queue, number, _tally_text(one)) for number, one in tallies.items()])
            old = f"DELETE FROM {period}s WHERE queue = ? AND {period} <= ?"
            self._db.put(old, self._queue, max(tallies) - kept)
        self._put_named(known)

    def _put_named(self, known: Collection[str]) -> None:
        new = [(self._queue, name) for name in self._named if name not in known]
        self._db.many("INSERT INTO named (queue, name) VALUES (?, ?)", new)
        put = (
            "INSERT INTO named_hours (queue, name, hour, what) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (queue, name, hour) DO UPDATE SET what = excluded.what"
        )
        of_names = ((name, hour, one) for name, hours in self._named.items() for hour, one in hours.items())
        self._db.many(put, [(self._queue, name, hour, _tally_text(one)) for name, hour, one in of_names])
        old = "DELETE FROM named_hours WHERE queue = ? AND name = ? AND hour <= ?"
        for name, hours in self._named.items():
            if hours:
                self._db.put(old, self._queue, name, max(hours) - NAMED_HOURS)


def add_observed(db: Database) -> None:
    """Add a page of what steps have left."""
    rows = db.all("SELECT number, queue, what FROM observed ORDER BY number LIMIT ?", 2 * ADDED_EVERY)
    texts: dict[str, list[str]] = {}
    for _, queue, what in rows:
        texts.setdefault(queue, []).append(what)
    for queue, mine in texts.items():
        Counting(db, queue).add(mine)
    if rows:
        db.put("DELETE FROM observed WHERE number <= ?", rows[-1][0])


def _tally_text(tally: Tally) -> str:
    counts = [getattr(tally, name) for name in COUNTS]
    return dumps([counts, *([one.sum_ms, list(one.buckets.items())] for one in (tally.wait, tally.run))])


def _tally_of(number: int, text: str, length_ms: int = MINUTE_MS) -> Tally:
    counts, wait, run = loads(text)
    tally = Tally(start_ms=number * length_ms, **dict(zip(COUNTS, counts, strict=True)))
    tally.wait, tally.run = (Histogram(total, dict(map(tuple, buckets))) for total, buckets in (wait, run))
    return tally


_TOTALS = {field.name for field in fields(Totals)}


def _totals_of(text: str) -> Totals:
    given = {name: value for name, value in loads(text).items() if name in _TOTALS}
    given["wait"] = Distribution(**given["wait"])
    given["runs"] = {name: Distribution(**one) for name, one in given["runs"].items()}
    return Totals(**given)
