"""The clock's steps and those taken by hand, in memory."""

from __future__ import annotations

import heapq
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from stratix_kombu.errors import InvalidJobState
from stratix_kombu.model.record import MAX_REASON_BYTES, Change, Limit
from stratix_kombu.model.stalls import stalled_reason
from stratix_kombu.model.state import BY_HAND, NEVER_SENT, Action, State, Sweep
from stratix_kombu.model.text import bounded
from stratix_kombu.stores.contract import PAGE, Transitions
from stratix_kombu.stores.memory.attempts import keep_attempt
from stratix_kombu.stores.memory.metrics import count
from stratix_kombu.stores.memory.order import waiting_ids
from stratix_kombu.stores.memory.release import begin_again, release_page, rerun_job, revive_dependents
from stratix_kombu.stores.memory.reopening import reopen, send_permits
from stratix_kombu.stores.memory.state import Job, Space
from stratix_kombu.stores.memory.steps import Steps, step
from stratix_kombu.stores.memory.unused import forget, forget_unused

_NOT_BEGUN = (State.WAITING, State.DELAYED, State.BLOCKED)
_UNFINISHED = [state.value for state in State if not state.finished]


def suits(job: Job, action: Sweep, mark: int) -> bool:
    """Whether a sweep affects a job that it examines."""
    by_dependency = action is Sweep.RETRY and job.failed_by
    return action is Sweep.REMOVE or not (job.vacant or job.swept == mark or by_dependency)


def fall_due(space: Space, job: Job) -> None:
    """Its delay is over."""
    if not job.vacant:
        space.make_waiting(job)
    elif job.new.kind == BY_HAND:
        space.delete_by_hand(job)
        space.tell(job.new.queue, "removed", job)
    else:
        space.fail(job, NEVER_SENT)


