"""Unused queues are forgotten, in memory."""

from __future__ import annotations

from stratix_kombu.stores.contract import UNUSED_MS
from stratix_kombu.stores.memory.state import QueueSpace, Space


def forget_unused(space: Space) -> None:
    """Those that have been unused for long."""
    now = space.now()
    for queue, kept in list(space.queues.items()):
        if not kept.known or _is_used(space, queue, kept, now - UNUSED_MS):
            space.unused.pop(queue, None)
        elif space.unused.setdefault(queue, now) <= now - UNUSED_MS:
            forget(space, queue)


def forget(space: Space, queue: str) -> None:
    """All of a queue but its workers; with them its name stays."""
    kept = space.queues.pop(queue)
    space.unused.pop(queue, None)
    if _is_served(space, kept):
        space.queues[queue].known, space.queues[queue].workers = True, kept.workers
    for key in [one for one in space.deduplicated if one[0] == queue]:
        del space.deduplicated[key]


def _is_served(space: Space, queue: QueueSpace) -> bool:
    now = space.now()
    return any(worker in space.present and space.present[worker].until_ms > now for worker in queue.workers)


def _is_used(space: Space, name: str, queue: QueueSpace, since: int) -> bool:
    """Whether it was used since an instant, according to its events, or must be kept anyway."""
    now = space.now()
    return (
        bool(queue.events and queue.events[-1].at_ms > since)
        or queue.paused
        or queue.limit is not None
        or queue.global_concurrency is not None
        or queue.held_ms > now
        or any(queue.ids.values())
        or _is_served(space, queue)
        or any(schedule.queue == name for schedule in space.schedules.values())
        or any(key[0] == name and one.until_ms > now for key, one in space.deduplicated.items())
    )
