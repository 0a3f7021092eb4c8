"""What can be done to a job or a queue, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from stratix_kombu.dashboard.http import Refused, Request
from stratix_kombu.dashboard.site import Done
from stratix_kombu.schedule import interval_ms

if TYPE_CHECKING:
    from stratix_kombu.queue.job import Job
    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.types import CleanedState


@dataclass(frozen=True, slots=True)
class JobAction:
    """Something that is done to one job."""

    permission: str
    states: tuple[str, ...]
    """The states in which it makes sense."""
    do: Callable[[Job, Request], Any]
    label: str
    """Its button."""
    said: tuple[str, ...] = ()
    """Its fields that the audit log repeats."""
    unsaid: tuple[str, ...] = ()
    """Its other fields."""


@dataclass(frozen=True, slots=True)
class QueueAction:
    """Something that is done to a queue; returns how many jobs it was done to, or the job that was added."""

    permission: str
    do: Callable[[Queue, Request], Any]
    said: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()


UNFINISHED = ("waiting", "active", "delayed", "blocked")
ANY = (*UNFINISHED, "completed", "failed")


def whole(text: str, what: str) -> int:
    """A number that somebody has written. Raises Refused."""
    try:
        return int(text)
    except ValueError as problem:
        raise Refused(400, f"{what} must be a whole number, not {text!r}") from problem


def span_ms(form: Request, name: str) -> int:
    """A duration: a text such as ``2 h``, or in JSON a number of milliseconds. Raises Refused, ConfigurationError."""
    value = form.value(name) if form.is_json else form.field(name)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise Refused(400, f"{name!r} must be a duration")
    return interval_ms(value)


def _again(job: Job, form: Request) -> None:
    """A completed job runs again as a failed one does."""
    if job.state == "completed":
        job.rerun(dependents=form.flag("dependents"))
    else:
        job.retry()


def _change_data(job: Job, form: Request) -> None:
    if job.is_task:
        raise Refused(409, "the arguments of a Celery task are in its message, and cannot be changed")
    job.update_data(form.value("data"))


JOB_ACTIONS: Mapping[str, JobAction] = {
    "retry": JobAction("retry", ("failed", "completed"), _again, "Retry", ("dependents",)),
    "promote": JobAction("promote", ("delayed",), lambda job, _: job.promote(), "Run now"),
    "cancel": JobAction(
        "cancel", UNFINISHED, lambda job, form: job.cancel(form.field("reason") or "cancelled"), "Cancel", ("reason",)
    ),
    "delay": JobAction(
        "change", ("delayed",), lambda job, form: job.change_delay(span_ms(form, "delay")), "Change delay", ("delay",)
    ),
    "priority": JobAction(
        "change",
        ("waiting", "delayed", "blocked"),
        lambda job, form: job.change_priority(whole(form.field("priority"), "the priority")),
        "Change priority",
        ("priority",),
    ),
    "data": JobAction("change", ANY, _change_data, "Change data", unsaid=("data",)),
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


def _add(queue: Queue, form: Request) -> Done:
    options = form.value("options") if form.has("options") else {}
    if not isinstance(options, dict):
        raise Refused(400, "the options must be a JSON object")
    return Done("add", job=queue.add(form.field("job_name"), form.value("data"), cast("Any", options)).id)


def _limit(queue: Queue, form: Request) -> None:
    if form.field("max"):
        queue.set_rate_limit(
            max=whole(form.field("max"), "'max'"), duration=span_ms(form, "duration") if form.has("duration") else 1000
        )
    else:
        queue.set_rate_limit()


def _clean(queue: Queue, form: Request) -> int:
    grace = span_ms(form, "grace") if form.field("grace") else 0
    state, limit = (
        cast("CleanedState", form.field("state") or "completed"),
        whole(form.field("limit") or "0", "'limit'"),
    )
    return len(queue.clean(grace, limit, state))


def _obliterate(queue: Queue, form: Request) -> int:
    if form.field("name") != queue.name:
        raise Refused(400, f"to delete the queue, its name must be typed: {queue.name}")
    return queue.obliterate(force=form.flag("force"))


def _concurrency(queue: Queue, form: Request) -> None:
    queue.set_global_concurrency(whole(form.field("most"), "'most'") if form.field("most") else None)


QUEUE_ACTIONS: Mapping[str, QueueAction] = {
    "pause": QueueAction("pause", lambda queue, _: queue.pause()),
    "resume": QueueAction("pause", lambda queue, _: queue.resume()),
    "drain": QueueAction("clean", lambda queue, form: queue.drain(form.flag("delayed")), ("delayed",)),
    "clean": QueueAction("clean", _clean, ("state", "grace", "limit")),
    "limiter": QueueAction("limit", _limit, ("max", "duration")),
    "concurrency": QueueAction("limit", _concurrency, ("most",)),
    "add": QueueAction("add", _add, ("job_name",), ("data", "options")),
    "obliterate": QueueAction("obliterate", _obliterate, ("force",), ("name",)),
}
