"""Which page answers at which path: one table, for people and for programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from stratix_kombu.dashboard.http import Response
from stratix_kombu.dashboard.pages import (
    changing,
    events,
    flows,
    job,
    letters,
    many,
    metrics,
    overview,
    queue,
    schedules,
    workers,
)
from stratix_kombu.dashboard.site import Done, Page

Answer = Page | Done | Response
API = "/api"
"""Below this, the same pages are JSON."""


@dataclass(frozen=True)
class Route:
    """A path, whose parts in braces are given to the function."""

    method: str
    path: str
    page: Callable[..., Answer]
    answer: type | None = None
    """The dataclass that the page shows; None for an action."""
    query: str = ""
    """The fields that its query may have."""
    bodies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The fields of its JSON body, by the action that is a part of the path, or by '' if none is."""
    people_only: bool = False
    """Whether programs are not given it: what they want is elsewhere."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path) + r"\Z")

    def match(self, method: str, path: str) -> dict[str, Any] | None:
        """The parts of the path; None if this is another one."""
        found = self.pattern.match(path) if method == self.method else None
        return found.groupdict() if found else None


JOBS = "state name id reason group worker since until cursor limit"

ROUTES = (
    Route("GET", "/", overview.overview, overview.Overview, "name only sort"),
    Route("GET", "/search", overview.search, people_only=True),
    Route("GET", "/queues/{name}", queue.queue, queue.QueuePage, JOBS),
    Route("GET", "/queues/{name}/add", queue.add, people_only=True),
    Route("GET", "/queues/{name}/manage", queue.manage, people_only=True),
    Route("GET", "/queues/{name}/events", events.events, people_only=True),
    Route("GET", "/queues/{name}/reasons", letters.reasons, letters.Reasons),
    Route("GET", "/queues/{name}/metrics", metrics.metrics, metrics.MetricsPage, "span job_name"),
    Route("GET", "/queues/{name}/dead-letters", letters.letters, letters.LetterPage, "reason name from cursor limit"),
    Route("POST", "/queues/{name}/redrive", many.redrive, many.Many, bodies={"": many.REDRIVE_BODY}),
    Route("POST", "/queues/{name}/bulk", many.ask, people_only=True),
    Route("POST", "/queues/{name}/many/{action}", many.step, many.Many, bodies=many.STEP_BODIES),
    Route("GET", "/queues/{name}/schedule", schedules.schedule, schedules.SchedulePage, "key"),
    Route("POST", "/queues/{name}/schedules/{action}", schedules.change_schedule, bodies=schedules.BODIES),
    Route("POST", "/queues/{name}/{action}", changing.change_queue, bodies=changing.QUEUE_BODIES),
    Route("GET", "/job", job.job, job.JobPage, "id"),
    Route("GET", "/flows", flows.flows, flows.Flows, "cursor"),
    Route("GET", "/flow", flows.flow, flows.FlowPage, "id"),
    Route("GET", "/schedules", schedules.schedules, schedules.Schedules),
    Route("GET", "/workers", workers.workers, workers.Workers),
    Route("GET", "/worker", workers.worker, workers.WorkerPage, "id"),
    Route("GET", "/workers/celery", workers.celery, workers.CeleryPage),
    Route("POST", "/workers/shutdown", workers.shut_down, bodies={"": workers.SHUTDOWN_BODY}),
    Route("GET", "/dead-letters", letters.queues, letters.LetterQueues),
    Route("GET", "/job/value", job.value, people_only=True),
    Route("GET", "/job/copy", job.copy, people_only=True),
    Route("POST", "/job/{action}", changing.change_job, bodies=changing.JOB_BODIES),
)
