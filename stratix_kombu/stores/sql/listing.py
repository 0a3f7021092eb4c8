"""Jobs of a queue in one state, in their order: by places, and page by page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stratix_kombu.model.state import State
from stratix_kombu.stores.sql.columns import COLUMNS
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.texts import dumps, loads

_WAITS = "queue = ? AND state = 'waiting' AND native = 0 AND line"
_ORDER = (f"{_WAITS} = ''", "rank, place, id")
_ASIDE = (f"{_WAITS} <> ''", "rank, place, id")
_NATIVE = ("queue = ? AND state = 'waiting' AND native = 1", "priority, dispatched_as")
_DELAYED = ("queue = ? AND state = 'delayed'", "due_ms, delayed_as")


def parts_of(state: State) -> list[tuple[str, str]]:
    """The parts of a list, as ``find`` has them: a condition on the queue, and an order."""
    if state is State.WAITING:
        return [_ORDER, _ASIDE, _NATIVE]
    if state is State.DELAYED:
        return [_DELAYED]
    return [(f"queue = ? AND state = '{state.value}'", "seq DESC" if state.finished else "seq")]


def rows_between(db: Database, queue: str, states: Sequence[State], start: int, end: int) -> Iterator[tuple[Any, ...]]:
    """The rows from one place to another, both of them too; the places are not negative."""
    for condition, order in (part for state in states for part in parts_of(state)):
        if end < 0:
            return
        (count,) = db.one(f"SELECT count(*) FROM jobs WHERE {condition}", queue) or (0,)
        if start < count:
            sql = f"SELECT {', '.join(COLUMNS)} FROM jobs WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?"
            yield from db.all(sql, queue, end - start + 1, start)
        start, end = max(start - count, 0), end - count


def page_of(db: Database, queue: str, state: State, cursor: str, limit: int) -> tuple[list[str], str]:
    """The ids of a page, the oldest first, and the cursor for the next one, '' after the last.

    Waiting and delayed jobs may get another place while they are looked through: whatever did is looked at once more
    at the end, by ``seq``."""
    listed = f"queue = ? AND state = '{state.value}'"
    orders = {State.WAITING: [_ASIDE, _ORDER, _NATIVE], State.DELAYED: [_DELAYED]}.get(state)
    parts = [*orders, (f"{listed} AND seq > ?", "seq")] if orders else [(f"{listed} AND seq <= ?", "seq")]
    if cursor:
        part, begun, after = loads(cursor)
    else:
        part, after = 0, None
        begun = db.counters().moves
    ids: list[str] = []
    while part < len(parts):
        condition, order = parts[part]
        values = [queue, begun] if part == len(parts) - 1 else [queue]
        names = order.split(", ")
        if after is not None:
            condition += f" AND ({order}) > ({', '.join('?' * len(names))})"
            values += after
        wanted = limit - len(ids) + 1
        rows = db.all(f"SELECT id, {order} FROM jobs WHERE {condition} ORDER BY {order} LIMIT ?", *values, wanted)
        ids += [row[0] for row in rows[: wanted - 1]]
        if len(rows) == wanted:
            return ids, dumps([part, begun, rows[-2][1:] if wanted > 1 else after])
        part, after = part + 1, None
    return ids, ""
