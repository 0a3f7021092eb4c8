"""Workers: where they are, and what they run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.http import Refused
from stratix_kombu.dashboard.pages.changing import watched
from stratix_kombu.dashboard.pages.queue import row_of
from stratix_kombu.dashboard.reading import CeleryWorker, JobRow
from stratix_kombu.dashboard.site import Done, Page, Visit
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.workers import WorkerProcess

JOBS = 50
SHUTDOWN_BODY = ("name",)
"""Jobs of a worker that are shown."""
PATIENCE_S = 1.0
"""How long Celery workers have to answer."""


@dataclass(frozen=True, slots=True)
class Workers(Shown):
    """All workers, sorted by host and id."""

    workers: list[WorkerProcess]


@dataclass(frozen=True, slots=True)
class WorkerPage(Shown):
    """One worker, and the jobs that it runs."""

    worker: WorkerProcess
    jobs: list[JobRow]


@dataclass(frozen=True, slots=True)
class CeleryPage(Shown):
    """The Celery workers that have answered."""

    has_control: bool
    """Whether the transport has remote control."""
    workers: list[CeleryWorker]


def workers(visit: Visit) -> Page:
    """All workers that serve a queue that may be seen."""
    found = [_seen(visit, one) for one in reading.workers(visit.app)]
    return Page(
        "workers.html", Workers([one for one in found if one.queues]), {"celery": visit.app.queue.canvas is not None}
    )


def worker(visit: Visit) -> Page:
    """The worker ``id``, and the jobs that it runs."""
    name = visit.request.get("id")
    found = next((one for one in reading.workers(visit.app) if one.id == name), None)
    if found is None:
        raise Refused(404, f"there is no worker {name!r}: it has ended, or has not been heard of for a while")
    jobs = [job for job in reading.worker_jobs(visit.app, name, JOBS) if visit.may("view", job.queue_name)]
    return Page("worker.html", WorkerPage(_seen(visit, found), [row_of(visit, job) for job in jobs]))


def _seen(visit: Visit, worker: WorkerProcess) -> WorkerProcess:
    """With those of its queues that may be seen."""
    return replace(worker, queues={name: slots for name, slots in worker.queues.items() if visit.may("view", name)})


def celery(visit: Visit) -> Page:
    """The Celery workers that answer by remote control, where the transport has it."""
    visit.check("workers")
    canvas = visit.app.queue.canvas
    if canvas is None:
        raise Refused(404, "this application has no Celery application")
    found = reading.celery_workers(canvas.celery, PATIENCE_S)
    return Page("celery.html", CeleryPage(found is not None, found or []))


def shut_down(visit: Visit) -> Done:
    """Have the Celery worker ``name`` finish what it runs, and end."""
    visit.expect(*SHUTDOWN_BODY)
    visit.check("workers")
    canvas, name = visit.app.queue.canvas, visit.request.field("name")
    if canvas is None or not name:
        raise Refused(404, "this application has no Celery application" if canvas is None else "which worker?")
    watched(visit, "shutdown", "", lambda: canvas.celery.control.shutdown(destination=[name]), about=f"worker={name!r}")
    return Done("shutdown", back="/workers")
