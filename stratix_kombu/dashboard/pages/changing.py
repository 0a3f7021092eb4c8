"""What a form or a program asks to be done: to one job, or to a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stratix_kombu.dashboard.actions import JOB_ACTIONS, QUEUE_ACTIONS, duplicate
from stratix_kombu.dashboard.http import Refused, Request
from stratix_kombu.dashboard.pages.job import found
from stratix_kombu.dashboard.pages.overview import safe_path
from stratix_kombu.dashboard.pages.queue import known
from stratix_kombu.dashboard.site import Done, Visit

if TYPE_CHECKING:
    from stratix_kombu.queue.job import Job


JOB_BODIES = {name: ("id", *one.said, *one.unsaid) for name, one in JOB_ACTIONS.items()} | {"duplicate": ("id",)}
"""The fields of each action on a job."""
QUEUE_BODIES = {name: (*one.said, *one.unsaid) for name, one in QUEUE_ACTIONS.items()}


def change_job(visit: Visit, action: str) -> Done:
    """Do something to the job ``id``: retry, promote, cancel (``reason``), delay (``delay``), priority (``priority``),
    data (``data``), remove, duplicate."""
    form = visit.request
    job = found(visit, form.field("id"))
    if action == "duplicate":
        return _copy(visit, job)
    known_action = chosen(JOB_ACTIONS, action)
    visit.expect(*JOB_BODIES[action])
    visit.check(known_action.permission, job.queue_name)
    about = _about(form, known_action.said)
    watched(visit, action, job.queue_name, lambda: known_action.do(job, form), jobs=(job.id,), about=about)
    there = f"/queues/{job.queue_name}" if action == "remove" else f"/job?{_query(id=job.id)}"
    return Done(action, job=job.id, back=safe_path(form.field("back") or there))


def _copy(visit: Visit, job: Job) -> Done:
    visit.expect(*JOB_BODIES["duplicate"])
    visit.check("add", job.queue_name)
    queue = visit.app.queue.get_queue(job.queue_name)
    copy = watched(visit, "duplicate", queue.name, lambda: duplicate(queue, job), jobs=(job.id,))
    return Done("duplicate", job=copy.id, back=f"/job?{_query(id=copy.id)}")


def change_queue(visit: Visit, name: str, action: str) -> Done:
    """Do something to a queue: pause, resume, drain (``delayed``), clean (``state``, ``grace``, ``limit``), limiter
    (``max``, ``duration``), concurrency (``most``), add (``job_name``, ``data``, ``options``), obliterate (``name``,
    ``force``)."""
    known(visit, name)
    known_action, form = chosen(QUEUE_ACTIONS, action), visit.request
    visit.expect(*QUEUE_BODIES[action])
    visit.check(known_action.permission, name)
    queue = visit.app.queue.get_queue(name)
    about = _about(form, known_action.said)
    came = watched(visit, action, name, lambda: known_action.do(queue, form), about=about)
    if isinstance(came, Done):
        return Done(came.action, job=came.job, back=f"/job?{_query(id=came.job)}")
    back = "/" if action == "obliterate" else safe_path(form.field("back") or f"/queues/{name}")
    return Done(action, count=came if isinstance(came, int) else 1, back=back)


def chosen(actions: Mapping[str, Any], name: str) -> Any:
    """The action of that name. Raises Refused."""
    if name not in actions:
        raise Refused(404, f"there is no action {name!r}: {', '.join(actions)}")
    return actions[name]


def watched(visit: Visit, action: str, queue: str, do: Callable[[], Any], **more: Any) -> Any:
    """Do it, and write down how it went."""
    try:
        came = do()
    except Exception as problem:
        visit.record(action, queue, outcome=f"{type(problem).__name__}: {problem}", **more)
        raise
    visit.record(action, queue, outcome=f"done: {came}" if isinstance(came, int) else "done", **more)
    return came


def _about(form: Request, names: Iterable[str]) -> str:
    return ", ".join(f"{name}={form.field(name)!r}" for name in names if form.field(name))


def _query(**fields: str) -> str:
    from urllib.parse import urlencode

    return urlencode(fields)
