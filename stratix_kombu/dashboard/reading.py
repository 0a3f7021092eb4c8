"""What the pages show of queues and jobs: all that the dashboard reads is read here. The fields are what programs are
given as JSON, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any, cast

from stratix_kombu.dashboard.filters import Which
from stratix_kombu.dashboard.texts import duration
from stratix_kombu.lifecycle.redrive import letter_of
from stratix_kombu.model.finding import Pattern, common_reason, error_of
from stratix_kombu.model.metrics import Period, Tally
from stratix_kombu.model.record import JobRecord, Limit, QueueStatus
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.state import State

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.repeatables import RepeatableJob

Letter = tuple[JobRecord, Mapping[str, Any]]
"""A letter, and what it says."""
Edges = dict[str, tuple[str, ...]]
"""Per job: ids of those that it depends on."""
MAX_ID = 255
"""Characters of an id that some job may have."""
PAGE = 50
"""Jobs on a page."""
MINUTES = 60
"""Of the small charts."""


def now_ms() -> int:
    """For how long ago something was: the clock of this process."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Limiter(Shown):
    """A rate limit: so many starts in any window, or a bucket of tokens that is refilled."""

    max: int
    duration_ms: int
    refill_per_s: float = 0.0

    @classmethod
    def of(cls, limit: Limit | None) -> Limiter | None:
        return None if limit is None else cls(limit.max, limit.duration_ms, limit.refill_per_s)

    def __str__(self) -> str:
        if self.refill_per_s:
            return f"{self.max}, refilled at {self.refill_per_s:g}/s"
        return f"{self.max} in {duration(self.duration_ms)}"


@dataclass(frozen=True, slots=True)
class QueueRow(Shown):
    """A queue, in one line."""

    name: str
    paused: bool
    counts: dict[str, int]
    """Jobs in each state; those of a paused queue that wait count as waiting."""
    workers: int
    oldest_waiting_ms: int | None
    recent: Period
    """What happened in the last minutes: waits, runs and how jobs ended."""
    completed: tuple[int, ...] = ()
    """Jobs that completed in each minute of the last hour, oldest first."""
    failed: tuple[int, ...] = ()
    held_ms: int = 0
    """For how long no job may start yet, since a handler or somebody said so."""
    limiter: Limiter | None = None
    """The limiter that was set at run time."""
    concurrency: int | None = None
    """The bound of active jobs that was set at run time."""


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
class JobsFound(Shown):
    """A page of jobs."""

    jobs: list[JobRow] = field(default_factory=list)
    cursor: str = ""
    """Where the next page begins; '' after the last one."""
    looked: int = 0
    """How many jobs were looked at for it."""


def queue_rows(app: Application, visible: Callable[[str], bool]) -> list[QueueRow]:
    """All queues that may be seen, sorted by name: one call to the store."""
    return [
        QueueRow(
            name=one.name,
            paused=one.paused,
            counts=_counts(one),
            workers=one.workers,
            oldest_waiting_ms=one.oldest_waiting_ms,
            recent=one.recent,
            completed=one.completed,
            failed=one.failed,
            held_ms=one.held_ms,
            limiter=Limiter.of(one.limit),
            concurrency=one.global_concurrency,
        )
        for one in app.queue.get_overview(MINUTES)
        if visible(one.name)
    ]


def queue_row(app: Application, name: str) -> QueueRow:
    """One queue; its times are those of the last hour."""
    queue, queries = app.queue.get_queue(name), app.queue.engine.store.queries
    status, metrics, (limit, concurrency) = queue.get_status(), queue.get_metrics(MINUTES), queries.bounds(name)
    return QueueRow(
        name=name,
        paused=status.paused,
        counts=_counts(status),
        workers=status.workers,
        oldest_waiting_ms=status.oldest_waiting_ms,
        recent=metrics.total,
        completed=tuple(minute.completed for minute in metrics.minutes),
        failed=tuple(minute.failed for minute in metrics.minutes),
        held_ms=queue.get_rate_limit_ttl(),
        limiter=Limiter.of(limit),
        concurrency=concurrency,
    )


def _counts(status: QueueStatus) -> dict[str, int]:
    """Jobs by state; that the queue is paused is said elsewhere."""
    counts = dict(status.counts)
    counts["waiting"] += counts.pop("paused", 0)
    return counts


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


def attempts(job: Job) -> list[dict[str, Any]]:
    """Each attempt that the store knows of, oldest first."""
    if not job.attempts_started:
        return []
    ended = job.finished_on if job.state in ("completed", "failed") else None
    last = {"number": job.attempts_started, "started_on": job.processed_on, "finished_on": ended, "worker": job.worker}
    return [{**last, "outcome": job.state, "reason": job.failed_reason}]


def neighbours(app: Application, job: Job, most: int) -> tuple[list[Job], list[Job]]:
    """The jobs that it depends on, and those that depend on it, as far as they have a record: no more than ``most`` of
    each."""
    queries = app.queue.engine.store.queries
    before, after = list(queries.dependencies(job.id))[:most], list(queries.dependents(job.id))[:most]
    known = {record.id: record for record in queries.get([*before, *after]) if record is not None}
    made = {one: app.queue.get_queue(record.queue).handle(record) for one, record in known.items()}
    return [made[one] for one in before if one in made], [made[one] for one in after if one in made]


