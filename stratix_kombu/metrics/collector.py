"""What Prometheus scrapes. All of it is read from the store when it is asked for, so it is the same from every process
of the namespace, and one of them is enough to be asked; what is counted goes on over restarts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stratix_kombu.errors import Unavailable
from stratix_kombu.model.metrics import BOUNDS_MS, COUNTS, Distribution

if TYPE_CHECKING:
    from stratix_kombu.model.overview import QueueOverview
    from stratix_kombu.stores.contract import Queries, Store

_MEANING = {
    "completed": "Jobs that completed",
    "failed": "Jobs that failed for good, without those that were cancelled",
    "retried": "Attempts that failed and are made again",
    "stalled": "Attempts whose worker stopped renewing the lease",
    "limited": "Starts that a rate limit refused",
    "cancelled": "Jobs that were cancelled",
}
_LE = [*(str(bound) for bound in BOUNDS_MS), "+Inf"]


class _Queues(Protocol):
    @property
    def store(self) -> Store: ...

    def get_overview(self, minutes: int) -> list[QueueOverview]: ...


class Observed(Protocol):
    """What the metrics need of an ``Application``: the store that it keeps its jobs in."""

    @property
    def queue(self) -> _Queues: ...


class StratixCollector(Collector):
    """A collector for a registry of ``prometheus_client``: all queues of the application's namespace.

    While the store cannot be reached there is only ``stratix_store_up 0``. A registry that has metrics of the same
    names already (``queue_size``, ``job_processing_time``) refuses it, with a ValueError that names them: give it a
    registry of its own, or use ``metrics_app``.

    >>> prometheus_client.REGISTRY.register(StratixCollector(app))  # doctest: +SKIP
    """

    def __init__(self, app: Observed) -> None:
        self._app = app

    def describe(self) -> Iterable[Metric]:
        """Its names, so that a registry refuses it beside metrics of the same names. The store is not asked."""
        return [_up(0), *_families(self._app.queue.store.queries, ())]

    def collect(self) -> Iterable[Metric]:
        try:
            queues = self._app.queue.get_overview(minutes=1)
            families = _families(self._app.queue.store.queries, queues)
        except Unavailable:
            return [_up(0)]
        return [_up(1), *families]


def _up(value: int) -> Metric:
    return GaugeMetricFamily("stratix_store_up", "Whether the store answers", value=value)


def _families(queries: Queries, queues: Iterable[QueueOverview]) -> list[Metric]:
    """Every family with the samples of the queues, as Prometheus wants them grouped."""
    queue = ["queue"]
    size = GaugeMetricFamily("queue_size", "Jobs in the queue, by state", labels=["queue", "status"])
    run = HistogramMetricFamily(
        "job_processing_time", "How long completed attempts ran, in milliseconds", labels=["queue", "job_name"]
    )
    wait = HistogramMetricFamily(
        "stratix_job_wait_time", "How long jobs were waiting when an attempt began, in milliseconds", labels=queue
    )
    counters = {kind: CounterMetricFamily(f"stratix_jobs_{kind}", _MEANING[kind], labels=queue) for kind in COUNTS}
    gauges = {
        name: GaugeMetricFamily(f"stratix_{name}", text, labels=queue)
        for name, text in (
            ("oldest_waiting_seconds", "Age of the job that has been waiting longest; 0 if none is"),
            ("queue_paused", "Whether the queue is paused"),
            ("workers", "Workers that are present"),
            ("worker_slots", "Jobs that all workers together can run at a time"),
            ("worker_idle_seconds", "How long ago the worker that did longest ago proved that it takes messages"),
        )
    }
    lag_ms = 0
    for status in queues:
        name, totals = status.name, queries.totals(status.name)
        workers = queries.workers(name) if status.workers else []
        for state, count in status.counts.items():
            size.add_metric([name, state], count)
        for kind in COUNTS:
            counters[kind].add_metric([name], getattr(totals, kind))
        _add(wait, [name], totals.wait)
        for job_name, runs in sorted(totals.runs.items()):
            _add(run, [name, job_name], runs)
        gauges["oldest_waiting_seconds"].add_metric([name], (status.oldest_waiting_ms or 0) / 1000)
        gauges["queue_paused"].add_metric([name], status.paused)
        gauges["workers"].add_metric([name], len(workers))
        gauges["worker_slots"].add_metric([name], sum(worker.concurrency for worker in workers))
        idle = [worker.idle_ms for worker in workers if worker.idle_ms is not None]
        if idle:
            gauges["worker_idle_seconds"].add_metric([name], max(idle) / 1000)
        lag_ms = max(lag_ms, status.overdue_ms)
    lag = GaugeMetricFamily(
        "stratix_clock_lag_seconds",
        "How long ago the first delayed job was due; it grows while no clock runs",
        value=lag_ms / 1000,
    )
    return [size, run, wait, *counters.values(), *gauges.values(), lag]


def _add(family: HistogramMetricFamily, labels: list[str], times: Distribution) -> None:
    buckets = [(le, float(count)) for le, count in zip(_LE, accumulate(times.counts), strict=True)]
    family.add_metric(labels, buckets, sum_value=times.sum_ms)
