"""What the limits of a claim say, in memory."""

from __future__ import annotations

from stratix_kombu.model.limiter import LimitLog, ahead_ms, early_ms
from stratix_kombu.model.record import Limit, Refused
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.stores.memory.state import Job, Space


def limited(space: Space, job: Job, of_queue: Limit | None) -> Refused | int:
    """The instant at which the job starts, counted by its limits; or why it does not."""
    now, held_ms = space.now(), space.queues[job.new.queue].held_ms
    limits = [(one, _log_of(space, one)) for one in (of_queue, job.new.limit) if one]
    free = [start_at(space, one, job.new.queue, job.reserved) for one, _ in limits]
    late = [held_ms > now or at > now + ahead_ms(one) for (one, _), at in zip(limits, free, strict=True)]
    if of_queue and not of_queue.bounce_back and late[0]:
        again = max(free[0] - early_ms(of_queue), held_ms)
        return Refused(job.new.id, Refusal.LIMITED, again - now, stays=True)
    if any(late) or held_ms > now:
        return _deferred(space, job, [one for one, is_late in zip(limits, late, strict=True) if is_late])
    at = max([now, *free])
    for one, log in limits:
        log.start(at, now, one, job.new.id, job.reserved)
    job.reserved = False
    return at


def start_at(space: Space, limit: Limit, queue: str, reserved: bool = False) -> int:
    """The first instant at which a job may start; who has a slot already need not mind those of others."""
    return _log_of(space, limit).free_at(space.now(), limit, reserved or _unclaimed(space, limit, queue))


def _unclaimed(space: Space, limit: Limit, queue: str) -> bool:
    """Whether nobody waits for a slot of the queue's limit: what is left of them is of jobs that were removed."""
    return limit.key == f"queue:{queue}" and not space.queues[queue].ids[State.DELAYED]


def _deferred(space: Space, job: Job, limits: list[tuple[Limit, LimitLog]]) -> Refused:
    """Delayed until a little before its slot."""
    now, held_ms = space.now(), space.queues[job.new.queue].held_ms
    for one, log in limits:
        if not job.reserved and _unclaimed(space, one, job.new.queue):
            log.forget_slots()
    slots = [log.reserve(max(now, held_ms), one, job.new.id, job.reserved) for one, log in limits]
    early = min((early_ms(one) for one, _ in limits), default=0)
    again = max(max(slots, default=0) - early, held_ms, now + 1)
    job.reserved = bool(slots)
    space.make_delayed(job, again)
    return Refused(job.new.id, Refusal.LIMITED, again - now)


def _log_of(space: Space, limit: Limit) -> LimitLog:
    key = (limit.key, bool(limit.refill_per_s))
    if key not in space.limits:
        space.limits[key] = LimitLog(limit)
    return space.limits[key]
