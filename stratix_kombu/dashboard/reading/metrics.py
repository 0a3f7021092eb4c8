"""What happened in a queue over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stratix_kombu.model.metrics import Period, Tally

if TYPE_CHECKING:
    from stratix_kombu.application import Application


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
