"""What the pages show of queues and jobs: all that the dashboard reads is read here. The fields are what programs are
given as JSON, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stratix_kombu.dashboard.filters import Which
from stratix_kombu.dashboard.texts import duration
from stratix_kombu.model.metrics import Period
from stratix_kombu.model.record import Limit, QueueStatus
from stratix_kombu.model.shown import Shown

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job

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
    start = int(cursor) if cursor.isdigit() else 0
    found = app.queue.get_queue(queue).get_jobs([which.state], start, start + limit - 1)  # type: ignore[list-item]
    return list(_those(found, which)), str(start + limit) if len(found) == limit else "", len(found)


def _those(jobs: Iterable[Job], which: Which) -> Iterable[Job]:
    for job in jobs:
        if which.name in ("", job.name) and job.id.startswith(which.id) and which.reason in (job.failed_reason or ""):
            yield job


def attempts(job: Job) -> list[dict[str, Any]]:
    """Each attempt that the store knows of, oldest first."""
    if not job.attempts_started:
        return []
    ended = job.finished_on if job.state in ("completed", "failed") else None
    last = {"number": job.attempts_started, "started_on": job.processed_on, "finished_on": ended, "worker": job.worker}
    return [{**last, "outcome": job.state, "reason": job.failed_reason}]
