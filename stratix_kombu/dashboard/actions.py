"""What can be done to a job or a queue, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from stratix_kombu.dashboard.http import Refused
from stratix_kombu.dashboard.site import Done
from stratix_kombu.schedule import interval_ms

if TYPE_CHECKING:
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import CleanedState

Form = Callable[[str], str]
"""The fields of a form, '' for one that is missing."""


@dataclass(frozen=True, slots=True)
class JobAction:
    """Something that is done to one job."""

    permission: str
    states: tuple[str, ...]
    """The states in which it makes sense."""
    do: Callable[[Job, Form], Any]
    label: str
    """Its button."""
    said: tuple[str, ...] = ()
    """The fields that the audit log repeats."""


@dataclass(frozen=True, slots=True)
class QueueAction:
    """Something that is done to a queue; returns how many jobs it was done to, or the job that was added."""

    permission: str
    do: Callable[[Queue, Form], Any]
    said: tuple[str, ...] = ()


UNFINISHED = ("waiting", "active", "delayed", "blocked")
ANY = (*UNFINISHED, "completed", "failed")


def parsed(text: str, what: str) -> Any:
    """JSON that somebody has written. Raises Refused."""
    try:
        return json.loads(text or "null")
    except ValueError as problem:
        raise Refused(400, f"{what} is not JSON: {problem}") from problem


def whole(text: str, what: str) -> int:
    """A number that somebody has written. Raises Refused."""
    try:
        return int(text)
    except ValueError as problem:
        raise Refused(400, f"{what} must be a whole number, not {text!r}") from problem


def _again(job: Job, form: Form) -> None:
    """A completed job runs again as a failed one does."""
    if job.state == "completed":
        job.rerun(dependents=bool(form("dependents")))
    else:
        job.retry()


def _change_data(job: Job, form: Form) -> None:
    if job.is_task:
        raise Refused(409, "the arguments of a Celery task are in its message, and cannot be changed")
    job.update_data(parsed(form("data"), "the data"))


JOB_ACTIONS: Mapping[str, JobAction] = {
    "retry": JobAction("retry", ("failed", "completed"), _again, "Retry"),
    "promote": JobAction("promote", ("delayed",), lambda job, _: job.promote(), "Run now"),
    "cancel": JobAction(
        "cancel", UNFINISHED, lambda job, form: job.cancel(form("reason") or "cancelled"), "Cancel", ("reason",)
    ),
    "delay": JobAction(
        "change",
        ("delayed",),
        lambda job, form: job.change_delay(interval_ms(form("delay"))),
        "Change delay",
        ("delay",),
    ),
    "priority": JobAction(
        "change",
        ("waiting", "delayed", "blocked"),
        lambda job, form: job.change_priority(whole(form("priority"), "the priority")),
        "Change priority",
        ("priority",),
    ),
    "data": JobAction("change", ANY, _change_data, "Change data"),
    "remove": JobAction(
        "remove", tuple(state for state in ANY if state != "active"), lambda job, _: job.remove(), "Remove"
    ),
}


def duplicate(queue: Queue, job: Job) -> Job:
    """Add another job like this one, with an id of its own."""
    if job.is_task:
        raise Refused(409, "a Celery task is sent again by its application, since its message has its id")
    options = {name: option for name, option in job.opts.items() if name != "job_id"}
    return queue.add(job.name, job.data, cast("Any", options))


def _add(queue: Queue, form: Form) -> Done:
    options = parsed(form("options") or "{}", "the options")
    if not isinstance(options, dict):
        raise Refused(400, "the options must be a JSON object")
    return Done("add", job=queue.add(form("job_name"), parsed(form("data"), "the data"), cast("Any", options)).id)


def _limit(queue: Queue, form: Form) -> None:
    if form("max"):
        queue.set_rate_limit(max=whole(form("max"), "'max'"), duration=interval_ms(form("duration") or "1 s"))
    else:
        queue.set_rate_limit()


def _clean(queue: Queue, form: Form) -> int:
    grace = interval_ms(form("grace")) if form("grace") else 0
    state, limit = cast("CleanedState", form("state") or "completed"), whole(form("limit") or "0", "'limit'")
    return len(queue.clean(grace, limit, state))


def _obliterate(queue: Queue, form: Form) -> int:
    if form("name") != queue.name:
        raise Refused(400, f"to delete the queue, its name must be typed: {queue.name}")
    return queue.obliterate(force=bool(form("force")))


def _concurrency(queue: Queue, form: Form) -> None:
    queue.set_global_concurrency(whole(form("most"), "'most'") if form("most") else None)


QUEUE_ACTIONS: Mapping[str, QueueAction] = {
    "pause": QueueAction("pause", lambda queue, _: queue.pause()),
    "resume": QueueAction("pause", lambda queue, _: queue.resume()),
    "drain": QueueAction("clean", lambda queue, form: queue.drain(bool(form("delayed"))), ("delayed",)),
    "clean": QueueAction("clean", _clean, ("state", "grace", "limit")),
    "limiter": QueueAction("limit", _limit, ("max", "duration")),
    "concurrency": QueueAction("limit", _concurrency, ("most",)),
    "add": QueueAction("add", _add, ("job_name",)),
    "obliterate": QueueAction("obliterate", _obliterate, ("force",)),
}
