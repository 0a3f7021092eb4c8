"""The order of a queue's waiting jobs, and its lines, over tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from stratix_kombu.model.state import Refusal
from stratix_kombu.stores.memory.order import Key, Line, Order, Took
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.groups import GroupActive, GroupPlaces
from stratix_kombu.stores.sql.keys import Keys
from stratix_kombu.stores.sql.texts import dumps, loads

if TYPE_CHECKING:
    from stratix_kombu.stores.memory.state import Job

_AFTER = "(rank, place, id) > (?, ?, ?)"
_FROM = "(rank, place, id) >= (?, ?, ?)"
_SORTED = "ORDER BY rank, place, id LIMIT ?"
_IN_ORDER = "SELECT rank, place, id FROM jobs WHERE queue = ? AND state = 'waiting' AND native = 0 AND line = ''"
_IN_LINE = "SELECT rank, place, id FROM jobs WHERE queue = ? AND native = ? AND line = ? AND line <> ''"
TOOK = "SELECT answer, era FROM took WHERE queue = ? AND worker = ? ORDER BY era DESC LIMIT 1"
_FIRST_TOOK = "INSERT INTO took (queue, worker, answer, era) VALUES (?, ?, ?, ?)"
_NEXT_TOOK = "UPDATE took SET answer = ?, era = ? WHERE queue = ? AND worker = ? AND era = ?"
KEPT = 500
"""Lines of a queue that are known from one step to the next."""


def keys_of(db: Database, sql: str, *values: Any) -> Any:
    """What ``Keys`` reads."""

    def read(after: Key | None, floor: Key | None, limit: int) -> list[Key]:
        if after is not None:
            return db.all(f"{sql} AND {_AFTER} {_SORTED}", *values, *after, limit)
        if floor is not None:
            return db.all(f"{sql} AND {_FROM} {_SORTED}", *values, *floor, limit)
        return db.all(f"{sql} {_SORTED}", *values, limit)

    return read


class SqlLine(Line):
    """A line whose jobs are in the table."""

    jobs: Any

    def __init__(self, opens_ms: float, jobs: Keys) -> None:
        super().__init__(opens_ms, [])
        self.jobs = jobs
        self.was: tuple[float, int] | None = None
        """As it is in the table."""


class Lines:
    """The lines of one queue by name: in the order, or of native jobs that were not sent."""

    def __init__(self, order: SqlOrder, unsent: bool, count: int) -> None:
        self._order = order
        self._unsent = unsent
        self._loaded: dict[str, SqlLine | None] = {}
        self.count = count

    def __bool__(self) -> bool:
        return self.count > 0

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def get(self, name: str) -> SqlLine | None:
        if not self.count:
            return None
        if name not in self._loaded:
            sql = "SELECT opens_ms, jobs FROM lines WHERE queue = ? AND unsent = ? AND name = ?"
            row = self._order.db.one(sql, self._order.queue, self._unsent, name)
            self._loaded[name] = None if row is None else self._line(name, *row)
        return self._loaded[name]

    def _line(self, name: str, opens_ms: int | None, count: int) -> SqlLine:
        line = self._make(name, math.inf if opens_ms is None else opens_ms, count)
        line.was = (line.opens_ms, count)
        return line

    def _make(self, name: str, opens_ms: float, count: int) -> SqlLine:
        read = keys_of(self._order.db, _IN_LINE, self._order.queue, self._unsent, name)
        return SqlLine(opens_ms, Keys(count, read, None if self._unsent else self._order.set_aside))

    def __getitem__(self, name: str) -> SqlLine:
        line = self.get(name)
        if line is None:
            raise KeyError(name)
        return line

    def setdefault(self, name: str, new: Line) -> SqlLine:
        line = self.get(name)
        if line is None:
            line = self._loaded[name] = self._make(name, new.opens_ms, 0)
            self.count += 1
        return line

    def __delitem__(self, name: str) -> None:
        self._loaded[name] = None
        self.count -= 1
        sql = "DELETE FROM lines WHERE queue = ? AND unsent = ? AND name = ?"
        self._order.db.put(sql, self._order.queue, self._unsent, name)

    def names(self, condition: str, *values: Any) -> Iterator[tuple[str, float]]:
        """Names and when they open, as they are now."""
        self.flush()
        sql = f"SELECT name, opens_ms FROM lines WHERE queue = ? AND unsent = ? {condition}"
        yield from self._order.db.all(sql, self._order.queue, self._unsent, *values)

    def open_groups(self) -> None:
        self.flush()
        sql = "UPDATE lines SET opens_ms = 0 WHERE queue = ? AND unsent = ? AND name >= 'g:' AND name < 'g;'"
        self._order.db.put(sql, self._order.queue, self._unsent)
        self._loaded.clear()

    def flush(self) -> None:
        for name, line in self._loaded.items():
            if line is None or (line.opens_ms, line.jobs.count) == line.was:
                continue
            line.was = line.opens_ms, line.jobs.count
            line.jobs.flush()
            self._order.db.put(
                "INSERT INTO lines (queue, unsent, name, opens_ms, jobs) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (queue, unsent, name) DO UPDATE SET opens_ms = excluded.opens_ms, jobs = excluded.jobs",
                self._order.queue,
                self._unsent,
                name,
                None if line.opens_ms == math.inf else int(line.opens_ms),
                line.jobs.count,
            )
        if len(self._loaded) > KEPT:
            self._loaded.clear()


class Unsent:
    """Native jobs whose claim the queue refused, the first one first."""

    def __init__(self, db: Database, queue: str, count: int) -> None:
        self._db = db
        self._queue = queue
        self.count = count

    def __bool__(self) -> bool:
        return self.count > 0

    def __contains__(self, job_id: str) -> bool:
        return self.count > 0 and self._db.one("SELECT 1 FROM unsent WHERE id = ?", job_id) is not None

    def __iter__(self) -> Iterator[str]:
        rows = self._db.all("SELECT id FROM unsent WHERE queue = ? ORDER BY place LIMIT 1000", self._queue)
        return (one for (one,) in rows)

    def setdefault(self, job_id: str) -> None:
        sql = "INSERT INTO unsent (queue, id) VALUES (?, ?) ON CONFLICT (id) DO NOTHING"
        self.count += self._db.run(sql, self._queue, job_id)

    def pop(self, job_id: str, default: Any = None) -> None:
        if self.count:
            self.count -= self._db.run("DELETE FROM unsent WHERE id = ?", job_id)

    __delitem__ = pop


class Answers:
    """What each worker took last."""

    def __init__(self, db: Database, queue: str) -> None:
        self._db = db
        self._queue = queue
        self._known: dict[str, tuple[Took, int] | None] = {}
        """As they are in the table, with their eras: of workers that have taken here while no other process wrote."""

    def get(self, worker: str) -> Took | None:
        if worker not in self._known:
            if len(self._known) > KEPT:
                self._known.clear()
            self._known[worker] = self._read(worker)
        found = self._known[worker]
        return found and found[0]

    def _read(self, worker: str) -> tuple[Took, int] | None:
        row = self._db.one(TOOK, self._queue, worker)
        if row is None:
            return None
        request, ids, why, until_ms, left = loads(row[0])
        return Took(request, tuple(ids), None if why is None else Refusal(why), until_ms, left), row[1]

    def forget(self) -> None:
        """The table may be another one."""
        self._known.clear()

    def __setitem__(self, worker: str, took: Took) -> None:
        why = None if took.why is None else took.why.value
        answer = dumps((took.request, took.ids, why, took.until_ms, took.left))
        before, era = self._known.get(worker), self._db.era()
        self._known[worker] = took, era
        if before is None:
            self._db.put(_FIRST_TOOK, self._queue, worker, answer, era)
        else:
            self._db.put(_NEXT_TOOK, answer, era, self._queue, worker, before[1])

    def pop(self, worker: str, default: Any = None) -> None:
        self._known.pop(worker, None)
        self._db.put("DELETE FROM took WHERE queue = ? AND worker = ?", self._queue, worker)


class SqlOrder(Order):
    """As in memory; ``aside`` counts the jobs of all lines."""

    def __init__(self, db: Database, queue: str, in_order: int, aside: int, body: dict[str, Any]) -> None:
        super().__init__()
        self.db = db
        self.queue = queue
        self.aside = aside
        self.read_body(body)
        self.jobs: Any = Keys(in_order, keys_of(db, _IN_ORDER, queue))
        self.jobs.floor = tuple(body["floor"]) if "floor" in body else None
        self.lines: Any = Lines(self, False, body.get("lines", 0))
        self.unsent_lines: Any = Lines(self, True, body.get("unsent_lines", 0))
        self.unsent: Any = Unsent(db, queue, body.get("unsent", 0))
        self.groups: Any = GroupPlaces(db, queue, self.started)
        self.active: Any = GroupActive(db, queue)
        self.took: Any = Answers(db, queue)

    def read_body(self, body: dict[str, Any]) -> None:
        self.last = Counter({int(key): value for key, value in body.get("last", {}).items()})
        self.started = {int(key): value for key, value in body.get("started", {}).items()}
        self.group_bound = body.get("group_bound", 0)
        self.owed = body.get("owed", 0)
        self.crowded = body.get("crowded", False)
        self.most = body.get("most", 0)
        self.short_ms = body.get("short_ms")

    def body(self) -> dict[str, Any]:
        """What is neither 0 nor empty."""
        said = {
            "last": self.last,
            "started": self.started,
            "group_bound": self.group_bound,
            "owed": self.owed,
            "crowded": self.crowded,
            "most": self.most,
            "lines": self.lines.count,
            "unsent_lines": self.unsent_lines.count,
            "unsent": self.unsent.count,
            "floor": self.jobs.floor,
        }
        found = {key: value for key, value in said.items() if value}
        return found if self.short_ms is None else {**found, "short_ms": self.short_ms}

    def flush(self) -> None:
        self.jobs.flush()
        for one in (self.lines, self.unsent_lines, self.groups, self.active):
            one.flush()

    def set_aside(self, by: int) -> None:
        self.aside += by

    def __len__(self) -> int:
        return self.jobs.count + self.aside  # type: ignore[no-any-return]

    def first_place(self, priority: int) -> int | None:
        """One of the few questions about the middle of the order: asked once for each priority of a queue."""
        return next((place for one, place, _ in chain(self.jobs) if one == priority), None)

    def put(self, key: Key) -> None:
        self.jobs.add(key)

    def put_aside(self, key: Key, name: str, opens_ms: float) -> None:
        line = self.lines.setdefault(name, Line())
        line.jobs.add(key)
        line.opens_ms = min(line.opens_ms, opens_ms)

    def remove(self, key: Key, name: str) -> None:
        jobs = self.lines[name].jobs if name else self.jobs
        jobs.remove(key)
        if name and not jobs:
            del self.lines[name]

    def leave_unsent(self, job: Job) -> None:
        if self.unsent or job.line:
            super().leave_unsent(job)

    def next_line_ms(self) -> float:
        return self._first_ms(self.lines, "AND opens_ms IS NOT NULL")

    def opens_after(self, now: int, *, unsent: bool = False) -> float:
        return self._first_ms(self.unsent_lines if unsent else self.lines, "AND opens_ms > ?", now)

    @staticmethod
    def _first_ms(lines: Lines, condition: str, *values: Any) -> float:
        found = lines.names(f"{condition} ORDER BY opens_ms LIMIT 1", *values) if lines else iter(())
        return next((opens_ms for _, opens_ms in found), math.inf)

    def opened(self, now: int, *, unsent: bool = False) -> list[str]:
        lines = self.unsent_lines if unsent else self.lines
        if not lines:
            return []
        return [name for name, _ in lines.names("AND opens_ms <= ? ORDER BY opens_ms, name LIMIT 250", now)]

    def open_groups(self) -> None:
        self.lines.open_groups()
