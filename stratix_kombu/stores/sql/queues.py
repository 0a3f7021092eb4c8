"""The queues that a step looks at: each is read once, and written at the end if it has changed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stratix_kombu.model.record import Limit
from stratix_kombu.model.state import State
from stratix_kombu.stores.sql.columns import limit_of, limit_text
from stratix_kombu.stores.sql.counting import Observed
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.jobs import Jobs
from stratix_kombu.stores.sql.order import SqlOrder
from stratix_kombu.stores.sql.tables import Workers
from stratix_kombu.stores.sql.texts import dumps, loads

if TYPE_CHECKING:
    from stratix_kombu.stores.sql.space import SqlSpace

STATES = list(State)
KEPT = 100
"""Queues that are known from one step to the next."""
_COLUMNS = [
    "name",
    "known",
    "paused",
    "held_ms",
    "opens_ms",
    "unused_ms",
    "last_event",
    "first_event",
    "waiting",
    "active",
    "delayed",
    "blocked",
    "completed",
    "failed",
    "in_order",
    "aside",
    "body",
    "era",
]
SELECT = f"SELECT {', '.join(_COLUMNS)} FROM queues"
ONE = f"{SELECT} WHERE name = ? ORDER BY era DESC LIMIT 1"
_FIRST = f"INSERT INTO queues ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"
_NEXT = f"UPDATE queues SET {', '.join(f'{name} = ?' for name in _COLUMNS)} WHERE name = ? AND era = ?"


def is_served(db: Database, queue: str, now: int) -> bool:
    """Whether messages of its jobs go into the mail."""
    row = db.one(ONE, queue)
    body = loads(row[16]) if row is not None and row[16] else {}
    return bool(body.get("served_ms", 0) > now)


class Ids:
    """The jobs of a queue in one state, in the order they came."""

    def __init__(self, db: Database, jobs: Jobs, queue: str, state: State, count: int) -> None:
        self._db = db
        self._jobs = jobs
        self._queue = queue
        self._state = state
        self.count = count

    def __len__(self) -> int:
        return self.count

    def pop(self, job_id: str, default: Any = None) -> None:
        listed = self._jobs.listed.get(job_id)
        if listed is not None and listed[0] == self._queue and listed[1] is self._state:
            del self._jobs.listed[job_id]
            self.count -= 1

    def __setitem__(self, job_id: str, nothing: None) -> None:
        self._jobs.put_into(job_id, self._queue, self._state)
        self.count += 1

    def __iter__(self) -> Iterator[str]:
        after, jobs = 0, self._jobs
        while True:
            jobs.flush()
            sql = "SELECT seq, id FROM jobs WHERE queue = ? AND state = ? AND seq > ? ORDER BY seq LIMIT 100"
            page = self._db.all(sql, self._queue, self._state.value, after)
            for after, job_id in page:  # noqa: B007  # the last one is where to go on
                yield job_id
            if len(page) < 100:
                return


class SqlQueue:
    """One queue, with the attributes of the memory store's ``QueueSpace``."""

    def __init__(self, db: Database, jobs: Jobs, row: tuple[Any, ...]) -> None:
        body = loads(row[16]) if row[16] else {}
        self.name = row[0]
        self.known, self.paused = bool(row[1]), bool(row[2])
        self.held_ms: int = row[3]
        self.unused_ms: int | None = row[5]
        self.last_event: int = row[6]
        self.first_event: int = row[7]
        self.ids = {
            state: Ids(db, jobs, self.name, state, count) for state, count in zip(STATES, row[8:14], strict=True)
        }
        self.limit: Limit | None = limit_of(body["limit"]) if "limit" in body else None
        self.global_concurrency: int | None = body.get("global_concurrency")
        self.served_ms: int = body.get("served_ms", 0)
        """Until then messages of its jobs go into the mail."""
        self.claimed_ms = {int(key): value for key, value in body.get("claimed_ms", {}).items()}
        self.order = SqlOrder(db, self.name, row[14], row[15], body)
        self.order.limit = limit_of(body["brought"]) if "brought" in body else None
        self.order.opens_ms = math.inf if row[4] is None else row[4]
        self.workers = Workers(db, self.name)
        self.counted = Observed()
        self.row = row
        """As it is in the table; without an era it is in none."""

    def values(self) -> tuple[Any, ...]:
        """The row of it as it is now, without its era."""
        order, body = self.order, self.order.body()
        if self.limit is not None:
            body["limit"] = limit_text(self.limit)
        if self.global_concurrency is not None:
            body["global_concurrency"] = self.global_concurrency
        if self.served_ms:
            body["served_ms"] = self.served_ms
        if self.claimed_ms:
            body["claimed_ms"] = self.claimed_ms
        if order.limit is not None:
            body["brought"] = limit_text(order.limit)
        return (
            self.name,
            int(self.known),
            int(self.paused),
            self.held_ms,
            None if order.opens_ms == math.inf else int(order.opens_ms),
            self.unused_ms,
            self.last_event,
            self.first_event,
            *(counted.count for counted in self.ids.values()),
            order.jobs.count,
            order.aside,
            dumps(body) if body else "",
        )


