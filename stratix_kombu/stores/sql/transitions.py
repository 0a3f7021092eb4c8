"""The life of a job over tables: the moves of the memory store, on pages of what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stratix_kombu.model.claims import Taken
from stratix_kombu.model.record import Added, Change, Claim, Completion, NewJob
from stratix_kombu.model.state import Action, Refusal, State, Sweep
from stratix_kombu.stores.contract import PAGE, UNUSED_MS
from stratix_kombu.stores.memory.release import release_page
from stratix_kombu.stores.memory.reopening import reopen
from stratix_kombu.stores.memory.state import Job
from stratix_kombu.stores.memory.steps import step
from stratix_kombu.stores.memory.taking import Call
from stratix_kombu.stores.memory.transitions import MemoryTransitions
from stratix_kombu.stores.memory.upkeep import fall_due, suits
from stratix_kombu.stores.sql.database import Read
from stratix_kombu.stores.sql.edges import SOME_EDGES, SOME_OUTCOMES, SOME_WORK
from stratix_kombu.stores.sql.jobs import ASKED_AT_ONCE, Jobs
from stratix_kombu.stores.sql.listing import page_of
from stratix_kombu.stores.sql.order import TOOK
from stratix_kombu.stores.sql.queues import ONE as QUEUE
from stratix_kombu.stores.sql.space import SqlSpace
from stratix_kombu.stores.sql.unused import forget, forget_unused

AHEAD = 100
"""So many of the next jobs are read at once, while they are small and no other process writes."""
_CYCLE = """
WITH RECURSIVE before (id) AS (
  SELECT id FROM jobs WHERE id = ?
  UNION
  SELECT edges.dependency FROM edges JOIN before ON edges.dependent = before.id
  WHERE edges.state = ''
    AND NOT EXISTS (SELECT 1 FROM outcomes WHERE number = edges.dependency_number AND name <> edges.dependency)
)
SELECT 1 FROM before WHERE id = ?
"""
_DOUBLED = "CASE WHEN dispatches > 40 THEN 39 WHEN dispatches > 0 THEN dispatches - 1 ELSE 0 END"
_NATIVE = (
    "state = 'waiting' AND native = 1 AND queue = ? AND priority = ? "
    f"AND dispatched_ms + ? * (CAST(1 AS BIGINT) << CAST({_DOUBLED} AS INTEGER)) <= ? ORDER BY dispatched_as LIMIT ?"
)


def _named(jobs: Sequence[NewJob]) -> list[str]:
    """Of each job that is named it is asked whether it is there."""
    return list(dict.fromkeys(one for job in jobs for one in (job.id, *job.dependencies, *job.carries)))


def _is_plain(job: NewJob) -> bool:
    """Whether a row is inserted for it where its id is not taken, and nothing else depends on that."""
    return not (job.deduplication or job.dependencies)


def _graph() -> list[Read]:
    """Whether there are edges at all, and what is to be released."""
    return [(SOME_EDGES, ()), (SOME_OUTCOMES, ()), (SOME_WORK, ("releasing",)), (SOME_WORK, ("reviving",))]


class SqlTransitions(MemoryTransitions):
    """What looks at more than single jobs asks for a page of them."""

    space: SqlSpace

    def _waits_for(self, job_id: str, target: str) -> bool:
        return self.space.db.one(_CYCLE, job_id, target) is not None

    @step
    def log(self, job_id: str, line: str, keep: int) -> int:
        job = self._job(job_id)
        job.logged += 1
        db = self.space.db
        db.put("INSERT INTO logs (number, place, line) VALUES (?, ?, ?)", job.number, job.logged, line)
        db.put("DELETE FROM logs WHERE number = ? AND place <= ?", job.number, job.logged - keep)
        first = db.one("SELECT min(place) FROM logs WHERE number = ?", job.number)
        return 0 if first is None or first[0] is None else job.logged - int(first[0]) + 1

    def add(self, jobs: Sequence[NewJob]) -> Added:
        named = _named(jobs)
        queues = list(dict.fromkeys(job.queue for job in jobs))[:ASKED_AT_ONCE]
        self.space.db.ahead(Jobs.asked(named), [*_graph(), *((QUEUE, (queue,)) for queue in queues)])
        return self._add(jobs)

    @step
    def _add(self, jobs: Sequence[NewJob]) -> Added:
        if self.space.db.presumes:
            self.space.jobs.presume_new(job.id for job in jobs if _is_plain(job))
        self.space.jobs.look_ahead(_named(jobs))
        return super().add(jobs)

    def complete(self, results: Sequence[Completion]) -> Change:
        self.space.db.ahead([], [*Jobs.asked([one.job_id for one in results]), *_graph()])
        return self._complete(results)

    @step
    def _complete(self, results: Sequence[Completion]) -> Change:
        self.space.jobs.look_ahead([result.job_id for result in results])
        return super().complete(results)

    def _take(self, call: Call, want: int) -> tuple[list[Claim], Refusal | None, int, bool]:
        keys = self.space.queues[call.queue].order.jobs
        if keys:
            self.space.look_ahead([key[2] for key in keys[:want]], [key[2] for key in keys[: max(want, AHEAD)]])
        return super()._take(call, want)

    def take(self, queue: str, worker: str, *args: Any, **kwargs: Any) -> Taken:
        self.space.db.ahead([], [(TOOK, (queue, worker)), (QUEUE, (queue,))])
        return super().take(queue, worker, *args, **kwargs)

    def complete_and_take(
        self, results: Sequence[Completion], queue: str, worker: str, *args: Any, **kwargs: Any
    ) -> tuple[Change, Taken]:
        ended = Jobs.asked([one.job_id for one in results])
        self.space.db.ahead([], [(TOOK, (queue, worker)), (QUEUE, (queue,)), *ended, *_graph()])
        with self.space.lock:  # one transaction
            return super().complete_and_take(results, queue, worker, *args, **kwargs)

    # -- the clock ------------------------------------------------------------------------------

    @step
    def promote(self, limit: int = PAGE) -> tuple[Change, int | None]:
        space, now = self.space, self.space.now()
        for job in space.jobs.load("state = 'delayed' AND due_ms <= ? ORDER BY due_ms, delayed_as LIMIT ?", now, limit):
            fall_due(space, job)
        for queue in space.opened(limit):
            if space.ready.number < limit:
                reopen(space, queue, limit - space.ready.number)
        first = space.next_due()
        more = release_page(space, PAGE) or (first is not None and first <= now)
        return self._change(more), None if first is None else max(first - now, 0)

    def _stalled(self, limit: int) -> list[Job]:
        space, now = self.space, self.space.now()
        forget_unused(space)
        if space.present.drop_old(now - UNUSED_MS):
            space.queues.forget_answers()
        return space.jobs.load("state = 'active' AND lease_ms <= ? ORDER BY lease_ms, number LIMIT ?", now, limit)  # type: ignore[no-any-return]

    def _native(self, queue: str, grace_ms: int, limit: int) -> list[Job]:
        jobs, now = self.space.jobs, self.space.now()
        priorities = self.space.native_priorities(queue)
        return [job for priority in priorities for job in jobs.load(_NATIVE, queue, priority, grace_ms, now, limit)]

    @step
    def expire(self, limit: int = PAGE) -> Change:
        space, now = self.space, self.space.now()
        old = space.jobs.load("expires_ms <= ? ORDER BY expires_ms, id LIMIT ?", now, limit)
        for job in old:
            space.retire(job)
        return Change(affected=tuple(job.new.id for job in old), more=len(old) == limit)

    # -- by hand --------------------------------------------------------------------------------

    @step
    def each(
        self, queue: str, action: Action, ids: Sequence[str], state: State | None = None, reason: str = ""
    ) -> Change:
        self.space.jobs.look_ahead(ids)
        return super().each(queue, action, ids, state, reason)

    @step
    def sweep(
        self, queue: str, action: Sweep, state: State, older_ms: int = 0, limit: int = PAGE, cursor: str = ""
    ) -> Change:
        space = self.space
        if not cursor:
            space.sweeps += 1
            cursor = f"{space.now() - older_ms} {space.sweeps} "
        before, mark, after = cursor.split(" ", 2)
        page, after = page_of(space.db, queue, state, after, limit)
        jobs = [space.jobs[one] for one in page]
        old = [job for job in jobs if (job.finished_ms or job.created_ms) <= int(before)]
        change = self._sweep(queue, action, [job for job in old if suits(job, action, int(mark))], int(mark))
        return replace(change, cursor=f"{before} {mark} {after}" if after else "")

    @step
    def forget_queue(self, queue: str) -> bool:
        if any(self.space.queues[queue].ids.values()):
            return False
        forget(self.space, queue)
        return True
