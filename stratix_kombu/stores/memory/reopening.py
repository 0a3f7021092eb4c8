"""Sending permits owed to a queue when jobs may start again, in memory."""

from __future__ import annotations

import math
from itertools import islice

from stratix_kombu.model.record import Ready
from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.limits import bring_back, opens, room_of
from stratix_kombu.stores.memory.state import Space


def send_permits(space: Space, queue: str, count: int) -> None:
    space.ready.extend(Ready("", queue) for _ in range(count))


def let_in(space: Space) -> None:
    """Jobs of these queues are no longer active: as many others may try, where one was refused."""
    for queue, count in space.vacated.items():
        here = space.queues[queue]
        order = here.order
        if here.paused or not (order.crowded or order.lines or order.unsent_lines):
            continue
        if order.crowded:
            _send_unsent(space, queue, count)
        permits = min(count, order.owed, len(order))
        order.owed -= permits
        send_permits(space, queue, permits)
        order.crowded = order.crowded and bool(order.owed or order.unsent)
        if order.unsent_lines:
            opens(space, queue, space.now())
    space.vacated.clear()


def reopen(space: Space, queue: str, most: int) -> bool:
    """Send the permits owed for jobs that may start now; return whether there are more than one page."""
    here, now = space.queues[queue], space.now()
    order = here.order
    order.owed = min(order.owed, len(order))
    order.opens_ms = math.inf
    if here.paused or not (order.owed or order.unsent or order.unsent_lines):
        return False
    if here.held_ms > now:
        opens(space, queue, here.held_ms)
        return False
    limit = here.limit or order.limit
    bound = order.most if here.global_concurrency is None else here.global_concurrency
    left = min(most, max(bound - len(here.ids[State.ACTIVE]), 0)) if bound else most
    instants, permits = list[float](), 0
    if limit and left:
        left, again_ms = room_of(space, limit, left)
        instants.append(again_ms)
    if left:
        _send_unsent(space, queue, left)
        _send_lines(space, queue, left)
        bring_back(space, order, min(left, order.owed), order.group_bound)
        permits = min(left, order.owed, len(order.jobs))
        order.owed -= permits
        send_permits(space, queue, permits)
        instants.append(order.opens_after(now, unsent=True))
    if order.owed:
        instants.append(order.opens_after(now))
    if order.owed or order.unsent or order.unsent_lines:
        opens(space, queue, min((at for at in instants if at > now), default=math.inf))
    owes_more = order.owed and (len(order.jobs) > permits or order.next_line_ms() <= now)
    more = left == most and bool(order.unsent or owes_more)
    if more:
        opens(space, queue, now)
    return more


def _send_unsent(space: Space, queue: str, count: int) -> None:
    unsent = space.queues[queue].order.unsent
    for job_id in list(islice(unsent, count)):
        del unsent[job_id]
        space.send(space.jobs[job_id])


def _send_lines(space: Space, queue: str, most: int) -> None:
    """Native jobs whose own limit has opened."""
    order, now = space.queues[queue].order, space.now()
    lines = order.unsent_lines
    for name in order.opened(now, unsent=True):
        line = lines[name]
        limit = space.jobs[line.jobs[0][2]].new.limit
        assert limit is not None
        count, line.opens_ms = room_of(space, limit, most)
        for job in [space.jobs[key[2]] for key in line.jobs[:count]]:
            order.leave_unsent(job)
            space.send(job)
