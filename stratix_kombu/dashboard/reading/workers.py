"""Workers, and what they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stratix_kombu.model.shown import Shown
from stratix_kombu.model.workers import WorkerProcess

if TYPE_CHECKING:
    from stratix_kombu.application import Application
    from stratix_kombu.queue.job import Job


def workers(app: Application) -> list[WorkerProcess]:
    """The workers of all queues, one entry each, sorted by host and id."""
    return sorted(app.queue.get_workers(), key=lambda one: (one.host, one.id))


def worker_jobs(app: Application, worker: str, most: int) -> list[Job]:
    """The jobs that a worker runs."""
    return app.queue.get_worker_jobs(worker, most)


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
