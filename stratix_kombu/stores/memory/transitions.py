"""The life of a job in memory: every method is one step under the namespace's lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from stratix_kombu.errors import (
    DependencyCycle,
    DependencyNotFound,
    JobAlreadyStarted,
)
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import (
    ANY_CLAIM,
    MAX_REASON_BYTES,
    Added,
    Change,
    Claim,
    Claimed,
    Completion,
    Deduplication,
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
from stratix_kombu.stores.memory.limits import limited
from stratix_kombu.stores.memory.metrics import count, count_attempt
from stratix_kombu.stores.memory.release import outcome_of, reason_of, release_page
from stratix_kombu.stores.memory.running import Running
from stratix_kombu.stores.memory.state import Job, Outcome
from stratix_kombu.stores.memory.steps import step
from stratix_kombu.stores.memory.upkeep import Upkeep

_KEPT = (
    "created_ms", "processed_ms", "attempts_made", "attempts_started", "stalled_count", "ended", "worker", "progress",
    "failed_reason", "stacktrace", "logs",
)  # fmt: skip
"""What a job keeps when another message takes its place."""
_KEPT_OPTIONS = ("limit", "dead_letter", "deduplication")

End = TypeVar("End", Completion, Failure, HandOver)


class MemoryTransitions(Running, Upkeep):
    # -- adding ---------------------------------------------------------------------------------

    @step
    def add(self, jobs: Sequence[NewJob]) -> Added:
        space = self.space
        known = set(space.jobs)
        for job in jobs:
            for dependency in job.dependencies:
                if job.id not in known and dependency not in known:
                    raise DependencyNotFound(job.id, dependency)
            known.add(job.id)
        space.instead.clear()
        refused = [new.id for new in jobs if not self._add_one(new)]
        deduplicated = {one for one, _ in space.instead}
        duplicates = frozenset(one for one in refused if one not in deduplicated)
        more = release_page(space, PAGE)
        return Added(duplicates, tuple(space.ready), more, tuple(space.instead))

    def _add_one(self, new: NewJob) -> bool:
        space, now = self.space, self.space.now()
        known = space.jobs.get(new.id)
        takes_over = known is not None and space.is_open(known) and not new.vacant
        if known is not None and not takes_over:
            if not new.vacant:
                space.tell(known.new.queue, "duplicated", known)
            return False
        if new.deduplication and not self._is_first(new, new.deduplication):
            return False
        due_ms = max(new.due_ms, now + new.delay_ms if new.delay_ms else 0)
        job = Job(new, State.WAITING, now, due_ms=due_ms if due_ms > now else 0, data=new.data, vacant=new.vacant)
        if known is not None:
            self._take_over(job, known)
        space.jobs[new.id] = job
        failed_by = ""
        for dependency in dict.fromkeys(new.dependencies):
            outcome = self._add_edge(job, dependency)
            if outcome and outcome.state != "completed" and not new.optional:
                failed_by = failed_by or dependency
        if failed_by:
            outcome = outcome_of(space, failed_by) or Outcome("removed")
            space.fail(job, reason_of(failed_by, outcome), "", failed_by, outcome.result)
        else:
            space.make_ready(job)
        for carried in new.carries:
            self._carry(carried, new.id)
        return True

    def _is_first(self, new: NewJob, given: Deduplication) -> bool:
        space, now, key = self.space, self.space.now(), (new.queue, given.id)
        until_ms = now + given.ttl_ms if given.ttl_ms else 0
        holder_id, held_ms = space.deduplicated.get(key, ("", 0))
        holder = space.jobs.get(holder_id)
        if holder_id and (held_ms > now or not held_ms):
            if not (given.replace and holder and holder.state is State.DELAYED):
                if given.extend and until_ms:
                    space.deduplicated[key] = (holder_id, until_ms)
                space.instead.append((new.id, holder_id))
                if holder:
                    space.tell(new.queue, "duplicated", holder)
                return False
            space.delete(holder)
            space.tell(new.queue, "removed", holder)
        space.deduplicated[key] = (new.id, until_ms)
        return True

    def _bury(self, job: Job, reason: str) -> None:
        if job.new.dead_letter:
            letter = {
                "id": job.new.id, "queue": job.new.queue, "name": job.new.name, "data": json.loads(job.data),
                "options": job.new.options, "reason": reason, "attempts": job.attempts_made,
                "max_attempts": job.new.max_attempts,
            }  # fmt: skip
            job_id = f"{job.new.id}.dead.{job.attempts_started}"
            text = json.dumps(letter, separators=(",", ":"), ensure_ascii=False)
            self._add_one(NewJob(id=job_id, queue=job.new.dead_letter, name=job.new.name, data=text))

    def _take_over(self, job: Job, vacant: Job) -> None:
        for dependency in vacant.dependencies:
            self.space.forget_edge(job.new.id, dependency)
        self.space.queues[vacant.new.queue].ids[vacant.state].pop(job.new.id, None)
        for kept in _KEPT:
            setattr(job, kept, getattr(vacant, kept))
        options = {one: getattr(job.new, one) or getattr(vacant.new, one) for one in _KEPT_OPTIONS}
        job.new = replace(job.new, **options)

    def _carry(self, carried: str, carrier: str) -> None:
        vacant = self.space.jobs.get(carried)
        if vacant is None or not self.space.is_open(vacant):
            return
        if carrier not in vacant.dependencies:
            outcome = self._add_edge(vacant, carrier)
            if outcome and not vacant.new.optional:
                self.space.fail(vacant, reason_of(carrier, outcome), "", carrier, outcome.result)

    def _add_edge(self, job: Job, dependency: str) -> Outcome | None:
        outcome = outcome_of(self.space, dependency)
        job.dependencies[dependency] = outcome.state if outcome else ""
        job.pending += outcome is None
        self.space.dependents[dependency][job.new.id] = outcome is not None
        return outcome

    @step
    def add_dependency(self, job_id: str, dependency_id: str) -> Change:
        space, job = self.space, self._not_started(job_id)
        if dependency_id not in space.jobs:
            raise DependencyNotFound(job_id, dependency_id)
        if self._waits_for(dependency_id, job_id):
            raise DependencyCycle(job_id, dependency_id)
        if dependency_id in job.dependencies:
            return Change()
        outcome = self._add_edge(job, dependency_id)
        if outcome is None and job.state is not State.BLOCKED:
            space.make_ready(job)
        elif outcome and outcome.state != "completed" and not job.new.optional:
            space.fail(job, reason_of(dependency_id, outcome), "", dependency_id, outcome.result)
        return self._change(release_page(space, PAGE))

    @step
    def remove_dependency(self, job_id: str, dependency_id: str) -> Change:
        job = self._not_started(job_id)
        if dependency_id not in job.dependencies:
            raise DependencyNotFound(job_id, dependency_id)
        job.pending -= job.dependencies.pop(dependency_id) == ""
        self.space.forget_edge(job_id, dependency_id)
        if job.state is State.BLOCKED and not job.pending:
            self.space.unblock(job)
        return self._change(release_page(self.space, PAGE))

    def _not_started(self, job_id: str) -> Job:
        job = self._job(job_id)
        if job.state is State.ACTIVE or job.state.finished:
            raise JobAlreadyStarted(job_id, job.state.value)
        return job

    def _waits_for(self, job_id: str, target: str) -> bool:
        seen, pending = set[str](), [job_id]
        while pending:
            current = pending.pop()
            if current == target:
                return True
            job = self.space.jobs.get(current)
            if job is not None and current not in seen:
                seen.add(current)
                pending.extend(d for d, state in job.dependencies.items() if state == "")
        return False

    # -- running --------------------------------------------------------------------------------

    @step
    def claim(
        self, queue: str, ids: Sequence[str], worker: str, lease_ms: int, limit: Limit | None = None,
        global_concurrency: int = 0, *, request: str = "",
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
