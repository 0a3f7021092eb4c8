"""What the memory store has counted of one queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from stratix_kombu.model.metrics import (
    HOUR_MS,
    KEPT_HOURS,
    KEPT_MINUTES,
    MINUTE_MS,
    NAMED_HOURS,
    NAMES_KEPT,
    OTHER,
    Distribution,
    Tally,
    Totals,
)

if TYPE_CHECKING:
    from stratix_kombu.stores.memory.state import Job, Space


class Counted:
    """The last minutes and hours, and the totals."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._minutes: dict[int, Tally] = {}
        self._hours: dict[int, Tally] = {}
        self._named: dict[str, dict[int, Tally]] = {}
        """Hours by the name of jobs."""

    def count(self, now: int, what: str, times: int = 1) -> None:
        for counts in (self._minute(now), self._hour(now), self.totals):
            setattr(counts, what, getattr(counts, what) + times)

    def attempt(
        self, now: int, waited_ms: int, ran_ms: int, name: str = "", completed: bool = True, *, times: int = 1
    ) -> None:
        """An attempt at a job of that name has ended; ``times``: so many that are alike."""
        runs, named = self.totals.runs, [self._named_hour(now, name)] if name else []
        for period in (self._minute(now), self._hour(now), *named):
            period.wait.observe(waited_ms, times)
            period.run.observe(ran_ms, times)
        for hour in named:
            hour.completed += times if completed else 0
            hour.failed += 0 if completed else times
        self.totals.wait.observe(waited_ms, times)
        if name and completed:
            runs.setdefault(_known(name, runs), Distribution()).observe(ran_ms, times)

    @property
    def names(self) -> list[str]:
        return sorted(self._named)

    def last(self, now: int, minutes: int) -> list[Tally]:
        return _last(self._minutes, now, minutes, MINUTE_MS)

    def last_hours(self, now: int, hours: int, name: str = "") -> list[Tally]:
        return _last(self._named.get(name, {}) if name else self._hours, now, hours, HOUR_MS)

    def _minute(self, now: int) -> Tally:
        return _period(self._minutes, now // MINUTE_MS, KEPT_MINUTES, MINUTE_MS)

    def _hour(self, now: int) -> Tally:
        return _period(self._hours, now // HOUR_MS, KEPT_HOURS, HOUR_MS)

    def _named_hour(self, now: int, name: str) -> Tally:
        periods = self._named.setdefault(_known(name, self._named), {})
        return _period(periods, now // HOUR_MS, NAMED_HOURS, HOUR_MS)


def _known(name: str, names: Mapping[str, object]) -> str:
    """The name, or that of all others."""
    return name if name in names or len(names) - (OTHER in names) < NAMES_KEPT else OTHER


def _last(periods: dict[int, Tally], now: int, count: int, length_ms: int) -> list[Tally]:
    this = now // length_ms
    return [periods.get(one) or Tally(start_ms=one * length_ms) for one in range(this - count + 1, this + 1)]


def _period(periods: dict[int, Tally], number: int, kept: int, length_ms: int) -> Tally:
    if number not in periods:
        for old in [one for one in periods if one <= number - kept]:
            del periods[old]
        periods[number] = Tally(start_ms=number * length_ms)
    return periods[number]


def count(space: Space, job: Job, what: str) -> None:
    """Something has happened to a job."""
    space.queues[job.new.queue].counted.count(space.now(), what)


def count_attempt(space: Space, job: Job, completed: bool) -> None:
    """An attempt at an active job has ended."""
    now, new = space.now(), job.new
    space.queues[new.queue].counted.attempt(now, job.waited_ms, max(now - job.processed_ms, 0), new.name, completed)
