"""Looking for jobs in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from stratix_kombu.model.finding import LOOKED_AT_ONCE, JobFilter, Looked, Page, not_a_cursor
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.stores.memory.state import Job


def looked_at(job: Job) -> Looked:
    """What a filter looks at."""
    new = job.new
    at = job.finished_ms if job.state.finished else job.created_ms
    group = "" if new.native else new.group
    return Looked(new.id, new.name, group, job.failed_reason or "", job.worker, at, new.kind)


def place_of(job: Job) -> list[Any]:
    """Where it stands among the jobs of its state: the one with less is first."""
    new = job.new
    if job.state is State.WAITING and new.native:
        return [2, new.priority, job.dispatched_as]
    if job.state is State.WAITING:
        return [1 if job.line else 0, *job.key]
    if job.state is State.DELAYED:
        return [job.due_ms, job.delayed_as]
    return [-job.moved_as if job.state.finished else job.moved_as]


def page_of(jobs: Iterable[Job], where: JobFilter, cursor: str, limit: int) -> Page:
    """Of jobs in order, those that come after the cursor, which is the place of the last one that was looked at."""
    after = _after(cursor) if cursor else None
    records: list[JobRecord] = []
    looked, place = 0, after
    for job in jobs:
        if after is not None and place_of(job) <= after:
            continue
        one = looked_at(job)
        if job.state.finished and one.at_ms < where.since_ms:
            break
        if looked == LOOKED_AT_ONCE or len(records) == limit:
            return Page(records, json.dumps(place), looked)
        place = place_of(job)
        if job.state.finished and where.until_ms and one.at_ms >= where.until_ms:
            continue
        looked += 1
        if where.suits(one):
            records.append(job.record())
    return Page(records, "", looked)


def _after(cursor: str) -> list[Any]:
    try:
        after = json.loads(cursor)
    except ValueError:
        raise not_a_cursor(cursor) from None
    if not isinstance(after, list) or not all(isinstance(one, int) for one in after[:3]):
        raise not_a_cursor(cursor)
    return after
