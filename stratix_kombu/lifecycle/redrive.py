"""Redrive: a dead letter becomes the job again that it describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stratix_kombu.config.options import MAX_ATTEMPTS, JobOptions, whole
from stratix_kombu.errors import ConfigurationError, InvalidPayload
from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.codec import decode_mapping
from stratix_kombu.model.letter import job_of
from stratix_kombu.model.names import check_job_name, check_queue_name
from stratix_kombu.model.record import Change, JobRecord

_KEYS = frozenset({"id", "queue", "name", "data", "options", "reason", "attempts", "max_attempts"})


def letter_of(text: str) -> Mapping[str, Any] | None:
    """The dead letter that a job's data is; None if it is not a letter, or no job can be made of it. Letters written by
    hand are accepted too, and those of the first release have no mark."""
    try:
        letter = decode_mapping(text, "a letter")
        if not letter.keys() >= _KEYS or not isinstance(letter["options"], str):
            return None
        check_queue_name(letter["queue"])
        check_job_name(letter["name"])
        JobOptions.decode(letter["options"])
        whole(letter["max_attempts"], "'max_attempts'", 1, MAX_ATTEMPTS)
        job_of(letter, "", 0, "")
    except (ConfigurationError, InvalidPayload):
        return None
    return letter


def redrive(engine: Engine, record: JobRecord, letter: Mapping[str, Any]) -> bool:
    """Put the job in the letter's place, in one step: however often this is asked for, and by however many, the job is
    added once. Whether it was, by this call."""
    engine.check_open("add jobs")
    job = job_of(letter, record.id, record.number, record.queue)
    job = replace(job, group=JobOptions.decode(letter["options"]).group)
    added = engine.store.transitions.redrive(record.id, record.number, job)
    if added is None:
        return False
    dispatch_change(engine, Change(ready=added.ready, more=added.more))
    return True
