"""A job as a row."""

from __future__ import annotations

import json
from operator import attrgetter, itemgetter
from typing import Any

from stratix_kombu.model.letter import retention_text
from stratix_kombu.model.record import KEEP_ALL, Deduplication, Limit, NewJob, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.state import Job

GIVEN = [
    "id",
    "queue",
    "name",
    "options",
    "priority",
    "max_attempts",
    "optional",
    "keep_completed",
    "keep_failed",
    "own_limit",
    "deduplication",
    "dead_letter",
    "message",
    "max_stalled",
    "forward",
    "kind",
    "job_group",
    "native",
    "rank",
]
"""What a job was added with."""
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
COLUMNS = ["number", *GIVEN, "state", *CHANGING, "seq"]

SELECT = f"SELECT {', '.join(COLUMNS)} FROM jobs"
INSERT = f"INSERT INTO jobs ({', '.join(COLUMNS)}, expires_ms) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"
_CHANGED = ["state", *CHANGING, "seq", "expires_ms"]
UPDATE = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in _CHANGED)} WHERE number = ?"
UPDATE_GIVEN = f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in GIVEN)} WHERE number = ?"

changing = attrgetter(*CHANGING)
"""Their values, of a ``Job``."""
stands = itemgetter(CHANGING.index("line"), CHANGING.index("dispatched_as"))
"""Of these, what else gives a job another place in a list."""
_FIRST = 1 + len(GIVEN)


def given(new: NewJob) -> tuple[Any, ...]:
    """The values of ``GIVEN``."""
    native = new.native
    return (
        new.id,
        new.queue,
        new.name,
        new.options,
        new.priority,
        new.max_attempts,
        new.optional,
        None if new.keep_completed is KEEP_ALL else retention_text(new.keep_completed),
        None if new.keep_failed is KEEP_ALL else retention_text(new.keep_failed),
        limit_text(new.limit) if new.limit else None,
        _deduplication_text(new.deduplication) if new.deduplication else None,
        new.dead_letter,
        new.message,
        new.max_stalled,
        new.forward,
        new.kind,
        new.group,
        native,
        0 if native else new.priority,
    )


def job_of(row: tuple[Any, ...]) -> Job:
    """The job of a row of ``COLUMNS``, without its dependencies."""
    number, job_id, queue, name, options, priority, max_attempts, optional, completed, failed, limit = row[:11]
    deduplication, dead_letter, message, max_stalled, forward, kind, group = row[11:18]
    new = NewJob(
        id=job_id,
        queue=queue,
        name=name,
        options=options,
        priority=priority,
        max_attempts=max_attempts,
        optional=bool(optional),
        keep_completed=_retention_of(completed),
        keep_failed=_retention_of(failed),
        limit=limit_of(limit) if limit else None,
        deduplication=Deduplication(*json.loads(deduplication)) if deduplication else None,
        dead_letter=dead_letter,
        message=message,
        max_stalled=max_stalled,
        forward=bool(forward),
        kind=kind,
        group=group,
    )
    job = Job(new, State(row[_FIRST]), 0, number)
    for field, value in zip(CHANGING, row[_FIRST + 1 : -1], strict=True):
        setattr(job, field, value)
    job.vacant, job.rerun = bool(job.vacant), bool(job.rerun)
    return job


def expires_ms(job: Job) -> int | None:
    """When its retention ends."""
    if not job.state.finished:
        return None
    keep = job.new.keep_completed if job.state is State.COMPLETED else job.new.keep_failed
    return None if keep.age_ms is None else job.finished_ms + keep.age_ms


def limit_text(limit: Limit) -> str:
    """A limit as JSON."""
    values = (limit.key, limit.max, limit.duration_ms, limit.refill_per_s, limit.initial, limit.bounce_back)
    return json.dumps(values, separators=(",", ":"))


def limit_of(text: str) -> Limit:
    return Limit(*json.loads(text))


def _deduplication_text(one: Deduplication) -> str:
    return json.dumps((one.id, one.ttl_ms, one.replace, one.extend), separators=(",", ":"))


def _retention_of(text: str | None) -> Retention:
    if text is None:
        return KEEP_ALL
    count, _, age = text.partition(":")
    return Retention(int(count) if count else None, int(age) if age else None)
