"""Flows: jobs that depend on each other, as a graph."""

from __future__ import annotations

from dataclasses import dataclass

from stratix_kombu.dashboard import graph, reading
from stratix_kombu.dashboard.pages.job import found
from stratix_kombu.dashboard.pages.queue import row_of
from stratix_kombu.dashboard.reading import FlowRow, JobRow
from stratix_kombu.dashboard.site import Page, Visit
from stratix_kombu.model.shown import Shown

AT_ONCE = 25
"""Flows on a page."""


@dataclass(frozen=True, slots=True)
class FlowPage(Shown):
    """The jobs around one of them."""

    job: str
    """The one that was asked for."""
    jobs: list[JobRow]
    """Dependencies before their dependents."""
    dependencies: dict[str, list[str]]
    """Per job: ids of those it depends on."""
    counts: dict[str, int]
    complete: bool
    """Whether these are all: of a large flow the nearest ones are given."""


@dataclass(frozen=True, slots=True)
class Flows(Shown):
    """Some flows, newest first."""

    flows: list[FlowRow]
    cursor: str
    """Where the next page begins; '' after the last one."""


def flows(visit: Visit) -> Page:
    """All flows, newest first: their root, and their jobs by state."""
    cursor = visit.request.get("cursor")
    rows, after = reading.flows(visit.app, cursor, AT_ONCE, lambda queue: visit.may("view", queue))
    return Page("flows.html", Flows(rows, after), {"next": visit.url("/flows", cursor=after)})


def flow(visit: Visit) -> Page:
    """The jobs that are connected with the job ``id`` by dependencies: all of them, or the nearest 500."""
    one = found(visit)
    jobs, edges, complete = reading.flow(visit.app, one.id, graph.MOST, lambda queue: visit.may("view", queue))
    rows = [row_of(visit, job) for job in jobs]
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    page = FlowPage(one.id, rows, {job_id: list(before) for job_id, before in edges.items()}, counts, complete)
    drawn = graph.draw({row.id: row for row in rows}, edges, lambda job_id: visit.url("/job", id=job_id))
    return Page("flow.html", page, {"graph": drawn if complete else "", "shares": list(counts.items())})
