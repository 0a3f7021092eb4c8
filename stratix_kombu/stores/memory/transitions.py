"""The life of a job in memory: every method is one step under the namespace's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from stratix_kombu.model.letter import NO_FALLBACK, Fallback
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import (
    ANY_CLAIM,
    KEEP_ALL,
    LETTER,
    MAX_REASON_BYTES,
    Change,
    Claim,
    Claimed,
    Completion,
    Failure,
    HandOver,
    Held,
    Limit,
    NewJob,
    Refused,
)
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.model.text import bounded
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.memory.adding import Adding
from stratix_kombu.stores.memory.limits import limited
from stratix_kombu.stores.memory.metrics import count, count_attempt
from stratix_kombu.stores.memory.release import release_page
from stratix_kombu.stores.memory.running import Running
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import step
from stratix_kombu.stores.memory.upkeep import Upkeep

End = TypeVar("End", Completion, Failure, HandOver)


def _fall_back(job: Job, given: Fallback) -> None:
    said: dict[str, Any] = {}
    if given.dead_letter and not job.new.dead_letter:
        said["dead_letter"] = given.dead_letter
    if job.new.kind == LETTER:
        kept = {"keep_completed": given.keep_completed, "keep_failed": given.keep_failed}
        said.update((name, keep) for name, keep in kept.items() if keep != KEEP_ALL)
    if said:
        job.new = replace(job.new, **said)


class MemoryTransitions(Adding, Running, Upkeep):
    # -- running --------------------------------------------------------------------------------

    @step
    def claim(
        self, queue: str, ids: Sequence[str], worker: str, lease_ms: int, limit: Limit | None = None,
        global_concurrency: int = 0, *, request: str = "", fallback: Fallback = NO_FALLBACK,
    ) -> Claimed:  # fmt: skip
        claimed, request = Claimed(), request or new_request()
        space = self.space.queues[queue]
        limit = space.limit or limit
        most = global_concurrency if space.global_concurrency is None else space.global_concurrency
        for place, job_id in enumerate(ids):
            token = f"{request}:{place}"
            job = self._held(job_id, token)
            if job is not None and job.new.queue == queue:  # asked again: the answer was lost
                claimed.claims.append(self._claim(job, lease_ms))
                continue
            job = self.space.jobs.get(job_id)
            answer = self._refuse(queue, job_id, job, most) or limited(self.space, self._job(job_id), limit)
            if isinstance(answer, Refused):
                claimed.refused.append(answer)
                if answer.why is Refusal.LIMITED:
                    space.counted.count(self.space.now(), "limited")
            else:
                job = self._job(job_id)
                self._start(job, worker, token, answer)
                _fall_back(job, fallback)
                claimed.claims.append(self._claim(job, lease_ms))
        return claimed

    def _refuse(self, queue: str, job_id: str, job: Job | None, global_concurrency: int) -> Refused | None:
        space = self.space.queues[queue]
        if job is None or job.new.queue != queue:
            return Refused(job_id, Refusal.GONE)
        if job.state is not State.WAITING:
            return Refused(job_id, Refusal.NOT_WAITING)
        if space.paused:
            space.parked[job_id] = None
            return Refused(job_id, Refusal.PAUSED)
        if global_concurrency and len(space.ids[State.ACTIVE]) >= global_concurrency:
            space.crowd[job_id] = None
            return Refused(job_id, Refusal.CROWDED)
        return None

    def _start(self, job: Job, worker: str, token: str, at: int) -> None:
        queue = self.space.queues[job.new.queue]
        if job.dispatches == 1:
            priority = job.new.priority
            queue.claimed_ms[priority] = max(queue.claimed_ms.get(priority, 0), job.dispatched_ms)
        queue.parked.pop(job.new.id, None)
        queue.crowd.pop(job.new.id, None)
        job.waited_ms = max(at - job.waiting_ms, 0)
        job.attempts_started += 1
        job.token, job.worker, job.processed_ms = token, worker, at
        self.space.move(job, State.ACTIVE)
        self.space.tell(job.new.queue, "active", job)

    def _claim(self, job: Job, lease_ms: int) -> Claim:
        """The claim on an active job, whose lease begins now."""
        now = self.space.now()
        job.lease_ms = max(job.processed_ms, now) + lease_ms
        return Claim(job.token, replace(job.record(), message=""), max(job.processed_ms - now, 0))

    @step
    def complete(self, results: Sequence[Completion]) -> Change:
        return self._end_each(results, self._ending, self._complete_one)

    @step
    def fail(self, failures: Sequence[Failure]) -> Change:
        return self._end_each(failures, self._ending, self._fail_one)

    @step
    def hand_over(self, jobs: Sequence[HandOver]) -> Change:
        return self._end_each(jobs, self._held, self._hand_over_one)

    def _end_each(
        self, ends: Sequence[End], find: Callable[[str, str], Job | None], end: Callable[[Job, End], None]
    ) -> Change:
        """End those attempts whose claim holds."""
        stale, queues = list[str](), dict[str, None]()
        for one in ends:
            job, ended = find(one.job_id, one.token), f"{type(one).__name__}:{one.token}"
            if job is None:
                stale += self._unless_ended(one.job_id, ended)
                continue
            queues[job.new.queue] = None
            if job.state is State.ACTIVE:
                job.token, job.ended = "", "" if one.token == ANY_CLAIM else ended
                job.attempts_made += 1
                count_attempt(self.space, job, isinstance(one, Completion))
            end(job, one)
        return self._release_and_tell(queues, stale)

    def _complete_one(self, job: Job, one: Completion) -> None:
        job.data = one.data or job.data
        self.space.complete(job, one.result)
        self._add_then(one.then)

    def _fail_one(self, job: Job, one: Failure) -> None:
        space = self.space
        reason = bounded(one.reason, MAX_REASON_BYTES)
        if job.cancelled is not None:
            space.fail(job, job.cancelled, one.stacktrace, error=job.cancel_error or one.error)
        elif one.retry_ms is None:
            self._bury(job, reason)
            space.fail(job, reason, one.stacktrace, error=one.error)
            if job.attempts_made >= job.new.max_attempts > 1:
                space.tell(job.new.queue, "retries_exhausted", job)
        else:
            count(space, job, "retried")
            job.failed_reason, job.stacktrace = reason, one.stacktrace or None
            if one.retry_ms:
                space.make_delayed(job, space.now() + one.retry_ms)
            else:
                space.make_waiting(job)
        self._add_then(one.then)

    def _hand_over_one(self, job: Job, one: HandOver) -> None:
        if self._end_cancelled(job):
            return
        if one.reason:
            count(self.space, job, "retried")
        job.failed_reason = bounded(one.reason, MAX_REASON_BYTES) or None
        job.stacktrace = one.stacktrace or None
        job.vacant = True
        self.space.move(job, State.BLOCKED)
        self._add_then(one.then)
        if job is self.space.jobs.get(one.job_id):
            self.space.make_ready(job) if job.pending else self.space.unblock(job)

    def _add_then(self, jobs: Sequence[NewJob]) -> None:
        for new in jobs:
            self._add_one(new)

    @step
    def hand_back(self, held: Sequence[Held]) -> Change:
        stale = list[str]()
        for one in held:
            job, ended = self._held(one.job_id, one.token), f"{type(one).__name__}:{one.token}"
            if job is None:
                stale += self._unless_ended(one.job_id, ended)
            else:
                job.token, job.ended = "", ended
                job.attempts_started -= 1
                self._back(job)
        return self._change(release_page(self.space, PAGE), stale)

    @step
    def release(self, limit: int = PAGE) -> Change:
        return self._change(release_page(self.space, limit))