class Queues:
    """By name; one that is not there is made when it is asked for."""

    def __init__(self, space: SqlSpace) -> None:
        self._space = space
        self._loaded: dict[str, SqlQueue | None] = {}
        self._used: set[str] = set()
        """Those that this step has looked at."""

    def begin(self, same: bool) -> None:
        """A step begins; ``same``: what was read is as it was."""
        if not same or len(self._loaded) > KEPT:
            self._loaded.clear()
        else:
            for name in [name for name, queue in self._loaded.items() if queue is None]:
                del self._loaded[name]
        self._used.clear()

    def get(self, name: str) -> SqlQueue | None:
        self._used.add(name)
        if name not in self._loaded:
            row = self._space.db.one(ONE, name)
            self._loaded[name] = None if row is None else SqlQueue(self._space.db, self._space.jobs, row)
        return self._loaded[name]

    def __getitem__(self, name: str) -> SqlQueue:
        found = self.get(name)
        if found is None:
            at = self._space.events
            row = (name, 0, 0, 0, None, None, at, at, *[0] * 8, "")
            found = self._loaded[name] = SqlQueue(self._space.db, self._space.jobs, row)
        return found

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def forget_answers(self) -> None:
        """What workers took last was deleted for some."""
        for queue in self._loaded.values():
            if queue is not None:
                queue.order.took.forget()

    def pop(self, name: str) -> None:
        """Forget it with what it counts; not its workers."""
        self._loaded[name] = None
        db = self._space.db
        for table in (
            "events",
            "observed",
            "minutes",
            "hours",
            "named",
            "named_hours",
            "totals",
            "lines",
            "unsent",
            "group_places",
            "group_active",
        ):
            db.put(f"DELETE FROM {table} WHERE queue = ?", name)
        for table in ("took", "deduplicated"):
            db.put(f"DELETE FROM {table} WHERE queue = ?", name)
        db.put("DELETE FROM queues WHERE name = ?", name)

    def flush(self) -> None:
        new, changed, era = [], [], self._space.db.era()
        for queue in [self._loaded[name] for name in self._used]:
            if queue is None:
                continue
            queue.order.flush()
            values, row = queue.values(), queue.row
            if values == row[: len(values)]:
                continue
            if len(row) == len(values):
                new.append((*values, era))
            else:
                changed.append((*values, era, queue.name, row[-1]))
            queue.row = (*values, era)
        if new:
            self._space.db.many(_FIRST, new)
        if changed:
            self._space.db.many(_NEXT, changed)

    def observed(self) -> Iterator[tuple[str, str]]:
        """What the step has counted, by queue."""
        for name in self._used:
            queue = self._loaded[name]
            if queue is not None and queue.counted.what:
                yield name, dumps(queue.counted.what)
                queue.counted.what = []
