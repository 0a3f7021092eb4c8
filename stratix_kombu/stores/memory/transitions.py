"""The life of a job in memory: every method is one step under the namespace's lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from stratix_kombu.model.record import ANY_CLAIM, MAX_REASON_BYTES, Change, Completion, Failure, HandOver, Held, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.model.text import bounded
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.memory.adding import Adding
from stratix_kombu.stores.memory.attempts import keep_attempt
from stratix_kombu.stores.memory.metrics import count, count_attempt
from stratix_kombu.stores.memory.release import release_page
from stratix_kombu.stores.memory.running import Running
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import step
from stratix_kombu.stores.memory.taking import Taking
from stratix_kombu.stores.memory.upkeep import Upkeep

End = TypeVar("End", Completion, Failure, HandOver)


class MemoryTransitions(Adding, Taking, Running, Upkeep):
    # -- running --------------------------------------------------------------------------------

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
        if one.message:  # once it has left its lists, which is by the message that it had
            job.new = replace(job.new, message=one.message)
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
            keep_attempt(space, job, "failed", reason, one.stacktrace)
            job.failed_reason, job.stacktrace = reason, one.stacktrace or None
            if one.retry_ms:
                space.make_delayed(job, space.now() + one.retry_ms)
            else:
                space.make_waiting(job)
        self._add_then(one.then)

    def _hand_over_one(self, job: Job, one: HandOver) -> None:
        if self._end_cancelled(job):
            return
        keep_attempt(self.space, job, "failed" if one.reason else "continued", one.reason, one.stacktrace)
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
        for claim in held:
            job, ended = self._held(claim.job_id, claim.token), f"{type(claim).__name__}:{claim.token}"
            if job is None:
                stale += self._unless_ended(claim.job_id, ended)
            else:
                job.token, job.ended = "", ended
                job.attempts_started -= 1
                self._back(job, again=True)
        return self._change(release_page(self.space, PAGE), stale)

    @step
    def release(self, limit: int = PAGE) -> Change:
        return self._change(release_page(self.space, limit))