class Upkeep(Steps, Transitions):
    """The part of the transitions that does not belong to a running job."""

    @abstractmethod
    def _bury(self, job: Job, reason: str) -> None:
        """Add the letter of a job that has failed, if it wants one."""

    # -- the clock ------------------------------------------------------------------------------

    @step
    def promote(self, limit: int = PAGE) -> tuple[Change, int | None]:
        space, now = self.space, self.space.now()
        while (due := self._first_delayed()) and due[0] <= now and len(space.ready) < limit:
            job = space.jobs[due[2]]
            fall_due(space, job)
        for _, queue in sorted((one.order.opens_ms, queue) for queue, one in space.queues.items()):
            if space.queues[queue].order.opens_ms <= now and len(space.ready) < limit:
                reopen(space, queue, limit - len(space.ready))
        first = min(due[0] if due else math.inf, *(one.order.opens_ms for one in space.queues.values()), math.inf)
        more = release_page(space, PAGE) or first <= now
        return self._change(more), None if first == math.inf else int(max(first - now, 0))

    def _first_delayed(self) -> tuple[int, int, str] | None:
        due = self.space.delayed
        while due:
            job = self.space.jobs.get(due[0][2])
            if job is not None and job.state is State.DELAYED and (job.due_ms, job.delayed_as) == due[0][:2]:
                return due[0]
            heapq.heappop(due)
        return None

    @step
    def recover(self, max_stalled: int, limit: int = PAGE) -> Change:
        space, expired = self.space, self._stalled(limit)
        for job in expired:
            job.token = ""
            job.stalled_count += 1
            count(space, job, "stalled")
            keep_attempt(space, job, "stalled")
            space.tell(job.new.queue, "stalled", job)
            allowed = max_stalled if job.new.max_stalled is None else job.new.max_stalled
            if job.cancelled is None and job.stalled_count > allowed:
                reason = stalled_reason(allowed)
                self._bury(job, reason)
                space.fail(job, reason)
            else:
                self._back(job)
        change = self._release_and_tell(dict.fromkeys(job.new.queue for job in expired))
        affected = tuple(job.new.id for job in expired)
        return replace(change, affected=affected, more=change.more or len(expired) == limit)

    def _stalled(self, limit: int) -> list[Job]:
        """Jobs whose lease has expired. Unused queues are looked for at the same time."""
        space, now = self.space, self.space.now()
        forget_unused(space)
        active = (space.jobs[i] for queue in list(space.queues.values()) for i in queue.ids[State.ACTIVE])
        return list(islice((job for job in active if job.lease_ms <= now), limit))

    @step
    def redeliver(self, queue: str, grace_ms: int, depth: int | None, limit: int = PAGE, *, sent: int = 0) -> Change:
        here = self.space.queues[queue]
        if here.paused:
            return Change()
        more = self._send_missing(queue, grace_ms, None if depth is None else depth + sent, limit)
        suspects = [
            one for one in self._native(queue, grace_ms, limit) if not depth or self._is_overtaken(one, grace_ms)
        ]
        for job in suspects[:limit]:
            is_kept = job.line or job.new.id in here.order.unsent
            self.space.put_off(job) if is_kept else self.space.send(job)
        return self._change(more or len(suspects) >= limit)

    def _native(self, queue: str, grace_ms: int, limit: int) -> list[Job]:
        """Native jobs that were dispatched longer ago than their grace, as they were dispatched; those of which at most
        ``limit`` are sent again."""
        jobs, now = (self.space.jobs[one] for one in self._in_order(queue, State.WAITING)), self.space.now()
        return [job for job in jobs if job.new.native and self._suspect_ms(job, grace_ms) <= now]

    @staticmethod
    def _suspect_ms(job: Job, grace_ms: int) -> int:
        return int(job.dispatched_ms + grace_ms * 2 ** max(job.dispatches - 1, 0))

    def _is_overtaken(self, job: Job, grace_ms: int) -> bool:
        claimed_ms = self.space.queues[job.new.queue].claimed_ms
        return self._suspect_ms(job, grace_ms) <= claimed_ms.get(job.new.priority, 0)

    def _send_missing(self, queue: str, grace_ms: int, depth: int | None, limit: int) -> bool:
        """Permits that should be in the broker's queue; whether there are more of them."""
        order, now = self.space.queues[queue].order, self.space.now()
        missing = len(order) - order.owed - (depth or 0)
        missing = min(missing, 1) if depth is None else missing
        if missing <= 0:
            order.short_ms = None
            return False
        order.short_ms = now if order.short_ms is None else order.short_ms
        if now - order.short_ms < grace_ms:
            return False
        send_permits(self.space, queue, min(missing, limit))
        if missing <= limit:
            order.short_ms = now
        return missing > limit

    @step
    def expire(self, limit: int = PAGE) -> Change:
        space, now, removed = self.space, self.space.now(), list[str]()
        while space.expiring and space.expiring[0][0] <= now and len(removed) < limit:
            expires_ms, job_id = heapq.heappop(space.expiring)
            job = space.jobs.get(job_id)
            if job is None or not job.state.finished:
                continue
            keep = job.new.keep_completed if job.state is State.COMPLETED else job.new.keep_failed
            if keep.age_ms is not None and job.finished_ms + keep.age_ms == expires_ms:
                space.retire(job)
                removed.append(job_id)
        return Change(affected=tuple(removed), more=len(removed) == limit)

    # -- by hand --------------------------------------------------------------------------------

    @step
    def pause(self, queue: str) -> bool:
        space = self.space.queues[queue]
        if space.paused:
            return False
        space.paused = True
        self.space.tell(queue, "paused")
        return True

    @step
    def resume(self, queue: str, limit: int = PAGE) -> Change:
        space = self.space.queues[queue]
        if space.paused:
            space.paused = False
            self.space.tell(queue, "resumed")
        return self._change(reopen(self.space, queue, limit))

    @step
    def set_limit(self, queue: str, limit: Limit | None) -> Change:
        self.space.queues[queue].limit = limit
        return self._reopened(queue)

    @step
    def set_global_concurrency(self, queue: str, global_concurrency: int | None) -> Change:
        self.space.queues[queue].global_concurrency = global_concurrency
        return self._reopened(queue)

    @step
    def hold(self, queue: str, for_ms: int) -> Change:
        here = self.space.queues[queue]
        here.held_ms = max(here.held_ms, self.space.now() + for_ms) if for_ms else 0
        return self._reopened(queue)

    def _reopened(self, queue: str) -> Change:
        reopen(self.space, queue, PAGE)
        return self._change()

    @step
    def retry(self, job_id: str) -> Change:
        job = self._in_state(job_id, State.FAILED, "retry")
        if job.vacant:
            raise InvalidJobState(job_id, "never sent", "retry", ["failed"])
        self._retry(job)
        return self._change(release_page(self.space, PAGE))

    def _retry(self, job: Job) -> None:
        begin_again(self.space, job)
        job.cancelled, job.cancel_error = None, ""
        revive_dependents(self.space, job)

    @step
    def rerun(self, job_id: str, dependents: bool = False) -> Change:
        rerun_job(self.space, self._in_state(job_id, State.COMPLETED, "rerun"), dependents)
        return self._change(release_page(self.space, PAGE))

    def _back(self, job: Job, *, again: bool = False) -> None:
        """No longer active, and not finished: waiting again, unless it was cancelled; ``again`` in the place it had."""
        if not self._end_cancelled(job):
            self.space.make_waiting(job, again=again)

    def _end_cancelled(self, job: Job) -> bool:
        """End a job that was cancelled while it was active; whether it was."""
        if job.cancelled is None:
            return False
        self.space.fail(job, job.cancelled, error=job.cancel_error)
        return True

    @step
    def cancel(self, job_id: str, reason: str, error: str = "") -> Change:
        job = self._job(job_id)
        if job.state.finished:
            raise InvalidJobState(job_id, job.state.value, "cancel", _UNFINISHED)
        self._cancel(job, reason, error)
        return self._change(release_page(self.space, PAGE))

    def _cancel(self, job: Job, reason: str, error: str = "") -> None:
        job.cancelled, job.cancel_error = bounded(reason, MAX_REASON_BYTES), error
        if job.state is not State.ACTIVE:
            self.space.fail(job, job.cancelled, error=error)

    @step
    def promote_job(self, job_id: str) -> Change:
        self.space.make_waiting(self._delayed(job_id, "promote"))
        return self._change()

    @step
    def change_delay(self, job_id: str, delay_ms: int) -> Change:
        job = self._delayed(job_id, "change the delay of", BY_HAND if delay_ms else "")
        if delay_ms:
            self.space.make_delayed(job, self.space.now() + delay_ms)
        else:
            self.space.make_waiting(job)
        return self._change()

    @step
    def change_priority(self, job_id: str, priority: int) -> Change:
        job = self._job(job_id)
        sent = job.state is State.WAITING and job.new.native
        if job.vacant or sent or job.state not in _NOT_BEGUN:
            state = "never sent" if job.vacant else "sent" if sent else job.state.value
            raise InvalidJobState(job_id, state, "change the priority of", [one.value for one in _NOT_BEGUN])
        if priority != job.new.priority:
            self.space.reprioritise(job, priority)
        return self._change()

    def _delayed(self, job_id: str, operation: str, vacant: str = "") -> Job:
        """``vacant``: of which kind it may be although it is vacant."""
        job = self._in_state(job_id, State.DELAYED, operation)
        if job.vacant and not (vacant and job.new.kind == vacant):
            raise InvalidJobState(job_id, "never sent", operation, ["delayed"])
        return job

    @step
    def each(
        self, queue: str, action: Action, ids: Sequence[str], state: State | None = None, reason: str = ""
    ) -> Change:
        done = []
        for job_id in ids:
            job = self.space.jobs.get(job_id)
            if job is None or job.new.queue != queue or state not in (None, job.state):
                continue
            if action is not Action.RETRY or state is None or not job.failed_by:
                done += [job_id] * self._do(action, job, reason)
        return replace(self._change(release_page(self.space, PAGE)), affected=tuple(done))

    def _do(self, action: Action, job: Job, reason: str) -> bool:
        """Whether its state allows it."""
        if action is Action.CANCEL and not job.state.finished:
            self._cancel(job, reason)
        elif action is Action.RETRY and job.state is State.FAILED and not job.vacant:
            self._retry(job)
        elif action is Action.PROMOTE and job.state is State.DELAYED and not job.vacant:
            self.space.make_waiting(job)
        elif action is Action.REMOVE and job.state is not State.ACTIVE:
            self._remove(job)
        else:
            return False
        return True

    @step
    def sweep(
        self, queue: str, action: Sweep, state: State, older_ms: int = 0, limit: int = PAGE, cursor: str = ""
    ) -> Change:
        space = self.space
        if not cursor:
            space.sweeps += 1
            cursor = f"{space.now() - older_ms} {space.sweeps}"
        before, mark = (int(part) for part in cursor.split())
        jobs = (space.jobs[one] for one in self._in_order(queue, state))
        old = (job for job in jobs if (job.finished_ms or job.created_ms) <= before)
        chosen = list(islice((job for job in old if suits(job, action, mark)), limit + 1))
        left, chosen = len(chosen) > limit, chosen[:limit]
        change = self._sweep(queue, action, chosen, mark)
        return replace(change, cursor=cursor if left else "")

    def _sweep(self, queue: str, action: Sweep, chosen: list[Job], mark: int) -> Change:
        space = self.space
        for job in chosen:
            job.swept = mark
            if action is Sweep.RETRY:
                self._retry(job)
            elif action is Sweep.PROMOTE:
                space.make_waiting(job)
            else:
                space.delete_by_hand(job)
        if action is Sweep.REMOVE and chosen:
            space.tell(queue, "cleaned", None, str(len(chosen)))
        change = self._change(release_page(space, PAGE))
        return replace(change, affected=tuple(job.new.id for job in chosen))

    def _in_order(self, queue: str, state: State) -> list[str]:
        jobs = [self.space.jobs[job_id] for job_id in self.space.queues[queue].ids[state]]
        if state is State.WAITING:
            return waiting_ids(jobs, aside_first=True)
        if state is State.DELAYED:
            jobs.sort(key=lambda one: (one.due_ms, one.delayed_as))
        return [job.new.id for job in jobs]

    @step
    def forget_queue(self, queue: str) -> bool:
        if any(self.space.queues[queue].ids.values()):
            return False
        forget(self.space, queue)
        return True

    @step
    def remove(self, job_id: str) -> Change:
        job = self._job(job_id)
        if job.state is State.ACTIVE:
            raise InvalidJobState(job_id, "active", "remove", ["waiting", "delayed", "blocked", "completed", "failed"])
        self._remove(job)
        return self._change(release_page(self.space, PAGE))

    def _remove(self, job: Job) -> None:
        self.space.delete_by_hand(job)
        self.space.tell(job.new.queue, "removed", job)
