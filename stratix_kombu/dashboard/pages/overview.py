"""All queues, and the way from an id to its job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.http import Refused, Response, number, redirect
from stratix_kombu.dashboard.reading import QueueRow
from stratix_kombu.dashboard.site import Page, Visit
from stratix_kombu.model.shown import Shown

SORTS: dict[str, tuple[str, Callable[[QueueRow], Any], bool]] = {
    "name": ("Queue", lambda row: row.name, False),
    "waiting": ("Waiting", lambda row: row.counts["waiting"], True),
    "active": ("Active", lambda row: row.counts["active"], True),
    "delayed": ("Delayed", lambda row: row.counts["delayed"], True),
    "blocked": ("Blocked", lambda row: row.counts["blocked"], True),
    "completed": ("Completed", lambda row: row.counts["completed"], True),
    "failed": ("Failed", lambda row: row.counts["failed"], True),
    "oldest": ("Oldest waiting", lambda row: row.oldest_waiting_ms or 0, True),
    "rate": ("Per minute", lambda row: row.recent.completed, True),
    "wait": ("Wait p95", lambda row: row.recent.wait.p95_ms, True),
    "run": ("Run p95", lambda row: row.recent.run.p95_ms, True),
    "workers": ("Workers", lambda row: row.workers, True),
}
"""The columns: their title, what they are sorted by, and whether the largest comes first."""


PAGE = 100
"""Queues on a page; programs are given all."""


@dataclass(frozen=True, slots=True)
class Overview(Shown):
    """All queues that the user may see."""

    queues: list[QueueRow]
    totals: dict[str, int]
    """Jobs in each state, of all queues that fit."""


def overview(visit: Visit) -> Page:
    """All queues: jobs by state, rates, times, workers. ``name`` is a part of the name, ``only`` is failed, paused,
    busy or unattended, ``sort`` a column."""
    get = visit.request.get
    rows = reading.queue_rows(visit.app, lambda name: visit.may("view", name))
    everything = len(rows)
    part, only, sort = get("name").strip(), get("only"), get("sort", "name")
    if sort not in SORTS or only not in ("", *ONLY):
        raise Refused(400, "unknown 'sort' or 'only'")
    rows = [row for row in rows if part.lower() in row.name.lower() and (not only or ONLY[only](row))]
    _, key, largest = SORTS[sort]
    rows.sort(key=lambda row: row.name)
    rows.sort(key=key, reverse=largest)
    totals: dict[str, int] = dict.fromkeys(rows[0].counts, 0) if rows else {}
    for row in rows:
        for state in totals:
            totals[state] += row.counts[state]
    view = {"sort": sort, "only": only, "part": part, "sorts": SORTS, "everything": everything, "kinds": list(ONLY)}
    if visit.for_programs:
        return Page("overview.html", Overview(rows, totals), view)
    pages = max((len(rows) + PAGE - 1) // PAGE, 1)
    page = min(max(number(get("page")) or 1, 1), pages)
    view |= {"page": page, "pages": pages, "fit": len(rows)}
    return Page("overview.html", Overview(rows[(page - 1) * PAGE : page * PAGE], totals), view)


ONLY: dict[str, Callable[[QueueRow], object]] = {
    "failed": lambda row: row.counts["failed"] or row.recent.failed,
    "paused": lambda row: row.paused,
    "busy": lambda row: row.counts["waiting"] or row.counts["active"],
    "unattended": lambda row: not row.workers and row.counts["waiting"],
}


def search(visit: Visit) -> Response:
    """To the job with the id ``id``, or to the queue of that name."""
    text = visit.request.get("id").strip()
    job = reading.job_of(visit.app, text)
    if job is not None and visit.may("view", job.queue_name):
        return redirect(visit.url("/job", id=job.id))
    if text in visit.app.queue.get_queue_names() and visit.may("view", text):
        return redirect(visit.url(f"/queues/{text}"))
    raise Refused(404, f"there is neither a job with the id {text!r} nor a queue of that name")


def safe_path(text: str) -> str:
    """A path of the dashboard with its query, as a page of it said it; ``/`` for anything else."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    plain = (
        text.startswith("/")
        and not text.startswith("//")
        and "\\" not in text
        and text.isascii()
        and text.isprintable()
    )
    return text if plain and not parts.scheme and not parts.netloc else "/"
