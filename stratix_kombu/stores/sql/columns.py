"""A job as a row, by the table of fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from operator import attrgetter, itemgetter
from typing import Any

from stratix_kombu.model.fields import TABLE, Kind
from stratix_kombu.model.letter import retention_text
from stratix_kombu.model.record import KEEP_ALL, Deduplication, Limit, NewJob, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.state import Job

_CALLED = {"limit": "own_limit", "group": "job_group"}
"""Fields whose names are words of SQL."""
_OWN = [
    "id",
    "queue",
    "name",
    "options",
    "priority",
    "max_attempts",
    "optional",
    "keep_completed",
    "keep_failed",
    "limit",
    "deduplication",
    "dead_letter",
    "message",
    "max_stalled",
    "forward",
    "kind",
    "group",
]
"""The fields a job was added with that have a column of their own."""
GIVEN = [*(_CALLED.get(name, name) for name in _OWN), "native", "rank", "more"]
"""What a job was added with; ``more`` is JSON of the other fields, or ''."""
CHANGING = [
    "created_ms",
    "due_ms",
    "waiting_ms",
    "waited_ms",
    "processed_ms",
    "finished_ms",
    "attempts_made",
    "attempts_started",
    "stalled_count",
    "token",
    "ended",
    "lease_ms",
    "dispatched_ms",
    "dispatched_as",
    "dispatches",
    "place",
    "line",
    "delayed_as",
    "cancelled",
    "cancel_error",
    "failed_by",
    "vacant",
    "pending",
    "swept",
    "rerun",
    "logged",
    "worker",
    "data",
    "progress",
    "result",
    "failed_reason",
    "stacktrace",
]
"""What changes, called as the attributes of ``Job``; ``state`` besides."""
TEXTS = frozenset(
    [
        "token",
        "ended",
        "line",
        "cancelled",
        "cancel_error",
        "failed_by",
        "worker",
        "data",
        "progress",
        "result",
        "failed_reason",
        "stacktrace",
        "state",
    ]
)
"""Of these the texts; the others are numbers."""
COLUMNS = ["number", *GIVEN, "state", *CHANGING, "seq"]

SELECT = f"SELECT {', '.join(COLUMNS)} FROM jobs"
INSERT = f"INSERT INTO jobs ({', '.join(COLUMNS)}, expires_ms) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"
UPDATE_GIVEN = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in GIVEN)} WHERE id = ?"

changing = attrgetter(*CHANGING)
"""Their values, of a ``Job``."""
stands = itemgetter(CHANGING.index("line"), CHANGING.index("dispatched_as"))
"""Of these, what else gives a job another place in a list."""
begun_of = itemgetter(CHANGING.index("attempts_started"), CHANGING.index("stalled_count"))
"""And how many attempts have begun, and how many were lost."""
_FIRST = 1 + len(GIVEN)


@cache
def update_of(changed: tuple[int, ...], listed: bool) -> str:
    """The statement that writes those of ``CHANGING``, by their places; ``listed``: with what a job's place in a list
    is made of."""
    names = [*(CHANGING[place] for place in changed), *(("state", "seq", "expires_ms") if listed else ())]
    return f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"


def expires_ms(job: Job) -> int | None:
    """When its retention ends."""
    if not job.state.finished:
        return None
    keep = job.new.keep_completed if job.state is State.COMPLETED else job.new.keep_failed
    return None if keep.age_ms is None else job.finished_ms + keep.age_ms


# -- values ---------------------------------------------------------------------------------------


def limit_text(limit: Limit) -> str:
    """A limit as JSON."""
    values = (limit.key, limit.max, limit.duration_ms, limit.refill_per_s, limit.initial, limit.bounce_back)
    return json.dumps(values, separators=(",", ":"))


def limit_of(text: str) -> Limit:
    return Limit(*json.loads(text))


def _limit_or_none(limit: Limit | None) -> str | None:
    return limit_text(limit) if limit else None


def _limit_from(text: str | None) -> Limit | None:
    return limit_of(text) if text else None


def _retention_or_none(keep: Retention) -> str | None:
    return None if keep is KEEP_ALL else retention_text(keep)


def _retention_from(text: str | None) -> Retention:
    if text is None:
        return KEEP_ALL
    count, _, age = text.partition(":")
    return Retention(int(count) if count else None, int(age) if age else None)


def _deduplication_or_none(given: Deduplication | None) -> str | None:
    return json.dumps((given.id, given.ttl_ms, given.replace, given.extend), separators=(",", ":")) if given else None


def _deduplication_from(text: str | None) -> Deduplication | None:
    return Deduplication(*json.loads(text)) if text else None


_WRITES: dict[Kind, Callable[[Any], Any]] = {
    Kind.RETENTION: _retention_or_none,
    Kind.LIMIT: _limit_or_none,
    Kind.DEDUPLICATION: _deduplication_or_none,
    Kind.IDS: list,
}
"""To the value in a column, or in ``more``; the others are as they are."""
_READS: dict[Kind, Callable[[Any], Any]] = {
    Kind.RETENTION: _retention_from,
    Kind.LIMIT: _limit_from,
    Kind.DEDUPLICATION: _deduplication_from,
    Kind.FLAG: bool,
    Kind.IDS: tuple,
}
"""From it."""

# -- what a job was added with --------------------------------------------------------------------

_KINDS = {one.name: one.kind for one in TABLE}
_values = attrgetter(*_OWN)
_WRITTEN = [(place, _WRITES[_KINDS[name]]) for place, name in enumerate(_OWN) if _KINDS.get(name) in _WRITES]
_READ = [(name, _READS[_KINDS[name]]) for name in _OWN if _KINDS.get(name) in _READS]
_MORE = [one for one in TABLE if one.is_given and one.lasting and one.name not in {*_OWN, *CHANGING}]


def given(new: NewJob) -> tuple[Any, ...]:
    """The values of ``GIVEN``."""
    values, native = [*_values(new)], new.native
    for place, write in _WRITTEN:
        values[place] = write(values[place])
    return *values, native, 0 if native else new.priority, _more_text(new) if _MORE else ""


def job_of(row: tuple[Any, ...]) -> Job:
    """The job of a row of ``COLUMNS``, without its dependencies."""
    values = dict(zip(_OWN, row[1:], strict=False))
    for name, read in _READ:
        values[name] = read(values[name])
    if more := row[_FIRST - 1]:
        values.update(_more_of(more))
    job = Job(NewJob(**values), State(row[_FIRST]), 0, row[0])
    for field, value in zip(CHANGING, row[_FIRST + 1 : -1], strict=True):
        setattr(job, field, value)
    job.vacant, job.rerun = bool(job.vacant), bool(job.rerun)
    return job


def _more_text(new: NewJob) -> str:
    said = {}
    for one in _MORE:
        value = getattr(new, one.name)
        if value != one.absent:
            said[one.name] = _WRITES[one.kind](value) if one.kind in _WRITES else value
    return json.dumps(said, separators=(",", ":")) if said else ""


def _more_of(text: str) -> dict[str, Any]:
    """Without what a later release has added."""
    said = json.loads(text)
    kinds = {one.name: one.kind for one in _MORE if one.name in said}
    return {name: _READS[kind](said[name]) if kind in _READS else said[name] for name, kind in kinds.items()}
