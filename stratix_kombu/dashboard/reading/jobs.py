"""Jobs: found, counted, shown with their attempts and with what they depend on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, cast

from stratix_kombu.dashboard.filters import Which
from stratix_kombu.dashboard.reading.queues import counts_of, now_ms
from stratix_kombu.model.shown import Shown

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job

Edges = dict[str, tuple[str, ...]]
"""Per job: ids of those that it depends on."""
MAX_ID = 255
"""Characters of an id that some job may have."""
PAGE = 50
"""Jobs on a page."""


@dataclass(frozen=True, slots=True)
class JobRow(Shown):
    """A job, in one line. Instants are milliseconds since the epoch."""

    id: str
    name: str
    queue: str
    state: str
    priority: int
    attempts_made: int
    attempts: int
    timestamp: int
    processed_on: int | None
    finished_on: int | None
    progress: Any = None
    reason: str | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow(Shown):
    """One attempt at a job. Instants are milliseconds since the epoch."""

    number: int
    started_on: int
    finished_on: int | None
    worker: str
    outcome: str
    reason: str | None
    error_path: str | None
    """The class of the error, with its module."""
    stacktrace: str | None


def job_of(app: Application, job_id: str) -> Job | None:
    """The job with that id, which may be any that Celery gives to a task."""
    (record,) = app.queue.engine.store.queries.get([job_id]) if 0 < len(job_id) <= MAX_ID else [None]
    return app.queue.get_queue(record.queue).handle(record) if record else None


def job_row(job: Job, reason: str | None = None) -> JobRow:
    """A job as a list shows it; the reason of its failure as it may be shown."""
    return JobRow(
        id=job.id,
        name=job.name,
        queue=job.queue_name,
        state=job.state,
        priority=job.opts["priority"],
        attempts_made=job.attempts_made,
        attempts=job.opts["attempts"],
        timestamp=job.timestamp,
        processed_on=job.processed_on,
        finished_on=job.finished_on,
        progress=job.progress if isinstance(job.progress, (int, float)) else None,
        reason=reason,
        worker=job.worker,
    )


def find(app: Application, queue: str, which: Which, cursor: str, limit: int = PAGE) -> tuple[list[Job], str, int]:
    """A page of the jobs that are meant, where the next one begins, and how many were looked at."""
    found = app.queue.get_queue(queue).find_jobs(cast("Any", which.state), cursor, limit, **which.options(now_ms()))
    return found.jobs, found.cursor, found.looked


def attempts(job: Job) -> list[AttemptRow]:
    """Each attempt that the store knows of, oldest first; nothing of it has been redacted."""
    return [
        AttemptRow(
            number=one.number,
            started_on=one.started_on,
            finished_on=one.finished_on,
            worker=one.worker,
            outcome=one.outcome,
            reason=one.reason,
            error_path=one.error_path,
            stacktrace=one.stacktrace,
        )
        for one in job.get_attempts()
    ]


def neighbours(app: Application, job: Job, most: int) -> tuple[list[Job], list[Job]]:
    """The jobs that it depends on, and those that depend on it, as far as they have a record: no more than ``most`` of
    each."""
    queries = app.queue.engine.store.queries
    before, after = list(queries.dependencies(job.id))[:most], list(queries.dependents(job.id))[:most]
    known = {record.id: record for record in queries.get([*before, *after]) if record is not None}
    made = {one: app.queue.get_queue(record.queue).handle(record) for one, record in known.items()}
    return [made[one] for one in before if one in made], [made[one] for one in after if one in made]


def flow(app: Application, job_id: str, most: int, visible: Callable[[str], bool]) -> tuple[list[Job], Edges, bool]:
    """The jobs around one, dependencies first, with the ids that each depends on; whether these are all. No more than
    ``most`` are looked at."""
    queries = app.queue.engine.store.queries
    graph: dict[str, tuple[str, ...]] = {}
    seen, pending = {job_id: None}, [job_id]
    while pending and len(seen) <= most:
        page, pending = pending[:most], pending[most:]
        for one, (before, after) in zip(page, queries.edges(page), strict=True):
            graph[one] = tuple(before)
            new = [other for other in (*before, *after) if other not in seen]
            seen.update(dict.fromkeys(new))
            pending += new
    ids = list(seen)[:most]
    records = {record.id: record for record in queries.get(ids) if record is not None and visible(record.queue)}
    edges = {one: tuple(before for before in graph.get(one, ()) if before in records) for one in records}
    order = TopologicalSorter(edges).static_order()
    jobs = [app.queue.get_queue(records[one].queue).handle(records[one]) for one in order]
    return jobs, edges, len(seen) <= most


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs are meant."""

    count: int
    exact: bool


def count(app: Application, queue: str, which: Which) -> Count:
    """How many jobs are meant; with a filter, as far as one call looks."""
    if not which.narrow:
        return Count(counts_of(app.queue.get_queue(queue).get_status())[which.state], True)
    found = app.queue.get_queue(queue).count_jobs(cast("Any", which.state), **which.options(now_ms()))
    return Count(found.count, found.exact)


@dataclass(frozen=True, slots=True)
class FlowRow(Shown):
    """A flow, in one line."""

    job: str
    """Its root, the last job to run."""
    name: str
    queue: str
    state: str
    timestamp: int
    counts: dict[str, int]
    """Its jobs by state; ``removed`` are those without a record."""
    total: int
    done: int
    exact: bool
    """Whether all of its jobs were counted."""


def flows(app: Application, cursor: str, limit: int, visible: Callable[[str], bool]) -> tuple[list[FlowRow], str]:
    """Flows whose root may be seen, newest first, and where the next ones begin."""
    page = app.queue.get_flows(cursor, limit)
    rows = [
        FlowRow(
            job=one.job_id,
            name=one.name,
            queue=one.queue,
            state=one.state,
            timestamp=one.created_on,
            counts={state: count for state, count in one.counts.items() if count},
            total=one.total,
            done=one.done,
            exact=one.exact,
        )
        for one in page.flows
        if visible(one.queue)
    ]
    return rows, page.cursor
