"""Dead letters: what is kept of a job that has failed, and the job that is made of it again."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stratix_kombu.errors import InvalidPayload
from stratix_kombu.model.codec import encode
from stratix_kombu.model.limiter import limit_from, limit_value
from stratix_kombu.model.names import again_id, letter_id
from stratix_kombu.model.record import KEEP_ALL, LETTER, JobRecord, NewJob, Retention


@dataclass(frozen=True, slots=True)
class Fallback:
    """What the program that runs a queue's jobs says of those that do not say it themselves."""

    dead_letter: str = ""
    keep_completed: Retention = KEEP_ALL
    """Of letters that are handled; the programs that leave them do not know how long the queue keeps its jobs."""
    keep_failed: Retention = KEEP_ALL


NO_FALLBACK = Fallback()


def retention_text(keep: Retention) -> str:
    """``count:age``; either part may be empty."""
    count = "" if keep.count is None else keep.count
    return f"{count}:{'' if keep.age_ms is None else keep.age_ms}"


def retention_from(text: object) -> Retention:
    """What ``retention_text`` made of it; all that is no text keeps everything. Raises ValueError."""
    if not isinstance(text, str):
        return KEEP_ALL
    count, _, age = text.partition(":")
    if not (count + age).isdecimal() and count + age:
        raise ValueError(f"{text!r} is not a retention")
    return Retention(int(count) if count else None, int(age) if age else None)


def path_of(job: JobRecord) -> list[str] | None:
    """The queues in which a job has failed, with its own, where it fails now; before that, for a letter, those of what
    it tells of. None if a letter does not say."""
    if job.kind != LETTER:
        return [job.queue]
    letter = json.loads(job.data)
    if not isinstance(letter, dict):  # its handler has replaced the data
        return None
    path = letter.get("path")
    if not isinstance(path, list):  # it tells of a job that was no letter
        path = [letter["queue"]] if "queue" in letter else None
    return path and [*path, job.queue]


def letter_for(job: JobRecord, new: NewJob, reason: str) -> NewJob | None:
    """The letter of a job that has failed; None if it would be for a queue in which it has failed before: so none goes
    round. Stores that cannot call this write the same (see ``bury.lua``)."""
    path = path_of(job)
    if path is None or new.dead_letter in path:
        return None
    letter = {
        "id": job.id,
        "queue": job.queue,
        "name": job.name,
        "data": json.loads(job.data),
        "options": job.options,
        "reason": reason,
        "attempts": job.attempts_made,
        "max_attempts": job.max_attempts,
        "again": {
            "priority": job.priority,
            "max_stalled": new.max_stalled,
            "keep_completed": None if new.keep_completed == KEEP_ALL else retention_text(new.keep_completed),
            "keep_failed": None if new.keep_failed == KEEP_ALL else retention_text(new.keep_failed),
            "limit": limit_value(new.limit) if new.limit else None,
        },
    }
    if job.kind == LETTER:
        letter["path"] = path
    return NewJob(
        id=letter_id(job.id, job.number, job.attempts_started),
        queue=new.dead_letter,
        name=job.name,
        kind=LETTER,
        data=json.dumps(letter, separators=(",", ":"), ensure_ascii=False),
    )


def job_of(letter: Mapping[str, Any], letter_id: str, number: int, dead_letter: str) -> NewJob:
    """The job that a letter describes, to be added as it was, without dependencies, delay and deduplication.
    Id, number and queue are those of the letter's record. Raises InvalidPayload."""
    again = letter.get("again")  # the first release kept less
    kept: Mapping[str, Any] = again if isinstance(again, Mapping) else {}
    try:
        return NewJob(
            id=again_id(letter_id, number),
            queue=letter["queue"],
            name=letter["name"],
            data=encode(letter["data"], "a letter", sys.maxsize),  # it was small enough for its queue
            options=letter["options"],
            max_attempts=letter["max_attempts"],
            dead_letter=dead_letter,
            priority=min(max(int(kept.get("priority") or 0), 0), 9),
            max_stalled=None if kept.get("max_stalled") is None else max(int(kept["max_stalled"]), 0),
            keep_completed=retention_from(kept.get("keep_completed")),
            keep_failed=retention_from(kept.get("keep_failed")),
            limit=limit_from(kept["limit"]) if kept.get("limit") else None,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as problem:
        raise InvalidPayload(f"the letter {letter_id!r} cannot be read: {problem}") from problem
