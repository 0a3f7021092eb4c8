"""One job: everything about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.actions import JOB_ACTIONS
from stratix_kombu.dashboard.http import TEXT, Refused, Response
from stratix_kombu.dashboard.pages.queue import row_of
from stratix_kombu.dashboard.reading import AttemptRow, JobRow
from stratix_kombu.dashboard.site import Page, Visit
from stratix_kombu.dashboard.texts import pretty, visible
from stratix_kombu.model.shown import Shown

if TYPE_CHECKING:
    from stratix_kombu.dashboard.redaction import Part
    from stratix_kombu.queue.job import Job

LOG_LINES = 200
"""The newest lines of the log that the page shows."""
BUTTONS = (("retry", "main"), ("promote", "main"), ("remove", "danger"))
"""The actions that need nothing to be said, with their looks."""
OTHERS = 200
"""Dependencies and dependents that the page lists."""


@dataclass(frozen=True, slots=True)
class JobPage(Shown):
    """A job. Values are as the redaction hook left them."""

    job: JobRow
    data: Any
    options: dict[str, Any]
    headers: dict[str, str]
    progress: Any
    result: Any
    stacktrace: list[str]
    logs: list[str]
    """Its newest lines."""
    cancelled: bool
    attempts: list[AttemptRow]
    dependencies: list[JobRow]
    dependents: list[JobRow]
    is_task: bool
    """Whether it is a Celery task; its data are its arguments then."""
    repeat_key: str | None


def job(visit: Visit) -> Page:
    """The job with the id ``id``: data, options, result, error, logs, attempts, dependencies and dependents."""
    one = found(visit)
    redact = visit.site.redact
    before, after = reading.neighbours(visit.app, one, OTHERS)
    page = JobPage(
        job=row_of(visit, one),
        data=_data(visit, one),
        options=dict(one.opts),
        headers=redact("headers", one.headers, one),
        progress=redact("progress", one.progress, one),
        result=redact("result", one.return_value, one),
        stacktrace=redact("error", one.stacktrace, one),
        logs=redact("logs", one.get_logs(-LOG_LINES, -1), one),
        cancelled=one.was_cancelled,
        attempts=[_redacted(visit, one, attempt) for attempt in reading.attempts(one)],
        dependencies=[row_of(visit, other) for other in before if visit.may("view", other.queue_name)],
        dependents=[row_of(visit, other) for other in after if visit.may("view", other.queue_name)],
        is_task=one.is_task,
        repeat_key=one.repeat_key,
    )
    can = {
        name
        for name, action in JOB_ACTIONS.items()
        if one.state in action.states and visit.may(action.permission, one.queue_name)
    }
    buttons = [(name, JOB_ACTIONS[name].label, kind) for name, kind in BUTTONS if name in can]
    if visit.may("add", one.queue_name) and not one.is_task:
        buttons.insert(-1 if "remove" in can else len(buttons), ("duplicate", "Duplicate", ""))
    bars = [(one.started_on, one.finished_on, one.outcome) for one in page.attempts]
    view = {"bars": bars, "can": can, "buttons": buttons, "editable": page.data == one.data}
    return Page("job.html", page, view)


def _data(visit: Visit, job: Job) -> Any:
    """The data as they may be shown. Of a letter those are in it, with the reason."""
    redact, letter = visit.site.redact, reading.letter_in(job)
    if letter is None:
        return redact("data", job.data, job)
    return {**letter, "data": redact("data", letter["data"], job), "reason": redact("error", letter["reason"], job)}


def _redacted(visit: Visit, job: Job, attempt: AttemptRow) -> AttemptRow:
    redact = visit.site.redact
    said = {name: redact("error", getattr(attempt, name), job) for name in ("reason", "stacktrace")}
    return replace(attempt, **said)


def value(visit: Visit) -> Response:
    """A whole value of the job ``id`` as text: ``part`` is data, result, progress, logs or error."""
    one = found(visit)
    part = visit.request.get("part")
    values: dict[str, Any] = {
        "data": lambda: _data(visit, one),
        "result": lambda: one.return_value,
        "progress": lambda: one.progress,
        "logs": one.get_logs,
        "error": lambda: one.stacktrace or [one.failed_reason or ""],
    }
    if part not in values:
        raise Refused(404, f"a job has no {part!r}: {', '.join(values)}")
    kept = values[part]() if part == "data" else visit.site.redact(cast("Part", part), values[part](), one)
    lines = part in ("logs", "error") and isinstance(kept, list)
    text = "\n".join(visible(line) for line in kept) if lines else visible(pretty(kept))
    return Response(200, text.encode(errors="backslashreplace"), TEXT)


def copy(visit: Visit) -> Response:
    """The job ``id`` as JSON, to be copied."""
    page = cast("JobPage", job(visit).data)
    return Response(200, json.dumps(page.to_dict(), indent=2, default=str).encode(), TEXT)


def found(visit: Visit, job_id: str = "") -> Job:
    """The job that the request names, if the user may see it. Raises Refused."""
    job_id = job_id or visit.request.get("id")
    one = reading.job_of(visit.app, job_id)
    if one is None:
        raise Refused(404, f"there is no job {job_id!r}: it was never added, was removed, or its retention has expired")
    visit.check("view", one.queue_name)
    return one
