"""Queues that nobody uses are forgotten."""

from __future__ import annotations

from stratix_kombu.stores.contract import UNUSED_MS
from stratix_kombu.stores.sql.groups import idle_groups
from stratix_kombu.stores.sql.queues import SqlQueue
from stratix_kombu.stores.sql.space import SqlSpace

LOOKED_AT_ONCE = 20
_SERVED = (
    "SELECT 1 FROM workers JOIN presence ON presence.worker = workers.id "
    "WHERE workers.queue = ? AND presence.until_ms > ? LIMIT 1"
)


def forget_unused(space: SqlSpace) -> None:
    """Those that have been unused for long; each call looks at some."""
    now = space.now()
    for of_queue, group in idle_groups(space.db):
        space.queues[of_queue].order.active.drop_if_idle(group)
    sql = "SELECT name FROM queues WHERE name > ? ORDER BY name LIMIT ?"
    names = [name for (name,) in space.db.all(sql, space.looked_at, LOOKED_AT_ONCE)]
    space.looked_at = names[-1] if len(names) == LOOKED_AT_ONCE else ""
    for name in names:
        queue: SqlQueue = space.queues[name]
        if not queue.known or _is_used(space, queue, now):
            queue.unused_ms = None
        elif queue.unused_ms is None:
            queue.unused_ms = now
        elif queue.unused_ms <= now - UNUSED_MS:
            forget(space, name)


def forget(space: SqlSpace, name: str) -> None:
    """All of a queue but its workers; with them its name stays."""
    space.queues.pop(name)
    if space.db.one(_SERVED, name, space.now()):
        space.queues[name].known = True
    else:
        space.db.put("DELETE FROM workers WHERE queue = ?", name)


def _is_used(space: SqlSpace, queue: SqlQueue, now: int) -> bool:
    """For some time, as far as its events show; or it is to be kept anyway."""
    db, name = space.db, queue.name
    newest = db.one("SELECT at_ms FROM events WHERE queue = ? ORDER BY number DESC LIMIT 1", name)
    return (
        bool(newest and newest[0] > now - UNUSED_MS)
        or queue.paused
        or queue.limit is not None
        or queue.global_concurrency is not None
        or queue.held_ms > now
        or any(queue.ids.values())
        or db.one(_SERVED, name, now) is not None
        or db.one("SELECT 1 FROM schedules WHERE queue = ? LIMIT 1", name) is not None
        or db.one("SELECT 1 FROM deduplicated WHERE queue = ? AND until_ms > ? LIMIT 1", name, now) is not None
    )