@dataclass(frozen=True, slots=True)
class ScheduleRow(Shown):
    """A repeatable job. Instants are milliseconds since the epoch."""

    key: str
    queue: str
    name: str
    cron: str | None
    timezone: str | None
    every: int | None
    """Milliseconds."""
    limit: int | None
    runs: int
    next_run: int | None
    """None when it has ended."""
    paused: bool


@dataclass(frozen=True, slots=True)
class ScheduleRun(Shown):
    """One run of a repeatable job, and how it ended."""

    job: str
    added_on: int
    state: str | None
    """None if it was removed by hand."""
    finished_on: int | None


@dataclass(frozen=True, slots=True)
class BeatRow(Shown):
    """An entry of Celery beat."""

    name: str
    task: str
    queue: str
    rule: str
    runs: int
    next_run: int | None


def schedule_row(one: RepeatableJob) -> ScheduleRow:
    """A repeatable job as a list shows it."""
    return ScheduleRow(
        key=one.key,
        queue=one.queue_name,
        name=one.name,
        cron=one.cron,
        timezone=one.timezone,
        every=one.every,
        limit=one.limit,
        runs=one.runs,
        next_run=round(one.next_run.timestamp() * 1000) if one.next_run else None,
        paused=one.paused,
    )


def beat_rows(app: Application) -> list[BeatRow]:
    """The entries of a beat that uses our scheduler, sorted by name."""
    kept = (one for one in app.queue.engine.store.schedules.all() if one.owner == "beat")
    rows = [
        BeatRow(one.key.removeprefix("beat:"), one.name, one.queue, one.rule.strip("<>"), one.runs, one.next_ms or None)
        for one in kept
    ]
    return sorted(rows, key=lambda row: row.name)


def runs(app: Application, one: RepeatableJob) -> list[ScheduleRun]:
    """The last runs of a repeatable job, newest first."""
    found = app.queue.get_queue(one.queue_name).get_schedule_runs(one.key)
    return [
        ScheduleRun(run.job_id, run.added_on, "cancelled" if run.was_cancelled else run.state, run.finished_on)
        for run in found
    ]


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
class Reason(Shown):
    """Failures for one reason."""

    reason: str
    error: str
    """The class of the error."""
    count: int
    newest_job: str
    newest_on: int


@dataclass(frozen=True, slots=True)
class Count:
    """How many jobs are meant."""

    count: int
    exact: bool


def count(app: Application, queue: str, which: Which) -> Count:
    """How many jobs are meant; with a filter, as far as one call looks."""
    if not which.narrow:
        return Count(_counts(app.queue.get_queue(queue).get_status())[which.state], True)
    found = app.queue.get_queue(queue).count_jobs(cast("Any", which.state), **which.options(now_ms()))
    return Count(found.count, found.exact)


def letters(app: Application, queue: str, cursor: str, limit: int) -> tuple[list[Letter], str]:
    """Some of the letters of a queue, oldest first; where the next ones begin."""
    records, cursor = app.queue.engine.store.queries.scan(queue, State.WAITING, cursor, limit)
    return [(record, letter) for record in records if (letter := letter_of(record.data)) is not None], cursor


def has_letters(app: Application, queue: str) -> bool:
    """Whether the first waiting job is a letter."""
    return bool(app.queue.get_queue(queue).get_dead_letters(0, 0))


def is_letter(letter: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    """Whether a letter is meant."""
    return (
        Pattern(f"*{given.get('reason', '')}*").matches(letter["reason"] or "")
        and given.get("name") in (None, letter["name"])
        and given.get("from") in (None, letter["queue"])
    )


def letter_reasons(app: Application, queue: str) -> list[Reason]:
    """Why the jobs failed that the first thousand letters tell of, the most frequent reason first."""
    found, _ = letters(app, queue, "", 1_000)
    groups: dict[str, list[Letter]] = {}
    for record, letter in found:
        groups.setdefault(common_reason(letter["reason"] or ""), []).append((record, letter))
    reasons = []
    for reason, those in groups.items():
        newest, _ = max(those, key=lambda one: one[0].created_ms)
        reasons.append(Reason(reason, error_of(reason), len(those), newest.id, newest.created_ms))
    return sorted(reasons, key=lambda one: (-one.count, one.reason))


def metric_names(app: Application, queue: str) -> list[str]:
    """Names of jobs that are counted by themselves."""
    return []


def periods(app: Application, queue: str, span: str, job_name: str) -> tuple[list[Period], Period]:
    """What happened in a queue, oldest first, and all of it together."""
    minutes, together = {"1h": (60, 1), "6h": (360, 5), "24h": (1440, 20)}[span]
    tallies = app.queue.engine.store.queries.metrics(queue, minutes)
    parts = [_sum(tallies[start : start + together]) for start in range(0, len(tallies), together)]
    return [Period.of(part, together) for part in parts], Period.of(_sum(parts), minutes)


def _sum(tallies: Sequence[Tally]) -> Tally:
    total = Tally(start_ms=tallies[0].start_ms)
    for one in tallies:
        total.add(one)
    return total
