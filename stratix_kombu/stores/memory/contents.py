"""Jobs as they are, for copying them."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import fields, replace

from stratix_kombu.model.record import Deduplication, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract.contents import Contents, KeptEdge, KeptJob, KeptOutcome, KeptQueue
from stratix_kombu.stores.memory.graph import Edge, Outcome
from stratix_kombu.stores.memory.order import Order
from stratix_kombu.stores.memory.state import Holder, Job, QueueSpace
from stratix_kombu.stores.memory.steps import Steps, step

_OWN_FORM = ("new", "logs", "place", "attempts")
_ALIKE = [one.name for one in fields(KeptJob) if one.name in Job.__slots__ and one.name not in _OWN_FORM]


class MemoryContents(Contents, Steps):
    @step
    def queue(self, name: str) -> KeptQueue:
        found = self.space.queues.get(name) or QueueSpace()
        return KeptQueue(found.paused, found.held_ms, found.limit, found.global_concurrency)

    @step
    def read(self, ids: Sequence[str]) -> list[KeptJob]:
        jobs = [self.space.jobs.get(job_id) for job_id in ids]
        return [self._kept(job) for job in jobs if job is not None and job.state is not State.ACTIVE]

    def _kept(self, job: Job) -> KeptJob:
        given = job.new.deduplication
        return KeptJob(
            **{name: getattr(job, name) for name in _ALIKE},
            new=replace(
                _bare(job.new),
                data=job.data,
                vacant=job.vacant,
                deduplication=Deduplication(given.id, int(bool(given.ttl_ms))) if given else None,
            ),
            tied=self._is_tied(job),
            place=job.place if job.state is State.WAITING and not job.new.native else 0,
            holds_until_ms=self._holds_until(job),
            logs=tuple(self._lines(job)),
            attempts=tuple(self.space.attempts.of(job)),
        )

    def _holds_until(self, job: Job) -> int | None:
        given = job.new.deduplication
        holder = self.space.deduplicated.get((job.new.queue, given.id)) if given else None
        return holder.until_ms if holder and holder.number == job.number else None

    def _is_tied(self, job: Job) -> bool:
        return bool(job.dependencies)

    def _lines(self, job: Job) -> list[str]:
        return job.logs

    @step
    def edges(self, job_id: str) -> list[KeptEdge]:
        job = self.space.jobs.get(job_id)
        found = job.dependencies.items() if job is not None else ()
        return [self._edge(dependency, edge) for dependency, edge in found]

    def _edge(self, dependency: str, edge: Edge) -> KeptEdge:
        space = self.space
        place = space.place_of(dependency, edge.number)
        ended = None if place in space.jobs else space.outcomes.get(place)
        outcome = KeptOutcome(ended.state, ended.result, ended.reason, ended.gate) if ended else None
        return KeptEdge(dependency, edge.number, edge.state, place, outcome)

    @step
    def write(self, jobs: Sequence[KeptJob]) -> None:
        for kept in jobs:
            if kept.new.id not in self.space.jobs:
                self._write(kept)

    def _write(self, kept: KeptJob) -> None:
        space, new = self.space, kept.new
        job = Job(
            **{name: getattr(kept, name) for name in _ALIKE},
            new=new,
            data=new.data,
            vacant=new.vacant,
            place=kept.place,
            logs=list(kept.logs),
        )
        space.jobs[new.id] = job
        for one in kept.attempts:
            space.attempts.append(job, one)
        space.numbers = max(space.numbers, job.number)
        queue = space.queues[new.queue]
        queue.known = True
        space.moves += 1
        job.moved_as = space.moves
        queue.ids[job.state][new.id] = None
        if job.state is State.WAITING:
            self._stand(queue.order, job)
        elif job.state is State.DELAYED:
            space.delays += 1
            job.delayed_as = space.delays
            heapq.heappush(space.delayed, (job.due_ms, job.delayed_as, new.id))
            space.leader.wake(job.due_ms)
        elif job.state.finished:
            keep = new.keep_completed if job.state is State.COMPLETED else new.keep_failed
            if keep.age_ms is not None:
                heapq.heappush(space.expiring, (job.finished_ms + keep.age_ms, new.id))
        if new.deduplication and kept.holds_until_ms is not None:
            holder = Holder(new.id, job.number, kept.holds_until_ms)
            space.deduplicated[new.queue, new.deduplication.id] = holder

    def _stand(self, order: Order, job: Job) -> None:
        """In the order, in its place; a native job after those that are there, as if its message was lost."""
        new = job.new
        if new.native:
            self.space.put_off(job)
            job.dispatched_ms, job.dispatches = 0, 1
            return
        priority, place = new.priority, job.place
        if new.group and priority not in order.started:
            first = order.first_place(priority)
            order.started[priority] = (place if first is None else min(first, place)) - 1
        if priority in order.started:
            order.started[priority] = min(order.started[priority], place - 1)
        if new.group:
            order.groups[priority, new.group] = max(order.groups.get((priority, new.group), 0), place)
        order.last[priority] = max(order.last[priority], order.started.get(priority, 0) if new.group else place)
        order.put(job.key)

    @step
    def write_edges(self, job_id: str, edges: Sequence[KeptEdge]) -> None:
        space, job = self.space, self._job(job_id)
        new = [edge for edge in edges if edge.dependency not in job.dependencies]
        for edge in new:
            if edge.outcome is not None:
                ended = edge.outcome
                space.outcomes[edge.place] = Outcome(ended.state, ended.result, ended.reason, edge.number, ended.gate)
            job.dependencies[edge.dependency] = Edge(edge.number, edge.state)
            if edge.place in space.jobs or edge.place in space.outcomes:
                space.dependents[edge.place][job_id] = bool(edge.state)
        space.join_flow(job_id, job.number, [edge.dependency for edge in new if edge.place == edge.dependency])


def _bare(new: NewJob) -> NewJob:
    """Without what is of use only when it is added."""
    return replace(
        new,
        delay_ms=0,
        due_ms=0,
        dependencies=(),
        carries=(),
        anew=False,
        fresh=False,
        group="" if new.native else new.group,
    )
