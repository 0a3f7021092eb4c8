"""Adding jobs and edges, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stratix_kombu.errors import DependencyCycle, DependencyNotFound, JobAlreadyStarted, JobIdTaken
from stratix_kombu.model.letter import letter_for
from stratix_kombu.model.record import Added, Change, Deduplication, NewJob, Placed
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import PAGE, check_ids
from stratix_kombu.stores.memory.graph import Edge, Outcome
from stratix_kombu.stores.memory.release import outcome_of, reason_of, release_page
from stratix_kombu.stores.memory.state import Holder, Job
from stratix_kombu.stores.memory.steps import Steps, step

_KEPT = (
    "created_ms",
    "processed_ms",
    "attempts_made",
    "attempts_started",
    "stalled_count",
    "ended",
    "worker",
    "progress",
    "failed_reason",
    "stacktrace",
    "attempts",
    "logs",
    "logged",
)
"""What a job keeps when another message takes its place."""
_KEPT_OPTIONS = ("limit", "dead_letter", "deduplication")


class Adding(Steps):
    @step
    def add(self, jobs: Sequence[NewJob]) -> Added:
        space = self.space
        check_ids(jobs)
        named = set[str]()
        for job in jobs:
            for dependency in job.dependencies:
                if not any(one in named or one in space.jobs for one in (job.id, dependency)):
                    raise DependencyNotFound(job.id, dependency)
            named.add(job.id)
        for job in jobs:
            there = space.jobs.get(job.id)
            gives_way = there is not None and (there.is_open or (job.anew and there.state.finished))
            if there and there.new.queue != job.queue and not (job.vacant or gives_way):
                raise JobIdTaken(job.id, there.new.queue)
        first = space.numbers + 1
        space.numbers += len(jobs)
        placed = tuple(self._add_one(new, number) for number, new in enumerate(jobs, first))
        refused = [new.id for new, one in zip(jobs, placed, strict=True) if one is None]
        deduplicated = {one for one, _ in space.instead}
        duplicates = frozenset(one for one in refused if one not in deduplicated)
        more = release_page(space, PAGE)
        return Added(placed, duplicates, tuple(space.ready), more, tuple(space.instead))

    @step
    def redrive(self, letter_id: str, number: int, job: NewJob) -> Added | None:
        letter = self.space.jobs.get(letter_id)
        if letter is None or letter.number != number or letter.state not in (State.WAITING, State.DELAYED):
            return None
        self.space.numbers += 1
        placed = self._add_one(job, self.space.numbers)
        if placed is None:
            return None
        self.space.delete_by_hand(letter)
        self.space.tell(letter.new.queue, "removed", letter)
        more = release_page(self.space, PAGE)
        return Added((placed,), ready=tuple(self.space.ready), more=more)

    def _add_one(self, new: NewJob, number: int = 0) -> Placed | None:
        space, now = self.space, self.space.now()
        known = space.jobs.get(new.id)
        if known is not None and new.anew and known.state.finished:
            space.delete_by_hand(known)
            space.tell(known.new.queue, "removed", known)
            known = None
        takes_over = known is not None and known.is_open and not new.vacant
        if known is not None and not takes_over:
            if not new.vacant:
                space.tell(known.new.queue, "duplicated", known)
            return None
        if known:
            number = known.number
        elif not number:
            space.numbers += 1
            number = space.numbers
        if new.deduplication and not self._is_first(new, new.deduplication, number):
            return None
        space.stand_ins.pop(new.id, None)
        if space.stand_ins:
            new = replace(new, dependencies=self._dependencies_of(new))
        due_ms = max(new.due_ms, now + new.delay_ms if new.delay_ms else 0)
        due_ms = due_ms if due_ms > now else 0
        job = Job(new, State.WAITING, now, number, due_ms=due_ms, data=new.data, vacant=new.vacant)
        if known is not None:
            self._take_over(job, known)
        else:
            space.set_aside(new.id)
        space.jobs[new.id] = job
        failed_by = ""
        for dependency in dict.fromkeys(new.dependencies):
            outcome = self._add_edge(job, dependency)
            if outcome and outcome.state != "completed" and not new.optional:
                failed_by = failed_by or dependency
        space.join_flow(new.id, number, new.dependencies, known is None)
        if failed_by:
            outcome = outcome_of(space, failed_by) or Outcome("removed")
            space.fail(job, reason_of(failed_by, outcome), "", failed_by, outcome.result)
        else:
            space.make_ready(job)
        placed = Placed(job.state, job.created_ms, number, job.due_ms, job.pending)
        self._carry(new.carries, new.id)
        return placed

    def _is_first(self, new: NewJob, given: Deduplication, number: int) -> bool:
        space, now, key = self.space, self.space.now(), (new.queue, given.id)
        until_ms = now + given.ttl_ms if given.ttl_ms else 0
        held = space.deduplicated.get(key)
        if held and (held.until_ms > now or not held.until_ms):
            holder = space.jobs.get(held.job_id)
            holder = holder if holder and holder.number == held.number else None
            if not (given.replace and holder and holder.state is State.DELAYED):
                if given.extend and until_ms and held.until_ms:
                    space.deduplicated[key] = replace(held, until_ms=until_ms)
                space.instead.append((new.id, held.job_id))
                if holder or held.job_id not in space.jobs:
                    space.stand_ins[new.id] = held.job_id
                if holder:
                    space.tell(new.queue, "duplicated", holder)
                return False
            space.delete_by_hand(holder)
            space.tell(new.queue, "removed", holder)
            space.stand_ins[held.job_id] = new.id
        space.deduplicated[key] = Holder(new.id, number, until_ms)
        return True

    def _dependencies_of(self, new: NewJob) -> tuple[str, ...]:
        """With those that hold the deduplication ids of others in place of them."""
        found = []
        for dependency in new.dependencies:
            one = dependency
            while one in self.space.stand_ins:
                one = self.space.stand_ins[one]
            found.append(dependency if one == new.id else one)
        return tuple(found)

    def _bury(self, job: Job, reason: str) -> None:
        if not job.new.dead_letter:
            return
        letter = letter_for(job.record(), job.new, reason)
        if letter is not None and self._add_one(letter) is not None:
            self.space.jobs[letter.id].failed_reason = reason

    def _take_over(self, job: Job, vacant: Job) -> None:
        self.space.forget_edges(vacant.new.id, vacant.dependencies)
        self.space.queues[vacant.new.queue].ids[vacant.state].pop(job.new.id, None)
        for kept in _KEPT:
            setattr(job, kept, getattr(vacant, kept))
        options = {one: getattr(job.new, one) or getattr(vacant.new, one) for one in _KEPT_OPTIONS}
        job.new = replace(job.new, **options)

    def _carry(self, ids: Sequence[str], carrier: str) -> None:
        """The vacant ones depend on the carrier, up to the first that depends on the one before it."""
        before = ""
        for carried in ids:
            vacant = self.space.jobs.get(carried)
            if vacant is None or not vacant.is_open:
                before = ""
                continue
            if before and before in vacant.dependencies:
                return
            before = carried
            if carrier not in vacant.dependencies:
                outcome = self._add_edge(vacant, carrier)
                self.space.join_flow(carried, vacant.number, [carrier])
                if outcome and not vacant.new.optional:
                    self.space.fail(vacant, reason_of(carrier, outcome), "", carrier, outcome.result)

    def _add_edge(self, job: Job, dependency: str) -> Outcome | None:
        space, outcome = self.space, outcome_of(self.space, dependency)
        number = outcome.number if outcome else space.jobs[dependency].number
        job.dependencies[dependency] = Edge(number, outcome.state if outcome else "")
        job.pending += outcome is None
        if dependency in space.jobs or dependency in space.outcomes:
            space.dependents[dependency][job.new.id] = outcome is not None
        return outcome

    @step
    def add_dependency(self, job_id: str, *dependency_ids: str) -> Change:
        space, job = self.space, self._not_started(job_id)
        for one in dependency_ids:
            if one not in space.jobs:
                raise DependencyNotFound(job_id, one)
            if self._waits_for(one, job_id):
                raise DependencyCycle(job_id, one)
        new = [one for one in dict.fromkeys(dependency_ids) if one not in job.dependencies]
        outcomes = [(one, self._add_edge(job, one)) for one in new]
        space.join_flow(job_id, job.number, new)
        failed = [(one, how) for one, how in outcomes if how and how.state != "completed" and not job.new.optional]
        if failed:
            one, how = failed[0]
            space.fail(job, reason_of(one, how), "", one, how.result)
        elif new and job.pending and job.state is not State.BLOCKED:
            space.make_ready(job)
        return self._change(release_page(space, PAGE))

    @step
    def remove_dependency(self, job_id: str, dependency_id: str) -> Change:
        job = self._not_started(job_id)
        if dependency_id not in job.dependencies:
            raise DependencyNotFound(job_id, dependency_id)
        edge = job.dependencies.pop(dependency_id)
        job.pending -= not edge.state
        self.space.forget_edge(job_id, dependency_id, edge.number)
        if not job.dependencies.items():
            self.space.roots.pop(job_id, None)
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
                edges = job.dependencies.items()
                pending.extend(
                    one for one, edge in edges if not edge.state and self.space.place_of(one, edge.number) == one
                )
        return False
