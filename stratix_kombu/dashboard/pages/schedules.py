"""Repeatable jobs, and the entries of Celery beat."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stratix_kombu.dashboard import reading
from stratix_kombu.dashboard.actions import span_ms, whole
from stratix_kombu.dashboard.http import Refused
from stratix_kombu.dashboard.pages.changing import chosen, watched
from stratix_kombu.dashboard.pages.queue import known
from stratix_kombu.dashboard.reading import BeatRow, ScheduleRow, ScheduleRun
from stratix_kombu.dashboard.site import Done, Page, Visit
from stratix_kombu.lifecycle.repeat import put_schedule
from stratix_kombu.model.codec import encode
from stratix_kombu.model.shown import Shown
from stratix_kombu.queue.repeatables import rule_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from stratix_kombu.queue.queue import Queue
    from stratix_kombu.queue.repeatables import RepeatableJob

BACK = "/schedules"
SAVED = ("cron", "timezone", "every", "limit", "data")


@dataclass(frozen=True, slots=True)
class Schedules(Shown):
    """All repeatable jobs, sorted by queue and key."""

    schedules: list[ScheduleRow]
    beat: list[BeatRow]
    """The entries of Celery beat, where that is ours; they are changed in the project."""


@dataclass(frozen=True, slots=True)
class SchedulePage(Shown):
    """One repeatable job."""

    schedule: ScheduleRow
    data: Any
    runs: list[ScheduleRun]
    """The last ones, newest first."""


def schedules(visit: Visit) -> Page:
    """All repeatable jobs: when they run next, and how often they have run."""
    rows = [
        reading.schedule_row(one) for one in visit.app.queue.get_repeatable_jobs() if visit.may("view", one.queue_name)
    ]
    beat = [row for row in reading.beat_rows(visit.app) if visit.may("view", row.queue)]
    may = {row.queue: visit.may("schedule", row.queue) for row in rows}
    return Page("schedules.html", Schedules(rows, beat), {"may": may})


def schedule(visit: Visit, name: str) -> Page:
    """The repeatable job ``key`` of a queue, with its last runs."""
    known(visit, name)
    one = _found(visit.app.queue.get_queue(name), visit.request.get("key"))
    data = visit.site.redact("data", one.data)
    page = SchedulePage(reading.schedule_row(one), data, reading.runs(visit.app, one))
    return Page("schedule.html", page, {"may": visit.may("schedule", name), "editable": data == one.data})


def change_schedule(visit: Visit, name: str, action: str) -> Done:
    """Do something to the repeatable job ``key``: run, pause, resume, remove, or save it with another ``cron`` (and
    ``timezone``) or ``every``, ``limit`` and ``data``."""
    known(visit, name)
    visit.check("schedule", name)
    queue, key = visit.app.queue.get_queue(name), visit.request.field("key")
    do: Callable[[Queue, str, Visit], Any] = chosen(DOING, action)
    visit.expect(*BODIES[action])
    came = watched(visit, f"schedule_{action}", name, lambda: do(queue, key, visit), about=f"key={key!r}")
    if action == "run":
        return Done(
            "schedule_run", job=came.id, back=visit.request.url("/job", id=came.id).removeprefix(visit.request.prefix)
        )
    return Done(f"schedule_{action}", back=BACK)


def _found(queue: Queue, key: str) -> RepeatableJob:
    found = next((one for one in queue.get_repeatable_jobs() if one.key == key), None)
    if found is None:
        raise Refused(404, f"queue {queue.name!r} has no repeatable job with the key {key!r}")
    return found


def _save(queue: Queue, key: str, visit: Visit) -> None:
    """Its runs still count, and their other options stay as they are."""
    form, engine = visit.request, visit.app.queue.engine
    field = form.field
    one = _found(queue, key)
    given = {
        "cron": field("cron") or None,
        "timezone": (field("timezone") or None) if field("cron") else None,
        "every": span_ms(form, "every") if field("every") and not field("cron") else None,
        "limit": whole(field("limit"), "'limit'") if field("limit") else None,
        "start_date": one.start_date,
        "end_date": one.end_date,
    }
    rule = rule_of(given, "the repeatable job", engine.timezone)
    kept = engine.store.schedules.get(f"{queue.name}:{key}")
    template = json.loads(kept.template) if kept is not None else {}
    if kept is None or (form.has("data") and template.get("message")):
        raise Refused(409, "the arguments of a Celery task are in its message, and cannot be changed")
    if form.has("data"):
        template["data"] = encode(form.value("data"), "the data of the repeatable job")
    ended = rule.limit and kept.runs >= rule.limit
    next_ms = 0 if ended else rule.next_after(engine.store.queries.now()) or 0
    put_schedule(engine, replace(kept, rule=rule.encode(), template=json.dumps(template), next_ms=next_ms))


def _remove(queue: Queue, key: str, visit: Visit) -> None:
    if not queue.remove_repeatable_job(key=key):
        raise Refused(404, f"queue {queue.name!r} has no repeatable job with the key {key!r}")


DOING: dict[str, Callable[[Queue, str, Visit], Any]] = {
    "run": lambda queue, key, _: queue.run_repeatable_job(key),
    "pause": lambda queue, key, _: queue.pause_repeatable_job(key),
    "resume": lambda queue, key, _: queue.resume_repeatable_job(key),
    "remove": _remove,
    "save": _save,
}
BODIES = {name: ("key", *(SAVED if name == "save" else ())) for name in DOING}
