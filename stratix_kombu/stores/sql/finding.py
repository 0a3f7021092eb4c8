"""Looking for jobs over tables: a bounded number of rows is read, whatever is looked for."""

from __future__ import annotations

from typing import Any

from stratix_kombu.model.finding import LOOKED_AT_ONCE, JobFilter, Looked, not_a_cursor
from stratix_kombu.model.state import State
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.listing import parts_of
from stratix_kombu.stores.sql.texts import dumps, loads

_SEEN = "id, name, job_group, native, failed_reason, worker, created_ms, finished_ms, kind"
_COLUMNS = len(_SEEN.split(", "))


def found_jobs(
    db: Database, queue: str, state: State, where: JobFilter, cursor: str, limit: int
) -> tuple[list[Looked], str, int]:
    """The jobs of a page, the cursor for the next one, and how many jobs were looked at."""
    parts = parts_of(state)
    part, after = _read(cursor, parts) if cursor else (0, _newest(db, queue, state, where.until_ms))
    found: list[Looked] = []
    looked = 0
    while part < len(parts) and len(found) < limit and looked < LOOKED_AT_ONCE:
        wanted = LOOKED_AT_ONCE - looked
        if not where.looks_at_records and not where.id_prefix:
            wanted = min(wanted, limit - len(found))
        rows = _rows(db, queue, parts[part], after, wanted)
        for row in rows:
            one = _looked(row, state)
            if state.finished and one.at_ms < where.since_ms:
                return found, "", looked
            looked, after = looked + 1, row[_COLUMNS:]
            if where.suits(one):
                found.append(one)
                if len(found) == limit:
                    break
        else:
            if len(rows) < wanted:
                part, after = part + 1, ()
    return found, dumps([part, after]) if part < len(parts) else "", looked


def _rows(db: Database, queue: str, part: tuple[str, str], after: Any, limit: int) -> list[tuple[Any, ...]]:
    """What is looked at of each job, and its place in the order."""
    condition, order = part
    names = order.removesuffix(" DESC")
    values = [queue, *after]
    if after:
        compared = "<" if order.endswith(" DESC") else ">"
        condition += f" AND ({names}) {compared} ({', '.join('?' * len(after))})"
    return db.all(f"SELECT {_SEEN}, {names} FROM jobs WHERE {condition} ORDER BY {order} LIMIT ?", *values, limit)


def _looked(row: tuple[Any, ...], state: State) -> Looked:
    job_id, name, group, native, reason, worker, created_ms, finished_ms, kind = row[:_COLUMNS]
    at_ms = finished_ms if state.finished else created_ms
    return Looked(job_id, name, "" if native else group, reason or "", worker, at_ms, kind)


def _newest(db: Database, queue: str, state: State, until_ms: int) -> Any:
    """Where to begin: finished jobs are numbered in the order of their ends, so those that ended after an instant are
    passed over by halves."""
    if not (state.finished and until_ms):
        return ()
    sql = (
        f"SELECT seq, finished_ms FROM jobs WHERE queue = ? AND state = '{state.value}' AND seq < ? "
        "ORDER BY seq DESC LIMIT 1"
    )
    row = db.one(sql, queue, 2**62)
    low, high = 0, row[0] + 1 if row else 0
    while low < high:  # all before `low` ended before the instant, all from `high` on did not
        middle = (low + high) // 2
        row = db.one(sql, queue, middle + 1)
        if row is None or row[1] < until_ms:
            low = middle + 1
        else:
            high = row[0]
    return (high,)


def _read(cursor: str, parts: list[tuple[str, str]]) -> tuple[int, list[Any]]:
    try:
        part, after = loads(cursor)
        places = len(parts[part][1].split(", "))
    except (ValueError, TypeError, IndexError):
        raise not_a_cursor(cursor) from None
    if part < 0 or not isinstance(after, list) or len(after) not in (0, places):
        raise not_a_cursor(cursor)
    if not all(isinstance(one, str if place == 2 else int) for place, one in enumerate(after)):
        raise not_a_cursor(cursor)
    return part, after
