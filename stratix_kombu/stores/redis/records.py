"""Jobs as script arguments, and records as the scripts answer them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stratix_kombu.errors import InvalidPayload
from stratix_kombu.model.letter import retention_text
from stratix_kombu.model.limiter import limit_value
from stratix_kombu.model.record import KEEP_ALL, Claim, Deduplication, Ended, JobRecord, Limit, NewJob
from stratix_kombu.model.state import State

logger = logging.getLogger("stratix_kombu.stores")

FIELDS = (
    "queue",
    "name",
    "data",
    "opts",
    "state",
    "prio",
    "created",
    "due",
    "started",
    "finished",
    "made",
    "begun",
    "max",
    "stalled",
    "pending",
    "optional",
    "worker",
    "progress",
    "result",
    "reason",
    "trace",
    "msg",
    "vacant",
    "number",
    "kind",
    "cancel",
)
"""What is read of a record, in the order of JobRecord's fields after ``id``."""
CLAIMED = tuple(
    b"name data opts prio created due made begun max stalled pending optional progress reason trace number kind".split()
)
"""What claim.lua answers of a record."""
STATES = {state.value.encode(): state for state in State}


def deduplication_value(given: Deduplication) -> dict[str, Any]:
    value: dict[str, Any] = {"id": given.id, "replace": given.replace, "extend": given.extend}
    return {**value, "ttl": given.ttl_ms} if given.ttl_ms else value


def limit_text(limit: Limit | None) -> str:
    return json.dumps(limit_value(limit)) if limit else ""


def job_arguments(job: NewJob, queue: str) -> tuple[str, str, str, str, str]:
    """id, name, data, options, and JSON of what is not default (see add_job.lua)."""
    extra: dict[str, Any] = {}
    if job.queue != queue:
        extra["queue"] = job.queue
    if job.priority:
        extra["prio"] = job.priority
    if job.delay_ms:
        extra["delay"] = job.delay_ms
    if job.due_ms:
        extra["due"] = job.due_ms
    if job.max_attempts != 1:
        extra["max"] = job.max_attempts
    if job.dependencies:
        extra["deps"] = list(dict.fromkeys(job.dependencies))
    if job.optional:
        extra["optional"] = True
    if job.keep_completed is not KEEP_ALL and job.keep_completed != KEEP_ALL:
        extra["keep_completed"] = retention_text(job.keep_completed)
    if job.keep_failed is not KEEP_ALL and job.keep_failed != KEEP_ALL:
        extra["keep_failed"] = retention_text(job.keep_failed)
    if job.limit:
        extra["limit"] = limit_text(job.limit)
    if job.deduplication:
        extra["dedup"] = deduplication_value(job.deduplication)
    if job.dead_letter:
        extra["dead"] = job.dead_letter
    if job.message:
        extra["msg"] = job.message
    if job.max_stalled is not None:
        extra["stalls"] = job.max_stalled
    if job.carries:
        extra["carries"] = job.carries
    if job.vacant:
        extra["vacant"] = True
    if job.anew:
        extra["anew"] = True
    if job.forward:
        extra["forward"] = True
    if job.kind:
        extra["kind"] = job.kind
    if job.group and not job.native:
        extra["group"] = job.group
    return job.id, job.name, job.data, job.options, json.dumps(extra) if extra else ""


def is_plain(job: NewJob) -> bool:
    """It waits at once, in the common order, and is taken with a permit."""
    special = job.dependencies or job.delay_ms or job.due_ms or job.deduplication or job.carries or job.group
    return not (special or job.vacant or job.anew or job.message or job.forward)


