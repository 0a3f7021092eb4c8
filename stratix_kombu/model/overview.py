"""What a page of all queues shows of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stratix_kombu.model.metrics import Period, Tally
from stratix_kombu.model.record import Limit, QueueStatus

QUEUES_AT_ONCE = 200
"""The most queues that one call to the store answers."""
RECENT_MINUTES = 5
"""The minutes of ``QueueOverview.recent``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOverview(QueueStatus):
    """A queue at one instant, and its last minutes."""

    completed: tuple[int, ...]
    """How many jobs completed in each of the last minutes, oldest first; the current one is the last."""
    failed: tuple[int, ...]
    """How many failed in each; not those that were cancelled."""
    recent: Period
    """What happened in the last ``RECENT_MINUTES``, with percentiles of waits and runs."""
    held_ms: int = 0
    """For how long ``hold`` lets no job start; 0 = it does not."""
    limit: Limit | None = None
    """The limiter that was set for the queue at run time; None = that of its workers' options applies."""
    global_concurrency: int | None = None
    """The bound of active jobs that was set for the queue at run time; None = that of its workers' options applies."""


def recent_of(tallies: Sequence[Tally]) -> Period:
    """The last ``RECENT_MINUTES`` of these minutes together, of which the oldest is the first."""
    last = tallies[-RECENT_MINUTES:]
    total = Tally(start_ms=last[0].start_ms)
    for one in last:
        total.add(one)
    return Period.of(total, len(last))


def shown_minutes(tallies: Sequence[Tally]) -> tuple[tuple[int, ...], tuple[int, ...], Period]:
    """``completed``, ``failed`` and ``recent`` of the last minutes, oldest first."""
    completed, failed = tuple(one.completed for one in tallies), tuple(one.failed for one in tallies)
    return completed, failed, recent_of(tallies)
