"""Repeatable jobs, their runs, and the entries of Celery beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratix_kombu.model.shown import Shown

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.repeatables import RepeatableJob


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
