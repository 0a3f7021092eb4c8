"""What the memory store has counted of one queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stratix_kombu.model.metrics import KEPT_MINUTES, MINUTE_MS, NAMES_KEPT, OTHER, Distribution, Tally, Totals

if TYPE_CHECKING:
    from stratix_kombu.stores.memory.state import Job, Space


class Counted:
    """The last minutes, and the totals."""

    def __init__(self) -> None:
        self.totals = Totals()
        self._minutes: dict[int, Tally] = {}

    def count(self, now: int, what: str) -> None:
        for counts in (self._minute(now), self.totals):
            setattr(counts, what, getattr(counts, what) + 1)

    def attempt(self, now: int, waited_ms: int, ran_ms: int, completed: str = "") -> None:
        """An attempt has ended; ``completed`` is the name of a job that has."""
        minute, runs = self._minute(now), self.totals.runs
        minute.wait.observe(waited_ms)
        minute.run.observe(ran_ms)
        self.totals.wait.observe(waited_ms)
        if completed:
            known = completed in runs or len(runs) - (OTHER in runs) < NAMES_KEPT
            runs.setdefault(completed if known else OTHER, Distribution()).observe(ran_ms)

    def last(self, now: int, minutes: int) -> list[Tally]:
        this = now // MINUTE_MS
        wanted = range(this - minutes + 1, this + 1)
        return [self._minutes.get(one) or Tally(start_ms=one * MINUTE_MS) for one in wanted]

    def _minute(self, now: int) -> Tally:
        minute = now // MINUTE_MS
        if minute not in self._minutes:
            for old in [one for one in self._minutes if one <= minute - KEPT_MINUTES]:
                del self._minutes[old]
            self._minutes[minute] = Tally(start_ms=minute * MINUTE_MS)
        return self._minutes[minute]


def count(space: Space, job: Job, what: str) -> None:
    """Something has happened to a job."""
    space.queues[job.new.queue].counted.count(space.now(), what)


def count_attempt(space: Space, job: Job, completed: bool) -> None:
    """An attempt at an active job has ended."""
    now, name = space.now(), job.new.name if completed else ""
    space.queues[job.new.queue].counted.attempt(now, job.waited_ms, max(now - job.processed_ms, 0), name)
