"""The limits of jobs and queues, and jobs set aside because of them, in memory."""

from __future__ import annotations

import math

from stratix_kombu.model.limiter import Starts, ahead_ms, early_ms, room, starts_of
from stratix_kombu.model.record import Limit
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.memory.order import Line, Order
from stratix_kombu.stores.memory.state import Space


def _starts(space: Space, limit: Limit) -> Starts:
    return space.limits.setdefault((limit.key, bool(limit.refill_per_s)), starts_of(limit))


def free_at(space: Space, limit: Limit) -> int:
    """The first instant at which a job may start."""
    return _starts(space, limit).free_at(limit, space.now())


def room_of(space: Space, limit: Limit, most: int) -> tuple[int, int]:
    """The number of jobs that may start now or a little ahead, and when to ask again after these."""
    count, free = room(_starts(space, limit), limit, space.now(), most)
    return count, free - early_ms(limit)


def start_at(space: Space, *limits: Limit | None) -> int | None:
    """When a job starts, counted by its limits: now or a little ahead; None if it may not."""
    now, given = space.now(), [limit for limit in limits if limit]
    if any(free_at(space, one) > now + ahead_ms(one) for one in given):
        return None
    at = max([now, *(free_at(space, one) for one in given)])
    for one in given:
        _starts(space, one).remember(at, one, now)
    return at


def opens(space: Space, queue: str, at_ms: float) -> None:
    """Check the queue's owed permits then, if not before."""
    order = space.queues[queue].order
    if at_ms < order.opens_ms:
        order.opens_ms = at_ms
        space.leader.wake(int(at_ms))


def bring_back(space: Space, order: Order, most: int, group_bound: int) -> None:
    """The first jobs of lines that have opened go back into the order: of each as many as may start now."""
    now, left = space.now(), PAGE
    for name in order.opened(now):
        if left <= 0:
            return
        line = order.lines[name]
        count = min(most, left)
        allowed, again_ms = _allowed(space, order, name, line, count, group_bound)
        back = line.jobs[: min(count, allowed)]
        for key in back:
            order.put(key)
            space.jobs[key[2]].line = ""
        left -= max(len(back), 1)
        del line.jobs[: len(back)]
        line.opens_ms = again_ms
        if not line.jobs:
            del order.lines[name]


def _allowed(space: Space, order: Order, name: str, line: Line, count: int, group_bound: int) -> tuple[int, float]:
    """How many of a line may start, and when to look at it again."""
    if name.startswith("g:"):
        free = max(group_bound - order.active[name[2:]], 0) if group_bound else count
        return free, math.inf if group_bound and free <= count else 0
    limit = space.jobs[line.jobs[0][2]].new.limit
    assert limit is not None
    return room_of(space, limit, count)
