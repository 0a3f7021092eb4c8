"""Reading the memory store."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import fields
from itertools import chain
from typing import Any

from stratix_kombu.model.attempts import Attempt, attempts_of
from stratix_kombu.model.dependency import Dependency
from stratix_kombu.model.finding import ALL_JOBS, LOOKED_AT_ONCE, FailureHead, JobFilter, Page, heads
from stratix_kombu.model.metrics import Tally, Totals
from stratix_kombu.model.overview import QUEUES_AT_ONCE, QueueOverview, shown_minutes
from stratix_kombu.model.record import GATE, Ended, Held, JobRecord, Limit, QueueStatus, WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.model.workers import Led, WorkerProcess, process_of
from stratix_kombu.stores.contract import FOUND_AT_ONCE, PAGE, Queries
from stratix_kombu.stores.memory.finding import looked_at, page_of
from stratix_kombu.stores.memory.graph import Edge, Outcome
from stratix_kombu.stores.memory.limits import free_at
from stratix_kombu.stores.memory.order import waiting_ids
from stratix_kombu.stores.memory.release import outcome_of
from stratix_kombu.stores.memory.state import QueueSpace, Space, is_kept


class MemoryQueries(Queries):
    def __init__(self, space: Space) -> None:
        self._space = space

    def now(self) -> int:
        return self._space.now()

    def get(self, ids: Sequence[str]) -> list[JobRecord | None]:
        with self._space.lock:
            found = [self._space.jobs.get(job_id) for job_id in ids]
            return [job.record() if job else None for job in found]

    def ended(self, ids: Sequence[str]) -> list[Ended | None]:
        with self._space.lock:
            found = (self._space.ended.get(job_id, (None, ""))[0] for job_id in ids)
            return [one if one and is_kept(one, self._space.now()) else None for one in found]

    def find(self, queue: str, states: Sequence[State], start: int = 0, end: int = -1) -> list[JobRecord]:
        with self._space.lock:
            space = self._space.queues.get(queue)
            if space is None:
                return []
            ids = list(chain.from_iterable(self._ordered(space, state) for state in states))
            return [self._space.jobs[job_id].record() for job_id in _inclusive(ids, start, end)[:FOUND_AT_ONCE]]

    def scan(self, queue: str, state: State, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        """The cursor names those that are still to come."""
        with self._space.lock:
            space = self._space.queues.get(queue) or QueueSpace()
            if cursor:
                ids = [job_id for job_id in json.loads(cursor) if job_id in space.ids[state]]
            else:
                ids = self._ordered(space, state, aside_first=True)[:: -1 if state.finished else 1]
            records = [self._space.jobs[job_id].record() for job_id in ids[:limit]]
            return records, json.dumps(ids[limit:]) if ids[limit:] else ""

    def page(self, queue: str, state: State, where: JobFilter = ALL_JOBS, cursor: str = "", limit: int = PAGE) -> Page:
        with self._space.lock:
            ids = self._ordered(self._space.queues.get(queue) or QueueSpace(), state)
            return page_of((self._space.jobs[job_id] for job_id in ids), where, cursor, limit)

    def failures(
        self, queue: str, letters: bool = False, cursor: str = "", limit: int = LOOKED_AT_ONCE
    ) -> tuple[list[FailureHead], str, int]:
        with self._space.lock:
            page = self.page(queue, State.WAITING if letters else State.FAILED, ALL_JOBS, cursor, limit)
            found = [looked_at(self._space.jobs[record.id]) for record in page.records]
            return heads(found, letters), page.cursor, page.looked

    def states(self, ids: Sequence[str]) -> list[State | None]:
        with self._space.lock:
            found = [self._space.jobs.get(job_id) for job_id in ids]
            return [job.state if job else None for job in found]

    def _ordered(self, space: QueueSpace, state: State, *, aside_first: bool = False) -> list[str]:
        jobs = [self._space.jobs[job_id] for job_id in space.ids[state]]
        if state is State.WAITING:
            return waiting_ids(jobs, aside_first)
        if state is State.DELAYED:
            jobs.sort(key=lambda one: (one.due_ms, one.delayed_as))
        return [job.new.id for job in (jobs[::-1] if state.finished else jobs)]

    def status(self, queue: str) -> QueueStatus:
        with self._space.lock:
            space = self._space.queues.get(queue) or QueueSpace()
            counts = {state.value: len(ids) for state, ids in space.ids.items()}
            counts["paused"] = 0
            if space.paused:
                counts["paused"], counts["waiting"] = counts["waiting"], 0
            first = dict[tuple[int, bool, bool], tuple[Any, int]]()
            for job in (self._space.jobs[i] for i in space.ids[State.WAITING]):
                part = job.new.priority, job.new.native, bool(job.line)
                stands = (job.dispatched_as if job.new.native else job.key), job.waiting_ms
                first[part] = min(first.get(part, stands), stands)
            oldest = self._space.now() - min(since for _, since in first.values()) if first else None
            due = min((self._space.jobs[i].due_ms for i in space.ids[State.DELAYED]), default=self._space.now())
            return QueueStatus(
                name=queue,
                paused=space.paused,
                counts=counts,
                workers=len(self.workers(queue)),
                oldest_waiting_ms=oldest,
                overdue_ms=max(self._space.now() - due, 0),
            )

    def overview(
        self, after: str = "", limit: int = QUEUES_AT_ONCE, minutes: int = 60
    ) -> tuple[list[QueueOverview], str]:
        with self._space.lock:
            names = [name for name in self.queues() if name > after]
            page = [self._shown(name, minutes) for name in names[:limit]]
            return page, names[limit - 1] if names[limit:] else ""

    def _shown(self, queue: str, minutes: int) -> QueueOverview:
        space, status = self._space.queues[queue], self.status(queue)
        completed, failed, recent = shown_minutes(self.metrics(queue, minutes))
        return QueueOverview(
            **{field.name: getattr(status, field.name) for field in fields(status)},
            completed=completed,
            failed=failed,
            recent=recent,
            held_ms=max(space.held_ms - self._space.now(), 0),
            limit=space.limit,
            global_concurrency=space.global_concurrency,
        )

    def metrics(self, queue: str, minutes: int) -> list[Tally]:
        with self._space.lock:
            space = self._space.queues.get(queue) or QueueSpace()
            return deepcopy(space.counted.last(self._space.now(), minutes))

    def hours(self, queue: str, hours: int, name: str = "") -> list[Tally]:
        with self._space.lock:
            space = self._space.queues.get(queue) or QueueSpace()
            return deepcopy(space.counted.last_hours(self._space.now(), hours, name))

    def names(self, queue: str) -> list[str]:
        with self._space.lock:
            return (self._space.queues.get(queue) or QueueSpace()).counted.names

    def totals(self, queue: str) -> Totals:
        with self._space.lock:
            return deepcopy((self._space.queues.get(queue) or QueueSpace()).counted.totals)

    def limit_ttl(self, queue: str, limit: Limit | None = None) -> int:
        with self._space.lock:
            now, space = self._space.now(), self._space.queues[queue]
            limit = space.limit or limit
            free = free_at(self._space, limit) if limit else 0
            return max(free, space.held_ms, now) - now

    def bounds(self, queue: str) -> tuple[Limit | None, int | None]:
        with self._space.lock:
            space = self._space.queues.get(queue) or QueueSpace()
            return space.limit, space.global_concurrency

    def queues(self) -> list[str]:
        with self._space.lock:
            return sorted(name for name, space in self._space.queues.items() if space.known)

    def late_queues(self, waited_ms: int) -> list[str]:
        with self._space.lock:
            waits = {queue: self.status(queue).oldest_waiting_ms for queue in list(self._space.queues)}
            late = [one for one, oldest in waits.items() if oldest is not None and oldest >= waited_ms]
            return sorted(one for one in late if not self._space.queues[one].paused)

    def workers(self, queue: str) -> list[WorkerInfo]:
        with self._space.lock:
            space = self._space.queues.get(queue) or QueueSpace()
            now = self._space.now()
            known = ((self._space.present.get(one.id), one) for one in space.workers.values())
            present = (found.at(now, one) for found, one in known if found is not None and found.until_ms > now)
            return sorted(present, key=lambda worker: worker.id)

    def processes(self, after: str = "", limit: int = PAGE) -> tuple[list[WorkerProcess], str]:
        with self._space.lock:
            present: dict[str, list[WorkerInfo]] = {}
            for queue in list(self._space.queues):
                for one in self.workers(queue):
                    present.setdefault(one.id, []).append(one)
            led, names = self._led(), sorted(name for name in present if name > after)
            page = [process_of(present[name], led) for name in names[:limit]]
            return page, names[limit - 1] if names[limit:] else ""

    def _led(self) -> Led:
        now, leader = self._space.now(), self._space.leader
        due = [job.due_ms for job in self._space.jobs.values() if job.state is State.DELAYED]
        return Led(now, leader.clock if leader.until_ms > now else "", min(due, default=None))

    def held(self, queue: str, worker: str) -> list[Held]:
        with self._space.lock:
            space = self._space.queues.get(queue) or QueueSpace()
            active = (self._space.jobs[job_id] for job_id in space.ids[State.ACTIVE])
            return [Held(job.new.id, job.token) for job in active if job.worker == worker]

    def attempts(self, job_id: str) -> list[Attempt] | None:
        with self._space.lock:
            job = self._space.jobs.get(job_id)
            return attempts_of(job.record(), self._space.attempts.of(job)) if job else None

    def logs(self, job_id: str, start: int = 0, end: int = -1) -> list[str]:
        with self._space.lock:
            job = self._space.jobs.get(job_id)
            return _inclusive(job.logs, start, end) if job else []

    def logs_after(self, job_id: str, number: int) -> tuple[list[str], int]:
        with self._space.lock:
            job = self._space.jobs.get(job_id)
            if job is None:
                return [], 0
            wanted = min(max(job.logged - number, 0), len(job.logs))
            return job.logs[len(job.logs) - wanted :], job.logged

    def depends_on(self, job_id: str) -> dict[str, Dependency]:
        with self._space.lock:
            job = self._space.jobs.get(job_id)
            found = {one: self._at_end(one, edge) for one, edge in job.dependencies.items()} if job else {}
            return {one: _known(end) for one, end in found.items() if not end.gate}

    def _at_end(self, job_id: str, edge: Edge) -> Outcome:
        """What to return about the job at the other end of an edge, finished or not."""
        job = self._space.jobs.get(job_id)
        if job is not None and job.number == edge.number:
            return Outcome(job.state.value, job.result, gate=job.new.kind == GATE, finished_ms=job.finished_ms)
        name = self._space.place_of(job_id, edge.number)
        return Outcome("removed") if name in self._space.jobs else outcome_of(self._space, name) or Outcome("removed")

    def dependents(self, job_id: str) -> list[str]:
        with self._space.lock:
            return sorted(self._space.dependents.get(job_id, ()))

    def edges(self, ids: Sequence[str]) -> list[tuple[list[str], list[str]]]:
        with self._space.lock:
            return [(self._before(job_id), self.dependents(job_id)) for job_id in ids]

    def _before(self, job_id: str) -> list[str]:
        jobs = self._space.jobs
        edges = jobs[job_id].dependencies.items() if job_id in jobs else ()
        there = ((one, edge, jobs.get(one)) for one, edge in edges)
        return [one for one, edge, job in there if not job or (job.number == edge.number and job.new.kind != GATE)]

    def roots(self, cursor: str = "", limit: int = PAGE) -> tuple[list[JobRecord], str]:
        with self._space.lock:
            before = int(cursor) if cursor else math.inf
            found = sorted((-number, job_id) for job_id, number in self._space.roots.items() if number < before)[:limit]
            records = [self._space.jobs[job_id].record() for _, job_id in found]
            return records, str(-found[-1][0]) if len(found) == limit else ""


def _known(end: Outcome) -> Dependency:
    state = None if end.state == "removed" else State(end.state)
    return Dependency(state, end.result if state is State.COMPLETED else None, end.finished_ms)


def _inclusive(items: list[str], start: int, end: int) -> list[str]:
    start = max(start + len(items), 0) if start < 0 else start
    end = end + len(items) if end < 0 else end
    return items[start : end + 1]
