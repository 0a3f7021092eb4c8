"""Jobs as script arguments, and records as the scripts answer them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stratix_kombu.errors import InvalidPayload
from stratix_kombu.model.record import Claim, Ended, JobRecord, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.stores.redis.fields import WORDS, claimed_from, plain_fields, record_from, said_of

logger = logging.getLogger("stratix_kombu.stores")

_NAMES = tuple(one.encode() for one in WORDS)
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


def job_arguments(job: NewJob, queue: str) -> tuple[str, str, str, str, str]:
    """id, name, data, options, and JSON of what is not default (see add_job.lua)."""
    said = said_of(job)
    if job.queue != queue:
        said["queue"] = job.queue
    return job.id, job.name, job.data, job.options, json.dumps(said) if said else ""


def rows_of(jobs: Sequence[NewJob]) -> list[Any] | None:
    """What add_many.lua takes of jobs from its number of priorities on; None if they are not as it adds them."""
    queue, size, like = jobs[0].queue, 0, None
    counts: dict[int, int] = {}
    rows: list[Any] = []
    for job in jobs:
        fields = plain_fields(job) if job.fresh and job.queue == queue and not job.message else None
        if fields is None:
            return None
        if like != (job.priority, fields):
            like, size = (job.priority, fields), len(rows) + 1
            rows += (job.priority, 0, len(fields), *fields)
        counts[job.priority] = counts.get(job.priority, 0) + 1
        rows[size] += 1
        rows += (job.id, job.name, job.data)
    return [len(counts), *(part for each in counts.items() for part in each), *rows]


def then_text(jobs: Sequence[NewJob]) -> str:
    """What then.lua takes: a line of JSON with such arguments, the last of which is no text of its own, and behind it
    the messages, which may be long: the line says how many bytes each one has."""
    if not jobs:
        return ""
    listed: list[Any] = []
    messages: list[str] = []
    for job in jobs:
        said = said_of(job)
        if job.message:
            messages.append(job.message)
            said["message"] = len(job.message) if job.message.isascii() else len(job.message.encode())
        listed.append([job.queue, job.id, job.name, job.data, job.options, said])
    return "\n".join((json.dumps(listed), "".join(messages)))


def record_of(job_id: str, values: Sequence[Any]) -> JobRecord | None:
    """A record from the values of ``WORDS``; None if it does not exist or cannot be read: one of many must not prevent
    the others from being read."""
    if not values or values[0] is None:
        return None
    try:
        record = record_from(job_id, zip(_NAMES, values, strict=True))
    except _UNREADABLE as problem:
        logger.warning(
            "the record of job %r in the store cannot be read: %s",
            job_id,
            problem,
            extra={"action": "record_unreadable"},
        )
        return None
    if record.cancelled and record.state is not State.FAILED:  # it is to end
        return replace(record, cancelled=False)
    return record


def ended_of(raw: bytes) -> Ended:
    """What retire of moves.lua has written."""
    how, _, said = raw.decode().partition("\n")
    state, finished, _ = how.split(":", 2)
    if state == State.COMPLETED.value:
        return Ended(State.COMPLETED, int(finished), result=said)
    return Ended(State.FAILED, int(finished), failed_reason=said, cancelled=state == "cancelled")


@dataclass(frozen=True, slots=True)
class ClaimsOf:
    """Claims from the answers of take.lua and claim.lua to one request."""

    queue: str
    worker: str
    request: str
    now: int

    def read(
        self, job_id: bytes, position: int, started: int, begun: int, values: Iterable[tuple[bytes, Any]]
    ) -> Claim:
        """``values`` are words and values of the record as it was before. Raises InvalidPayload."""
        try:
            record = claimed_from(
                values,
                id=job_id.decode(),
                queue=self.queue,
                state=State.ACTIVE,
                processed_ms=started,
                attempts_started=begun,
                worker=self.worker,
            )
        except _UNREADABLE as problem:
            raise InvalidPayload(f"the record of job {job_id!r} in the store cannot be read: {problem}") from problem
        return Claim(f"{self.request}:{position}", record, max(started - self.now, 0))
