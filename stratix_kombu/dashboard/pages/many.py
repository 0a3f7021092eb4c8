"""Actions on many jobs: first how many there are, then step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stratix_kombu.dashboard import bulk, reading
from stratix_kombu.dashboard.filters import Which
from stratix_kombu.dashboard.http import Refused, number
from stratix_kombu.dashboard.pages.changing import chosen, watched
from stratix_kombu.dashboard.pages.overview import safe_path
from stratix_kombu.dashboard.pages.queue import known
from stratix_kombu.dashboard.site import Done, Page, Visit
from stratix_kombu.model.shown import Shown

PROGRESS = ("cursor", "begun", "done", "refused")
"""The fields of an answer that are sent with the next step."""
STEP_BODIES = dict.fromkeys(bulk.MANY, (*Which.__slots__, *PROGRESS))
LETTERS = ("reason", "name", "from")
REDRIVE_BODY = (*LETTERS, *PROGRESS)


@dataclass(frozen=True, slots=True)
class Many(Shown):
    """How far an action on many jobs is."""

    action: str
    queue: str
    done: int = 0
    refused: int = 0
    """Jobs that had gone or changed their state meanwhile."""
    cursor: str = ""
    """To be sent with the next step; '' when it is finished, and before the first one."""
    finished: bool = False
    begun: int = 0
    """When the first step was, in milliseconds since the epoch; to be sent with the next one, too."""
    total: int | None = None
    """How many jobs there are in the state, before the first step."""


def ask(visit: Visit, name: str) -> Page | Done:
    """Of the form below a list: ``action`` for the selected ``ids``, or ``…-all`` for all that match, which is only
    asked about."""
    known(visit, name)
    field, form = visit.request.field, visit.request.form
    action, _, everything = field("action").partition("-")
    what, which = chosen(bulk.MANY, action), Which.of(field)
    visit.check(what.permission, name)
    if not everything:
        ids = form.get("ids", [])
        if not ids:
            raise Refused(400, "no job is selected")
        step = watched(visit, action, name, lambda: what.do(visit.app.queue.get_queue(name), ids), jobs=tuple(ids))
        return Done(
            "many",
            count=step,
            back=safe_path(visit.url(f"/queues/{name}", **which.fields()).removeprefix(visit.request.prefix)),
        )
    total = reading.count(visit.app, name, which)
    page = Many(action, name, total=total.count)
    return Page("many.html", page, _view(f"/queues/{name}/many/{action}", which.fields(), what.label, total.exact))


def step(visit: Visit, name: str, action: str) -> Page:
    """Do ``action`` (retry, promote, cancel, remove) to all jobs that are in ``state`` and fit the other fields of a
    list, as much as takes about a second. Send ``cursor`` of the answer with the next call, until it is
    ``finished``."""
    known(visit, name)
    what, field = chosen(bulk.MANY, action), visit.request.field
    visit.expect(*STEP_BODIES[action])
    if not field("state"):
        raise Refused(400, f"'state' is missing: {', '.join(what.states)}")
    which = Which.of(field)
    visit.check(what.permission, name)
    if which.state not in what.states:
        raise Refused(400, f"this can be done to jobs that are {' or '.join(what.states)}, not {which.state}")
    done = _watched(visit, action, name, lambda: bulk.step(visit.app, name, which, what, field("cursor")), str(which))
    return Page("many.html", done, _view(f"/queues/{name}/many/{action}", which.fields(), what.label))


def redrive(visit: Visit, name: str) -> Page:
    """Send the dead letters of a queue back that fit ``reason`` (a part of it), ``name`` and ``from`` (the queue), as
    many as takes about a second. Send ``cursor`` and ``begun`` of the answer with the next call, until it is
    ``finished``."""
    known(visit, name)
    visit.expect(*REDRIVE_BODY)
    visit.check("redrive", name)
    field = visit.request.field
    given = {key: field(key).strip() for key in LETTERS if field(key).strip()}
    about = ", ".join(f"{key}={value!r}" for key, value in given.items())

    def wanted(letter: Mapping[str, Any]) -> bool:
        return reading.is_letter(letter, given)

    begun_ms = number(field("begun")) or visit.app.queue.engine.store.queries.now()

    def do() -> bulk.Step:
        return bulk.redrive_step(visit.app, name, wanted, field("cursor"), begun_ms)

    done = replace(_watched(visit, "redrive", name, do, about), begun=begun_ms)
    return Page("many.html", done, _view(f"/queues/{name}/redrive", given, "Redrive"))


def _watched(visit: Visit, action: str, name: str, do: Any, about: str) -> Many:
    steps: list[bulk.Step] = []

    def did() -> int:
        steps.append(do())
        return steps[0].done

    watched(visit, action, name, did, about=about)
    (now,) = steps
    before = {key: number(visit.request.field(key)) or 0 for key in ("done", "refused")}
    done, refused = before["done"] + now.done, before["refused"] + now.refused
    return Many(action, name, done, refused, now.cursor, not now.cursor)


def _view(path: str, fields: Mapping[str, str], label: str, exact: bool = True) -> dict[str, Any]:
    return {"path": path, "fields": fields, "label": label, "exact": exact}
