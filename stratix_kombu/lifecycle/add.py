"""Add jobs: new -> waiting, delayed or blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from stratix_kombu.errors import JobAlreadyStarted, JobError, JobIdTaken, JobNotFound, StratixError
from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.middleware import add_within
from stratix_kombu.model.names import gate_id, new_id
from stratix_kombu.model.record import ANY_CLAIM, GATE, KEEP_NONE, Added, Change, Completion, JobRecord, NewJob, Placed
from stratix_kombu.model.state import State

ONE_STEP = 1_000
"""So many jobs and dependencies are added in one step. More that belong together are added in pages, behind a gate."""
GATE_MS = 600_000
"""A gate that its process does not open in this time has failed, and what is behind it."""


GONE = Placed(State.COMPLETED, 0, 0)
"""Where a job is that was not added, as long as nothing is known."""


def pages(jobs: Sequence[NewJob]) -> Iterator[list[NewJob]]:
    """In order, as many together as one step adds; a job that has more dependencies than that is alone."""
    page: list[NewJob] = []
    weight = 0
    for job in jobs:
        more = 1 + len(job.dependencies)
        if page and weight + more > ONE_STEP:
            yield page
            page, weight = [], 0
        page.append(job)
        weight += more
    if page:
        yield page


def add(engine: Engine, jobs: Sequence[NewJob], meanwhile: Callable[[], object] | None = None) -> Added:
    """Add all of the jobs or none, and dispatch those that are ready; within the middleware of the application.

    None of them starts before all are there, and none stays if one cannot be added. What is too much for one step goes
    page by page; meanwhile its jobs depend on a gate, which opens at the end. A process that dies before leaves a gate
    that fails, and with it what is behind it.

    ``meanwhile`` is called while a store adds them, if they are few enough for one step.
    """
    if engine.middleware.add:
        return add_within(engine, jobs, lambda: _add_all(engine, jobs, meanwhile))
    return _add_all(engine, jobs, meanwhile)


def add_recorded(engine: Engine, jobs: Sequence[NewJob]) -> list[JobRecord]:
    """``add``, and ``records_of`` what was added; most of the records are made while the store is at it."""
    records: list[JobRecord] = []

    def make() -> None:
        records[:] = map(record_of, jobs)

    added = add(engine, jobs, make)
    return _place(engine, jobs, records or [*map(record_of, jobs)], added.placed, added.instead)


def _add_all(engine: Engine, jobs: Sequence[NewJob], meanwhile: Callable[[], object] | None) -> Added:
    weight = len(jobs)
    for job in jobs:
        weight += len(job.dependencies)
    if weight <= ONE_STEP:
        return _add(engine, jobs, meanwhile)
    gate = NewJob(
        id=gate_id(new_id()),
        queue=jobs[0].queue,
        name="stratix.gate",
        kind=GATE,
        vacant=True,
        delay_ms=GATE_MS,
        keep_completed=KEEP_NONE,
        keep_failed=KEEP_NONE,
    )
    _add(engine, [gate])
    behind = _Behind(engine, gate.id)
    try:
        for page in pages(jobs):
            behind.add(page)
    except StratixError:
        for job_id in (*reversed(behind.added), gate.id):
            with suppress(JobError):
                dispatch_change(engine, engine.store.transitions.remove(job_id))
        raise
    dispatch_change(engine, engine.store.transitions.complete([Completion(gate.id, ANY_CLAIM, "null")]))
    return Added(tuple(behind.now_placed(jobs)), frozenset(behind.duplicates), instead=tuple(behind.instead))


def add_as_taken(engine: Engine, job: NewJob) -> None:
    """Add a job whose message has been taken from the broker already: it is not sent, but is about to be claimed."""
    engine.check_open("add jobs")
    added = engine.store.transitions.add([job])
    others = tuple(one for one in added.ready if one.id != job.id)
    if others or added.more:
        dispatch_change(engine, Change(ready=others, more=added.more))


def check_free(engine: Engine, jobs: Sequence[NewJob]) -> None:
    """Raise JobIdTaken if one of the ids is that of another queue's job: before the first of several steps."""
    for start in range(0, len(jobs), ONE_STEP):
        some = jobs[start : start + ONE_STEP]
        for job, record in zip(some, engine.store.queries.get([job.id for job in some]), strict=True):
            if record is not None and record.queue != job.queue and not record.vacant:
                raise JobIdTaken(job.id, record.queue)


