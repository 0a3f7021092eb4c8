"""Queues at one instant, over tables."""

from __future__ import annotations

from typing import Any

from stratix_kombu.model.metrics import MINUTE_MS
from stratix_kombu.model.overview import QueueOverview, shown_minutes
from stratix_kombu.model.record import WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.model.workers import Led, WorkerProcess, process_of
from stratix_kombu.stores.memory.state import Presence
from stratix_kombu.stores.sql.columns import limit_of
from stratix_kombu.stores.sql.counting import Counting
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sql.tables import worker_of
from stratix_kombu.stores.sql.texts import loads

_COUNTED = "paused, waiting, active, delayed, blocked, completed, failed"
STATUS = f"SELECT {_COUNTED} FROM queues"
_NONE = (0,) * 7


def status_of(db: Database, queue: str, now: int) -> dict[str, Any]:
    """What ``QueueStatus`` is made of."""
    return _status(db, queue, db.one(f"{STATUS} WHERE name = ? ORDER BY era DESC LIMIT 1", queue) or _NONE, now)


def _status(db: Database, queue: str, row: tuple[Any, ...], now: int) -> dict[str, Any]:
    counts = {state.value: count for state, count in zip(State, row[1:], strict=True)}
    waiting, delayed, due = counts["waiting"], counts["delayed"], None
    counts["paused"] = 0
    if row[0]:
        counts["paused"], counts["waiting"] = waiting, 0
    if delayed:
        due = db.one("SELECT due_ms FROM jobs WHERE queue = ? AND state = 'delayed' ORDER BY due_ms LIMIT 1", queue)
    return {
        "name": queue,
        "paused": bool(row[0]),
        "counts": counts,
        "workers": len(present_on(db, queue, now)),
        "oldest_waiting_ms": oldest_ms(db, queue, now) if waiting else None,
        "overdue_ms": max(now - due[0], 0) if due else 0,
    }


def overview_page(db: Database, now: int, after: str, limit: int, minutes: int) -> tuple[list[QueueOverview], str]:
    """The queues after that name, and the last of them if there are more."""
    sql = f"SELECT name, held_ms, body, {_COUNTED} FROM queues WHERE known = 1 AND name > ? ORDER BY name LIMIT ?"
    rows = db.all(sql, after, limit + 1)
    page = [_overview(db, row, now, minutes) for row in rows[:limit]]
    return page, rows[limit - 1][0] if len(rows) > limit else ""


def _overview(db: Database, row: tuple[Any, ...], now: int, minutes: int) -> QueueOverview:
    name, held_ms, body, *counted = row
    counts = Counting(db, name)
    counts.read_minutes(now // MINUTE_MS - minutes)
    counts.observe()
    completed, failed, recent = shown_minutes(counts.last(now, minutes))
    said = loads(body) if body else {}
    return QueueOverview(
        **_status(db, name, tuple(counted), now),
        completed=completed,
        failed=failed,
        recent=recent,
        held_ms=max(held_ms - now, 0),
        limit=limit_of(said["limit"]) if "limit" in said else None,
        global_concurrency=said.get("global_concurrency"),
    )


def present_on(db: Database, queue: str, now: int) -> list[WorkerInfo]:
    sql = (
        "SELECT workers.id, workers.info, presence.until_ms, presence.again_ms FROM workers "
        "JOIN presence ON presence.worker = workers.id WHERE workers.queue = ? AND presence.until_ms > ? "
        "ORDER BY workers.id"
    )
    rows = db.all(sql, queue, now)
    return [Presence(until, again).at(now, worker_of(queue, worker, info)) for worker, info, until, again in rows]


def oldest_ms(db: Database, queue: str, now: int) -> int:
    """How long the first of each part and priority has waited, at most."""
    parts = (
        ("native = 0 AND line = ''", "rank", "place, id"),
        ("native = 0 AND line <> ''", "rank", "place, id"),
        ("native = 1", "priority", "dispatched_as"),
    )
    since: list[int] = []
    for condition, priority, order in parts:
        at = -1
        while True:
            sql = (
                f"SELECT {priority}, waiting_ms FROM jobs WHERE queue = ? AND state = 'waiting' AND {condition} "
                f"AND {priority} > ? ORDER BY {priority}, {order} LIMIT 1"
            )
            row = db.one(sql, queue, at)
            if row is None:
                break
            at = row[0]
            since.append(row[1])
    return now - min(since) if since else 0


def processes_page(db: Database, now: int, after: str, limit: int) -> tuple[list[WorkerProcess], str]:
    """The workers after that id, and the last of them if there are more."""
    sql = (
        "SELECT worker, until_ms, again_ms FROM presence WHERE until_ms > ? AND worker > ? "
        "AND EXISTS (SELECT 1 FROM workers WHERE id = worker) ORDER BY worker LIMIT ?"
    )
    rows = db.all(sql, now, after, limit + 1)
    page = {worker: Presence(until, again) for worker, until, again in rows[:limit]}
    served: dict[str, list[WorkerInfo]] = {}
    for worker, seen in page.items():
        for queue, info in db.all("SELECT queue, info FROM workers WHERE id = ? ORDER BY queue", worker):
            served.setdefault(worker, []).append(seen.at(now, worker_of(queue, worker, info)))
    clock = db.one("SELECT clock FROM leader WHERE until_ms > ?", now)
    due = db.one("SELECT min(due_ms) FROM jobs WHERE state = 'delayed'")
    led = Led(now, clock[0] if clock else "", due[0] if due else None)
    return [process_of(infos, led) for infos in served.values()], rows[limit - 1][0] if len(rows) > limit else ""
