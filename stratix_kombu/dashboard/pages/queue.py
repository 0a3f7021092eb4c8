"""One queue: its counts and limits, and its jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.bulk import MANY
from stratix_kombu.dashboard.filters import STATES, Which
from stratix_kombu.dashboard.http import Refused, number
from stratix_kombu.dashboard.reading import JobRow, QueueRow
from stratix_kombu.dashboard.site import Page, Visit
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.names import check_queue_name
from stratix_kombu.model.shown import Shown

if TYPE_CHECKING:
    from stratix_kombu.queue.job import Job

MOST = 500
"""Jobs on a page, whatever is asked for."""


@dataclass(frozen=True, slots=True)
class QueuePage(Shown):
    """A queue with a page of its jobs."""

    queue: QueueRow
    jobs: list[JobRow]
    cursor: str
    """Where the next page begins; '' after the last one."""
    looked: int
    """How many jobs were looked at."""


def queue(visit: Visit, name: str) -> Page:
    """One queue, and those of its jobs that are in ``state`` and fit the other fields: ``name``, ``id`` (what it begins
    with), ``reason``, ``group``, ``worker``, ``since``, ``until``; ``cursor`` and ``limit`` say which page."""
    known(visit, name)
    which = Which.of(visit.request.get)
    jobs, cursor, looked = reading.find(visit.app, name, which, visit.request.get("cursor"), limit_of(visit))
    rows = [row_of(visit, job) for job in jobs]
    found = QueuePage(reading.queue_row(visit.app, name), rows, cursor, looked)
    may = visit.allowed(name)
    more = [("add", "Add a job")] * may["add"] + [("metrics", "Metrics"), ("manage", "Manage")]
    bulk = [(key, one.label) for key, one in MANY.items() if which.state in one.states and may[one.permission]]
    size = visit.request.get("limit")
    next_page = visit.url(f"/queues/{name}", **which.fields(), cursor=cursor, limit=size)
    view = {"which": which, "next": next_page, "states": STATES, "may": may, "more": more, "bulk": bulk}
    return Page("queue.html", found, view)


def known(visit: Visit, name: str) -> None:
    """Raises Refused unless the name can be that of a queue, and the user may see it."""
    try:
        check_queue_name(name)
    except ConfigurationError as problem:
        raise Refused(404, str(problem)) from problem
    visit.check("view", name)


def limit_of(visit: Visit) -> int:
    """How many jobs a page has. Raises Refused."""
    text = visit.request.get("limit", str(reading.PAGE))
    limit = number(text)
    if limit is None or not 1 <= limit <= MOST:
        raise Refused(400, f"'limit' must be a number from 1 to {MOST}")
    return limit


def row_of(visit: Visit, job: Job) -> JobRow:
    """A job as a list shows it."""
    return reading.job_row(job, visit.site.redact("error", job.failed_reason, job))


def manage(visit: Visit, name: str) -> Page:
    """What can be changed about a queue."""
    known(visit, name)
    return Page("manage.html", reading.queue_row(visit.app, name), {"may": visit.allowed(name)})


def add(visit: Visit, name: str) -> Page:
    """The form of a new job."""
    known(visit, name)
    visit.check("add", name)
    return Page("add.html", reading.queue_row(visit.app, name))
