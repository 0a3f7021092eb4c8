"""Redrive: a dead letter becomes the job again that it tells of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha1
from typing import Any

from stratix_kombu.drivers.native import grouped
from stratix_kombu.errors import ConfigurationError, InvalidPayload, JobError
from stratix_kombu.lifecycle.add import add
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.remove import remove
from stratix_kombu.model.codec import decode_mapping, encode
from stratix_kombu.model.names import MAX_ID, check_job_name, check_queue_name
from stratix_kombu.model.record import NewJob
from stratix_kombu.options import MAX_ATTEMPTS, JobOptions, whole

_KEYS = frozenset({"id", "queue", "name", "data", "options", "reason", "attempts", "max_attempts"})


def letter_of(text: str) -> Mapping[str, Any] | None:
    """The dead letter that is the data of a job; None if it is none, or none of which a job can be made."""
    try:
        letter = decode_mapping(text, "a letter")
        if not letter.keys() >= _KEYS or not isinstance(letter["options"], str):
            return None
        check_queue_name(letter["queue"])
        check_job_name(letter["name"])
        JobOptions.decode(letter["options"])
        whole(letter["max_attempts"], "'max_attempts'", 1, MAX_ATTEMPTS)
    except (ConfigurationError, InvalidPayload):
        return None
    return letter


def _again(letter_id: str) -> str:
    """One id for one letter, and no longer for a job that dies again and again."""
    job_id = f"{letter_id}.again"
    return job_id if len(job_id) <= MAX_ID else f"{sha1(letter_id.encode(), usedforsecurity=False).hexdigest()}.again"


def redrive(engine: Engine, letter_id: str, letter: Mapping[str, Any], dead_letter: str) -> None:
    """Add the job under an id that the letter determines, then remove the letter: interrupted, it is done once."""
    data = encode(letter["data"], "a letter", sys.maxsize)  # it was small enough for its queue
    again = NewJob(
        id=_again(letter_id), queue=letter["queue"], name=letter["name"], data=data,
        options=letter["options"], max_attempts=letter["max_attempts"], dead_letter=dead_letter,
    )  # fmt: skip
    add(engine, [grouped(again, engine.driver, JobOptions.decode(letter["options"]).group)])
    with suppress(JobError):  # somebody else was as quick
        remove(engine, letter_id)