def kept_fields(job: NewJob) -> list[Any]:
    """The fields of the record of a plain job that are not told by its state, and their values; the name first."""
    fields: list[Any] = ["name", job.name, "data", job.data, "queue", job.queue]
    if job.options:
        fields += "opts", job.options
    if job.priority:
        fields += "prio", job.priority
    if job.max_attempts != 1:
        fields += "max", job.max_attempts
    if job.optional:
        fields += "optional", 1
    if job.keep_completed is not KEEP_ALL and job.keep_completed != KEEP_ALL:
        fields += "keep_completed", retention_text(job.keep_completed)
    if job.keep_failed is not KEEP_ALL and job.keep_failed != KEEP_ALL:
        fields += "keep_failed", retention_text(job.keep_failed)
    if job.limit:
        fields += "limit", limit_text(job.limit)
    if job.max_stalled is not None:
        fields += "stalls", job.max_stalled
    if job.dead_letter:
        fields += "dead", job.dead_letter
    if job.kind:
        fields += "kind", job.kind
    return fields


def text(value: bytes | None) -> str:
    return "" if value is None else value.decode()


def text_or_none(value: bytes | None) -> str | None:
    return value.decode() if value else None


def record_of(job_id: str, v: Sequence[Any]) -> JobRecord | None:
    """A record from the values of ``FIELDS``; None where there is none, or none that can be read: one of many must not
    keep the others from being read."""
    if not v or v[0] is None:
        return None
    try:
        return _record_of(job_id, v)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        logger.warning(
            "the record of job %r in the store cannot be read: %s",
            job_id,
            problem,
            extra={"action": "record_unreadable"},
        )
        return None


def _record_of(job_id: str, v: Sequence[Any]) -> JobRecord:
    return JobRecord(
        id=job_id,
        queue=text(v[0]),
        name=text(v[1]),
        data=text(v[2]),
        options=text(v[3]),
        state=STATES[v[4]],
        priority=int(v[5] or 0),
        created_ms=int(v[6] or 0),
        due_ms=int(v[7] or 0),
        processed_ms=int(v[8] or 0),
        finished_ms=int(v[9] or 0),
        attempts_made=int(v[10] or 0),
        attempts_started=int(v[11] or 0),
        max_attempts=int(v[12] or 1),
        stalled_count=int(v[13] or 0),
        pending=int(v[14] or 0),
        optional=v[15] == b"1",
        worker=text(v[16]),
        progress=text_or_none(v[17]),
        result=text_or_none(v[18]),
        failed_reason=None if v[19] is None else v[19].decode(),
        stacktrace=text_or_none(v[20]),
        message=text(v[21]),
        vacant=v[22] is not None,
        number=int(v[23] or 0),
        kind=text(v[24]),
        cancelled=v[25] is not None and STATES[v[4]] is State.FAILED,
    )


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

    def read(self, job_id: bytes, position: int, started: int, begun: int, v: Mapping[bytes, Any]) -> Claim:
        """``v`` is the record as it was before. Raises InvalidPayload."""
        try:
            record = self._record(job_id, started, begun, v)
        except (AttributeError, KeyError, TypeError, ValueError) as problem:
            raise InvalidPayload(f"the record of job {job_id!r} in the store cannot be read: {problem}") from problem
        return Claim(f"{self.request}:{position}", record, max(started - self.now, 0))

    def _record(self, job_id: bytes, started: int, begun: int, v: Mapping[bytes, Any]) -> JobRecord:
        get, reason = v.get, v.get(b"reason")
        return JobRecord(
            id=job_id.decode(),
            queue=self.queue,
            name=v[b"name"].decode(),
            data=v[b"data"].decode(),
            options=text(get(b"opts")),
            state=State.ACTIVE,
            priority=int(get(b"prio") or 0),
            created_ms=int(v[b"created"]),
            due_ms=int(get(b"due") or 0),
            processed_ms=started,
            finished_ms=0,
            attempts_made=int(get(b"made") or 0),
            attempts_started=begun,
            max_attempts=int(get(b"max") or 1),
            stalled_count=int(get(b"stalled") or 0),
            pending=int(get(b"pending") or 0),
            optional=get(b"optional") == b"1",
            worker=self.worker,
            progress=text_or_none(get(b"progress")),
            result=None,
            failed_reason=None if reason is None else reason.decode(),
            stacktrace=text_or_none(get(b"trace")),
            number=int(get(b"number") or 0),
            kind=text(get(b"kind")),
        )
