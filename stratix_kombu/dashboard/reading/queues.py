"""Queues: what there is in them, and what has happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratix_kombu.dashboard.texts import duration
from stratix_kombu.model.metrics import Period
from stratix_kombu.model.record import Limit, QueueStatus
from stratix_kombu.model.shown import Shown

if TYPE_CHECKING:
    from stratix_kombu.application import Application

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


def queue_rows(app: Application, visible: Callable[[str], bool]) -> list[QueueRow]:
    """All queues that may be seen, sorted by name: one call to the store."""
    return [
        QueueRow(
            name=one.name,
            paused=one.paused,
            counts=counts_of(one),
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
        counts=counts_of(status),
        workers=status.workers,
        oldest_waiting_ms=status.oldest_waiting_ms,
        recent=metrics.total,
        completed=tuple(minute.completed for minute in metrics.minutes),
        failed=tuple(minute.failed for minute in metrics.minutes),
        held_ms=queue.get_rate_limit_ttl(),
        limiter=Limiter.of(limit),
        concurrency=concurrency,
    )


def counts_of(status: QueueStatus) -> dict[str, int]:
    """Jobs by state; that the queue is paused is said elsewhere."""
    counts = dict(status.counts)
    counts["waiting"] += counts.pop("paused", 0)
    return counts
