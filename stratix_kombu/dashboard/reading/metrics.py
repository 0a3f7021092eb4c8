"""What happened in a queue over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratix_kombu.model.metrics import Period, Tally

if TYPE_CHECKING:
    from stratix_kombu.application import Application


@dataclass(frozen=True, slots=True)
class Span:
    """A time that is shown: minutes of a day, or hours of a month."""

    label: str
    together: int
    """How many of them are one bar."""
    minutes: int = 0
    hours: int = 0


SPANS = {
    "1h": Span("1 hour", 1, minutes=60),
    "6h": Span("6 hours", 5, minutes=360),
    "24h": Span("24 hours", 20, minutes=1440),
    "7d": Span("7 days", 3, hours=168),
    "31d": Span("31 days", 12, hours=744),
}


NAMED_SPANS = {"24h": Span("24 hours", 1, hours=24), "7d": Span("7 days", 3, hours=168)}
"""Of the attempts at jobs of one name, which are counted by the hour."""


def metric_names(app: Application, queue: str) -> list[str]:
    """Names of jobs that are counted by themselves."""
    return app.queue.get_queue(queue).get_metric_names()


def periods(app: Application, queue: str, span: Span, job_name: str) -> tuple[list[Period], Period]:
    """What happened in a queue, oldest first, and all of it together."""
    queries = app.queue.engine.store.queries
    tallies = queries.hours(queue, span.hours, job_name) if span.hours else queries.metrics(queue, span.minutes)
    each = 60 if span.hours else 1
    parts = [_sum(tallies[start : start + span.together]) for start in range(0, len(tallies), span.together)]
    return [Period.of(part, span.together * each) for part in parts], Period.of(_sum(parts), len(tallies) * each)


def _sum(tallies: Sequence[Tally]) -> Tally:
    total = Tally(start_ms=tallies[0].start_ms)
    for one in tallies:
        total.add(one)
    return total
