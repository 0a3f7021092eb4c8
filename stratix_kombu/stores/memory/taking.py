"""Which job is next: jobs are taken in order, or claimed by id, in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stratix_kombu.model.claims import NO_BOUNDS, Bounds, Claimed, Refused, Taken
from stratix_kombu.model.letter import Fallback
from stratix_kombu.model.limiter import ahead_ms, early_ms
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import KEEP_ALL, LETTER, Claim, Limit
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.stores.contract import PAGE, TAKEN_AT_ONCE, Transitions
from stratix_kombu.stores.memory.limits import bring_back, free_at, opens, room_of, start_at
from stratix_kombu.stores.memory.order import Line, Took
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import Steps, step


@dataclass(slots=True)
class Call:
    """One call of take or claim: the caller, and the limits that apply."""

    queue: str
    worker: str
    lease_ms: int
    request: str
    brought: Bounds
    bounds: Bounds
    """With what was set for the queue."""


def _fall_back(job: Job, given: Fallback) -> None:
    said: dict[str, Any] = {}
    if given.dead_letter and not job.new.dead_letter:
        said["dead_letter"] = given.dead_letter
    if job.new.kind == LETTER:
        kept = {"keep_completed": given.keep_completed, "keep_failed": given.keep_failed}
        said.update((name, keep) for name, keep in kept.items() if keep != KEEP_ALL)
    if said:
        job.new = replace(job.new, **said)


class Taking(Steps, Transitions):
    @step
    def take(
        self,
        queue: str,
        worker: str,
        lease_ms: int,
        want: int,
        bounds: Bounds = NO_BOUNDS,
        *,
        permits: int = 0,
        request: str = "",
    ) -> Taken:
        call = self._call(queue, worker, lease_ms, bounds, request)
        order, now = self.space.queues[queue].order, self.space.now()
        took = order.took.get(worker)
        if took and took.request == call.request:  # a repeated request: the answer was lost
            held = [self._held(job_id, f"{took.request}:{place}") for place, job_id in enumerate(took.ids)]
            claims = [self._claim(job, lease_ms) for job in held if job is not None]
            return Taken(claims, took.why, max(took.until_ms - now, 0) if took.until_ms else 0, took.left)
        if order.lines and order.group_bound != bounds.group_concurrency:
            order.group_bound = bounds.group_concurrency
            order.open_groups()
        claims, why, until_ms, left = self._take(call, min(want, TAKEN_AT_ONCE))
        order.owed = max(min(order.owed + permits - len(claims), len(order)), 0)
        if why is Refusal.EMPTY and not claims and not len(order):
            return Taken(claims, why)
        if why is not None:
            self._refused(call, why)
        if order.owed:
            opens(self.space, queue, until_ms or max(order.next_line_ms(), now))
        ids = tuple(claim.record.id for claim in claims)
        order.took[worker] = Took(call.request, ids, why, until_ms, left)
        return Taken(claims, why, max(until_ms - now, 0) if until_ms else 0, left)

    def _take(self, call: Call, want: int) -> tuple[list[Claim], Refusal | None, int, bool]:
        """The claims, why there are no more of them, until when (an instant, or 0), and whether more are left."""
        here, claims = self.space.queues[call.queue], list[Claim]()
        order, now = here.order, self.space.now()
        if here.paused:
            return claims, Refusal.PAUSED, 0, False
        if here.held_ms > now:
            here.counted.count(now, "limited")
            return claims, Refusal.LIMITED, here.held_ms, False
        limit = call.bounds.limit
        most = want if self._room(call) is None else min(want, self._room(call) or 0)
        if most and limit:
            most = room_of(self.space, limit, most)[0]
        if most:
            bring_back(self.space, order, most, call.bounds.group_concurrency)
        for _ in range(want + PAGE):
            if len(claims) == want or not order.jobs or self._room(call) == 0 or self._closed_until(call):
                break
            job = self.space.jobs[order.jobs[0][2]]
            if self._set_aside(call, job):
                continue
            at = start_at(self.space, limit, job.new.limit)
            assert at is not None
            self._start(job, call.worker, f"{call.request}:{len(claims)}", at)
            _fall_back(job, call.bounds.fallback)
            claims.append(self._claim(job, call.lease_ms))
        return claims, *self._rest(call, len(claims) < want)

    def _rest(self, call: Call, is_short: bool) -> tuple[Refusal | None, int, bool]:
        here, now = self.space.queues[call.queue], self.space.now()
        if not len(here.order):
            return Refusal.EMPTY if is_short else None, 0, False
        crowded, closed_ms, line_ms = self._room(call) == 0, self._closed_until(call), here.order.next_line_ms()
        if crowded:
            return Refusal.CROWDED if is_short else None, 0, False
        if closed_ms:
            if is_short:
                here.counted.count(now, "limited")
            return Refusal.LIMITED if is_short else None, closed_ms, False
        left = bool(here.order.jobs) or line_ms <= now
        return Refusal.EMPTY if is_short else None, 0 if left or line_ms == math.inf else int(line_ms), left

    def _call(self, queue: str, worker: str, lease_ms: int, bounds: Bounds, request: str) -> Call:
        here = self.space.queues[queue]
        most = bounds.global_concurrency if here.global_concurrency is None else here.global_concurrency
        force = replace(bounds, limit=here.limit or bounds.limit, global_concurrency=most)
        return Call(queue, worker, lease_ms, request or new_request(), bounds, force)

    def _room(self, call: Call) -> int | None:
        """How many more jobs of the queue may be active; None = any number."""
        most = call.bounds.global_concurrency
        return max(most - len(self.space.queues[call.queue].ids[State.ACTIVE]), 0) if most else None

    def _closed_until(self, call: Call) -> int:
        """When to check the queue's limit again; 0 = it is open."""
        return self._limit_closed(call.bounds.limit)

    def _limit_closed(self, limit: Limit | None) -> int:
        if limit is None or (free := free_at(self.space, limit)) <= self.space.now() + ahead_ms(limit):
            return 0
        return free - early_ms(limit)

    def _set_aside(self, call: Call, job: Job) -> bool:
        """Whether its own limit or its group keeps the first job of the order from starting: then it is put aside."""
        order, new, key = self.space.queues[call.queue].order, job.new, job.key
        bound, name, opens_ms = call.bounds.group_concurrency, "", math.inf
        if new.limit:
            closed_ms = self._limit_closed(new.limit)
            if closed_ms or order.is_behind(key, f"t:{new.limit.key}"):
                name, opens_ms = f"t:{new.limit.key}", closed_ms or math.inf
                self.space.queues[call.queue].counted.count(self.space.now(), "limited")
        if new.group and not name:
            full = bool(bound) and order.active[new.group] >= bound
            if full or order.is_behind(key, f"g:{new.group}"):
                name, order.group_bound = f"g:{new.group}", bound
        if name:
            order.remove(key, "")
            order.put_aside(key, name, opens_ms)
            job.line = name
        return bool(name)

    def _start(self, job: Job, worker: str, token: str, at: int) -> None:
        here = self.space.queues[job.new.queue]
        if not job.new.native:
            here.order.begun_at(job.place, job.new)
        elif job.dispatches == 1:
            priority = job.new.priority
            here.claimed_ms[priority] = max(here.claimed_ms.get(priority, 0), job.dispatched_ms)
        job.waited_ms = max(at - job.waiting_ms, 0)
        job.attempts_started += 1
        job.token, job.worker, job.processed_ms = token, worker, at
        self.space.move(job, State.ACTIVE)
        self.space.tell(job.new.queue, "active", job)

    def _claim(self, job: Job, lease_ms: int) -> Claim:
        """The claim on an active job, whose lease starts now."""
        now = self.space.now()
        job.lease_ms = max(job.processed_ms, now) + lease_ms
        record = job.record()
        record.message = ""
        return Claim(job.token, record, max(job.processed_ms - now, 0))

    def _refused(self, call: Call, why: Refusal) -> None:
        order = self.space.queues[call.queue].order
        order.limit, order.most = call.brought.limit, call.brought.global_concurrency
        order.crowded = order.crowded or why is Refusal.CROWDED

    # -- by id ----------------------------------------------------------------------------------

    @step
    def claim(
        self,
        queue: str,
        ids: Sequence[str],
        worker: str,
        lease_ms: int,
        bounds: Bounds = NO_BOUNDS,
        *,
        request: str = "",
    ) -> Claimed:
        claimed, call = Claimed(), self._call(queue, worker, lease_ms, bounds, request)
        order = self.space.queues[queue].order
        for place, job_id in enumerate(ids):
            token = f"{call.request}:{place}"
            job = self._held(job_id, token)
            if job is not None and job.new.queue == queue:  # a repeated request: the answer was lost
                claimed.claims.append(self._claim(job, lease_ms))
                continue
            job = self.space.jobs.get(job_id)
            if job is None or job.new.queue != queue:
                claimed.refused.append(Refused(job_id, Refusal.GONE))
            elif job.state is not State.WAITING:
                claimed.refused.append(Refused(job_id, Refusal.NOT_WAITING))
            elif refused := self._refuse(call, job):
                claimed.refused.append(refused)
                order.owed += not job.new.native
            else:
                self._start(job, worker, token, start_at(self.space, call.bounds.limit, job.new.limit) or 0)
                _fall_back(job, bounds.fallback)
                claimed.claims.append(self._claim(job, lease_ms))
        order.owed = min(order.owed, len(order))
        return claimed

    def _refuse(self, call: Call, job: Job) -> Refused | None:
        here, now, own_ms = self.space.queues[call.queue], self.space.now(), 0
        order, bound = here.order, call.bounds.group_concurrency
        until_ms = here.held_ms if here.held_ms > now else self._closed_until(call)
        if here.paused:
            why, until_ms = Refusal.PAUSED, 0
        elif self._room(call) == 0:
            why, until_ms = Refusal.CROWDED, 0
        elif until_ms or (own_ms := self._limit_closed(job.new.limit)):
            why, until_ms = Refusal.LIMITED, until_ms or own_ms
            here.counted.count(now, "limited")
        elif bound and job.new.group and not job.new.native and order.active[job.new.group] >= bound:
            why = Refusal.CROWDED
        else:
            return None
        self._refused(call, why)
        if job.new.native:
            self._keep_unsent(job, own_ms)
        if until_ms:
            opens(self.space, call.queue, until_ms)
        return Refused(job.new.id, why, max(until_ms - now, 0))

    def _keep_unsent(self, job: Job, own_ms: int) -> None:
        """The message of a native job is dropped: it is sent again when the queue, or its own limit, opens."""
        order = self.space.queues[job.new.queue].order
        name = job.new.limit.key if own_ms and job.new.limit else ""
        if job.line != name or (name and job.new.id in order.unsent):
            order.leave_unsent(job)
        if not name:
            order.unsent.setdefault(job.new.id)
            return
        line = order.unsent_lines.setdefault(name, Line())
        line.opens_ms = min(line.opens_ms, own_ms)
        if not job.line:
            self.space.delays += 1
            job.line, job.place = name, self.space.delays
            line.jobs.append(job.key)
