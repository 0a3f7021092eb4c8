"""The clock's steps and those taken by hand, in memory."""

from __future__ import annotations

import heapq
from abc import abstractmethod
from dataclasses import replace
from itertools import islice

from stratix_kombu.errors import InvalidJobState
from stratix_kombu.model.record import MAX_REASON_BYTES, Change, Limit
from stratix_kombu.model.state import NEVER_SENT, State, Sweep
from stratix_kombu.model.text import bounded
from stratix_kombu.stores.contract import PAGE, Transitions
from stratix_kombu.stores.memory.metrics import count
from stratix_kombu.stores.memory.release import begin_again, release_page, rerun_job, revive_dependents
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import Steps, step
from stratix_kombu.stores.memory.unused import forget, forget_unused

_UNFINISHED = [state.value for state in State if not state.finished]


def _suits(job: Job, action: Sweep, mark: int) -> bool:
    by_dependency = action is Sweep.RETRY and job.failed_by
    return action is Sweep.REMOVE or not (job.vacant or job.swept == mark or by_dependency)


class Upkeep(Steps, Transitions):
    """The part of the transitions that does not belong to a running job."""

    @abstractmethod
    def _bury(self, job: Job, reason: str) -> None:
        """Add the letter of a job that has failed, if it wants one."""

    # -- the clock ------------------------------------------------------------------------------

    @step
    def promote(self, limit: int = PAGE) -> tuple[Change, int | None]:
        space, now, due = self.space, self.space.now(), self.space.delayed
        while due:
            due_ms, job_id = due[0]
            job = space.jobs.get(job_id)
            if job is not None and job.state is State.DELAYED and job.due_ms == due_ms:
                if due_ms > now or len(space.ready) >= limit:
                    return self._change(release_page(space, PAGE) or due_ms <= now), max(due_ms - now, 0)
                if job.vacant:
                    space.fail(job, NEVER_SENT)
                else:
                    space.make_waiting(job)
            heapq.heappop(due)
        return self._change(release_page(space, PAGE)), None

    @step
    def recover(self, max_stalled: int, limit: int = PAGE) -> Change:
        space, now = self.space, self.space.now()
        forget_unused(space)
        active = (space.jobs[i] for queue in list(space.queues.values()) for i in queue.ids[State.ACTIVE])
        expired = list(islice((job for job in active if job.lease_ms <= now), limit))
        for job in expired:
            job.token = ""
            job.stalled_count += 1
            count(space, job, "stalled")
            space.tell(job.new.queue, "stalled", job)
            allowed = max_stalled if job.new.max_stalled is None else job.new.max_stalled
            if job.cancelled is None and job.stalled_count > allowed:
                reason = f"stalled more than {allowed} times: its worker stopped renewing the lease"
                self._bury(job, reason)
                space.fail(job, reason)
            else:
                self._back(job)
        change = self._release_and_tell(dict.fromkeys(job.new.queue for job in expired))
        affected = tuple(job.new.id for job in expired)
        return replace(change, affected=affected, more=change.more or len(expired) == limit)

    @step
    def redeliver(self, queue: str, grace_ms: int, broker_empty: bool, limit: int = PAGE) -> Change:
        space, now = self.space.queues[queue], self.space.now()
        if space.paused:
            return Change()
        for job_id in list(islice(space.parked, limit)):
            del space.parked[job_id]
            self.space.send(self.space.jobs[job_id])
        for job_id in list(space.ids[State.WAITING]):
            job = self.space.jobs[job_id]
            suspect_ms = job.dispatched_ms + grace_ms * 2 ** max(job.dispatches - 1, 0)
            overtaken = suspect_ms <= space.claimed_ms.get(job.new.priority, 0)
            if len(self.space.ready) < limit and suspect_ms <= now and (broker_empty or overtaken):
                self.space.send(job)
        return self._change(len(self.space.ready) >= limit)

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
        for job_id in list(islice(space.parked, limit)):
            del space.parked[job_id]
            self.space.send(self.space.jobs[job_id])
        return self._change(bool(space.parked))

    @step
    def set_limit(self, queue: str, limit: Limit | None) -> Change:
        self.space.queues[queue].limit = limit
        return self._let_all_in(queue)

    @step
    def set_global_concurrency(self, queue: str, global_concurrency: int | None) -> Change:
        self.space.queues[queue].global_concurrency = global_concurrency
        return self._let_all_in(queue)

    def _let_all_in(self, queue: str) -> Change:
        while self.space.queues[queue].crowd:
            self.space.let_in(queue)
        return self._change()

    @step
    def hold(self, queue: str, for_ms: int) -> None:
        self.space.queues[queue].held_ms = self.space.now() + for_ms

    @step
    def retry(self, job_id: str) -> Change:
        job = self._in_state(job_id, State.FAILED, "retry")
        if job.vacant:
            raise InvalidJobState(job_id, "never sent", "retry", ["failed"])
        self._retry(job)
        return self._change(release_page(self.space, PAGE))

    def _retry(self, job: Job) -> None:
        job.cancelled, job.cancel_error = None, ""
        begin_again(self.space, job)
        revive_dependents(self.space, job)

    @step
    def rerun(self, job_id: str, dependents: bool = False) -> Change:
        rerun_job(self.space, self._in_state(job_id, State.COMPLETED, "rerun"), dependents)
        return self._change(release_page(self.space, PAGE))

    def _back(self, job: Job) -> None:
        """No longer active, and not ended: waiting again, unless it was cancelled."""
        if not self._end_cancelled(job):
            self.space.make_waiting(job)

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
        reason = bounded(reason, MAX_REASON_BYTES)
        job.cancelled, job.cancel_error = reason, error
        if job.state is State.ACTIVE:
            return Change()
        self.space.fail(job, reason, error=error)
        return self._change(release_page(self.space, PAGE))

    @step
    def promote_job(self, job_id: str) -> Change:
        self.space.make_waiting(self._delayed(job_id, "promote"))
        return self._change()

    @step
    def change_delay(self, job_id: str, delay_ms: int) -> Change:
        job = self._delayed(job_id, "change the delay of")
        if delay_ms:
            self.space.make_delayed(job, self.space.now() + delay_ms)
        else:
            self.space.make_waiting(job)
        return self._change()

    def _delayed(self, job_id: str, operation: str) -> Job:
        job = self._in_state(job_id, State.DELAYED, operation)
        if job.vacant:
            raise InvalidJobState(job_id, "never sent", operation, ["delayed"])
        return job

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
        chosen = list(islice((job for job in old if _suits(job, action, mark)), limit + 1))
        left, chosen = len(chosen) > limit, chosen[:limit]
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
        return replace(change, affected=tuple(job.new.id for job in chosen), cursor=cursor if left else "")

    def _in_order(self, queue: str, state: State) -> list[str]:
        ids = list(self.space.queues[queue].ids[state])
        if state is State.WAITING:
            ids.sort(key=lambda one: self.space.jobs[one].new.priority)
        elif state is State.DELAYED:
            ids.sort(key=lambda one: self.space.jobs[one].due_ms)
        return ids

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
        self.space.delete_by_hand(job)
        self.space.tell(job.new.queue, "removed", job)
        return self._change(release_page(self.space, PAGE))