def _add(engine: Engine, jobs: Sequence[NewJob], meanwhile: Callable[[], object] | None = None) -> Added:
    engine.check_open("add jobs")
    transitions = engine.store.transitions
    added = transitions.add(jobs) if meanwhile is None else transitions.add_meanwhile(jobs, meanwhile)
    if added.ready or added.more:
        dispatch_change(engine, Change(ready=added.ready, more=added.more))
    return added


@dataclass(slots=True)
class _Behind:
    """Jobs that are added behind a gate."""

    engine: Engine
    gate: str
    placed: list[Placed | None] = field(default_factory=list)
    added: dict[str, None] = field(default_factory=dict)
    duplicates: set[str] = field(default_factory=set)
    instead: list[tuple[str, str]] = field(default_factory=list)

    def add(self, page: Sequence[NewJob]) -> None:
        rest: tuple[str, ...] = ()
        if there := dict(self.instead):
            page = [replace(job, dependencies=tuple(there.get(one, one) for one in job.dependencies)) for job in page]
        if len(page) == 1:  # it may be one that has too many dependencies
            first, rest = page[0].dependencies[: ONE_STEP - 2], page[0].dependencies[ONE_STEP - 2 :]
            page = [replace(page[0], dependencies=first)]
        coming = {job.id for job in page if not job.deduplication}
        answer = _add(self.engine, [self._kept(job, coming) for job in page])
        self.placed += answer.placed
        self.duplicates |= answer.duplicates
        self.instead += answer.instead
        new = [job.id for job, place in zip(page, answer.placed, strict=True) if place is not None]
        self.added.update(dict.fromkeys(new))
        if new and rest:
            with suppress(JobAlreadyStarted, JobNotFound):  # one of them has failed, and the job because of it
                for start in range(0, len(rest), ONE_STEP):
                    some = rest[start : start + ONE_STEP]
                    dispatch_change(self.engine, self.engine.store.transitions.add_dependency(new[0], *some))

    def _kept(self, job: NewJob, coming: set[str]) -> NewJob:
        """A job that waits for one that is behind the gate is kept by that; a vacant one does not run."""
        if job.vacant or any(dependency in self.added or dependency in coming for dependency in job.dependencies):
            return job
        return replace(job, dependencies=(*job.dependencies, self.gate))

    def now_placed(self, jobs: Sequence[NewJob]) -> Iterator[Placed | None]:
        """Where the jobs are, now that the gate is open."""
        states = self.engine.store.queries.states([job.id for job in jobs])
        for place, state in zip(self.placed, states, strict=True):
            yield replace(place, state=state) if place and state else place


def records_of(
    engine: Engine, jobs: Sequence[NewJob], placed: Sequence[Placed | None], instead: Sequence[tuple[str, str]] = ()
) -> list[JobRecord]:
    """The jobs as the store has placed them. What it did not add, or what has ended at once, is read, also what is
    there ``instead`` of it; if that is gone already, the record says what it was to be."""
    return _place(engine, jobs, [*map(record_of, jobs)], placed, instead)


def _place(
    engine: Engine,
    jobs: Sequence[NewJob],
    records: list[JobRecord],
    placed: Sequence[Placed | None],
    instead: Sequence[tuple[str, str]],
) -> list[JobRecord]:
    waiting = State.WAITING
    unclear: list[int] = []
    for at, (record, place) in enumerate(zip(records, placed, strict=True)):
        if place is not None:
            record.state, record.created_ms, record.number = place.state, place.created_ms, place.number
            record.due_ms, record.pending = place.due_ms, place.pending
        if place is None or (place.state is not waiting and place.state.finished):
            unclear.append(at)
    if unclear:
        holders = dict(instead)
        ids = [holders.get(jobs[at].id, jobs[at].id) for at in unclear]
        for at, job_id, there in zip(unclear, ids, engine.store.queries.get(ids), strict=True):
            if there is not None and there.queue == jobs[at].queue:
                records[at] = there
            else:
                records[at] = replace(records[at], id=job_id)
    return records


def record_of(new: NewJob, placed: Placed = GONE) -> JobRecord:
    """A job that was just added, without reading it back."""
    return JobRecord(
        id=new.id,
        queue=new.queue,
        name=new.name,
        data=new.data,
        options=new.options,
        state=placed.state,
        priority=new.priority,
        created_ms=placed.created_ms,
        due_ms=placed.due_ms,
        processed_ms=0,
        finished_ms=0,
        attempts_made=0,
        attempts_started=0,
        max_attempts=new.max_attempts,
        stalled_count=0,
        pending=placed.pending,
        optional=new.optional,
        worker="",
        progress=None,
        result=None,
        failed_reason=None,
        stacktrace=None,
        message=new.message,
        vacant=new.vacant,
        number=placed.number,
        kind=new.kind,
    )
