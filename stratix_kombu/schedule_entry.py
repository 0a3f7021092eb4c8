"""One schedule of ``app.schedule``, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from stratix_kombu.foreign import REPEATABLE
from stratix_kombu.model.instant import date_of
from stratix_kombu.model.recurrence import Recurrence
from stratix_kombu.model.shown import Shown

Handler = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo(Shown):
    """A schedule as ``list`` shows it."""

    _foreign: ClassVar[Mapping[str, str]] = REPEATABLE

    id: str
    name: str
    cron: str | None
    timezone: str | None
    every: int | None
    """Milliseconds."""
    limit: int | None
    once: bool
    paused: bool
    next_run: datetime | None
    """None when it has ended."""
    runs: int
    """Of this process."""
    failures: int
    """Runs that raised, SystemExit and CancelledError too."""
    skipped: int
    """Slots that were skipped because the last run was still in progress."""


@dataclass(slots=True)
class Entry:
    id: str
    name: str
    rule: Recurrence
    handler: Handler
    once: bool
    next_ms: int | None
    paused: bool = False
    runs: int = 0
    elsewhere: int = 0
    """Runs of other processes that are known here; they count towards the limit."""
    failures: int = 0
    skipped: int = 0
    running: bool = field(default=False)
    unzoned: bool = False
    """It is a cron rule without a zone, and has not been given the application's yet."""

    @property
    def ended(self) -> bool:
        return bool(self.rule.limit) and self.runs + self.elsewhere >= self.rule.limit

    def set_next(self, now: int) -> None:
        """Its next slot after an instant, if its limit allows one."""
        self.next_ms = None if self.ended else self.rule.next_after(now)


def info_of(entry: Entry) -> ScheduleInfo:
    rule = entry.rule
    next_run = None
    if entry.next_ms is not None:
        next_run = date_of(entry.next_ms)
    return ScheduleInfo(
        id=entry.id,
        name=entry.name,
        cron=rule.cron or None,
        timezone=rule.timezone if rule.cron else None,
        every=rule.every_ms or None,
        limit=rule.limit or None,
        once=entry.once,
        paused=entry.paused,
        next_run=next_run,
        runs=entry.runs,
        failures=entry.failures,
        skipped=entry.skipped,
    )
