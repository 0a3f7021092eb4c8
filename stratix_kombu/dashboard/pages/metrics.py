"""What happened in a queue over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from stratix_kombu.dashboard import charts, reading
from stratix_kombu.dashboard.http import Refused
from stratix_kombu.dashboard.pages.queue import known
from stratix_kombu.dashboard.reading import NAMED_SPANS, SPANS
from stratix_kombu.dashboard.site import Page, Visit
from stratix_kombu.model.metrics import Period
from stratix_kombu.model.shown import Shown


@dataclass(frozen=True, slots=True)
class MetricsPage(Shown):
    """A queue over time."""

    queue: str
    name: str
    """Of the jobs; '' for all."""
    names: list[str]
    """Names of jobs that have been counted by themselves."""
    periods: list[Period]
    """Oldest first; the current one is the last."""
    total: Period


def metrics(visit: Visit, name: str) -> Page:
    """How many jobs of a queue completed and failed, and how long they waited and ran: ``span`` is 1h, 6h, 24h, 7d or
    31d. With ``job_name``, attempts at jobs of that name: 24h or 7d."""
    known(visit, name)
    job_name = visit.request.get("job_name")
    spans = NAMED_SPANS if job_name else SPANS
    span = visit.request.get("span", next(iter(spans)))
    if span not in spans:
        raise Refused(400, f"'span' must be one of {', '.join(spans)}")
    names = reading.metric_names(visit.app, name)
    periods, total = reading.periods(visit.app, name, spans[span], job_name)
    page = MetricsPage(name, job_name, names, periods, total)
    shape = "%H:%M" if total.minutes <= 1440 else "%d %b %Hh"
    times = [datetime.fromtimestamp(one.start_ms / 1000, timezone.utc).strftime(shape) for one in periods]
    finished = [
        charts.Series("completed", "ok", [one.completed for one in periods]),
        charts.Series("failed", "bad", [one.failed for one in periods]),
        charts.Series("retried", "other", [one.retried for one in periods]),
    ]
    kinds = {"run": [one.run for one in periods], "wait": [one.wait for one in periods]}
    durations = {
        kind: [
            charts.Series("p50", "p50", [one.p50_ms if one.count else None for one in values]),
            charts.Series("p95", "p95", [one.p95_ms if one.count else None for one in values]),
            charts.Series("p99", "p99", [one.p99_ms if one.count else None for one in values]),
        ]
        for kind, values in kinds.items()
    }
    view = {
        "span": span,
        "spans": {key: one.label for key, one in spans.items()},
        "finished": charts.bars(finished, times, "Jobs that completed, failed and were tried again"),
        "run": charts.lines(durations["run"], times, "How long attempts ran"),
        "wait": charts.lines(durations["wait"], times, "How long jobs waited"),
    }
    return Page("metrics.html", page, view)
