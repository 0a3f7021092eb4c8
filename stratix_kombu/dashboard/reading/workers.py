"""Workers, and what they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stratix_kombu.model.record import WorkerInfo
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.workers import WorkerProcess

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job


def workers(app: Application) -> list[WorkerProcess]:
    """The workers of all queues, one entry each, sorted by host and id."""
    found: dict[str, list[WorkerInfo]] = {}
    for name in app.queue.get_queue_names():
        for one in app.queue.get_queue(name).get_workers():
            found.setdefault(one.id, []).append(one)
    made = [
        WorkerProcess(
            id=worker,
            host=those[0].host,
            pid=those[0].pid,
            queues={one.queue: one.concurrency for one in those},
            slots=sum(one.concurrency for one in those),
            stuck=sum(one.stuck for one in those),
        )
        for worker, those in found.items()
    ]
    return sorted(made, key=lambda one: (one.host, one.id))


def worker_jobs(app: Application, worker: WorkerProcess, most: int) -> list[Job]:
    """The jobs that a worker runs."""
    jobs: list[Job] = []
    for name in worker.queues:
        jobs += app.queue.get_queue(name).find_jobs("active", limit=most, worker=worker.id).jobs
    return jobs[:most]


@dataclass(frozen=True, slots=True)
class CeleryWorker(Shown):
    """A Celery worker that has answered."""

    name: str
    pid: int | None
    pool: str
    concurrency: int | None
    active: int
    """Tasks that it runs."""


def celery_workers(celery: Any, patience_s: float) -> list[CeleryWorker] | None:
    """The Celery workers that answer in time; None if the transport has no remote control."""
    with celery.connection_for_write() as connection:
        if not connection.supports_exchange_type("fanout"):
            return None
    inspect = celery.control.inspect(timeout=patience_s)
    stats, active = inspect.stats() or {}, inspect.active() or {}
    return [
        CeleryWorker(
            name=name,
            pid=one.get("pid"),
            pool=str(one.get("pool", {}).get("implementation", "")).rpartition(":")[2],
            concurrency=one.get("pool", {}).get("max-concurrency"),
            active=len(active.get(name, ())),
        )
        for name, one in sorted(stats.items())
    ]
