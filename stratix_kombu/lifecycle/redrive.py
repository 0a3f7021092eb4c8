"""Redrive: a dead letter becomes the job again that it tells of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from stratix_kombu.drivers.native import grouped
from stratix_kombu.errors import JobError
from stratix_kombu.lifecycle.add import add
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.remove import remove
from stratix_kombu.model.codec import encode
from stratix_kombu.model.record import NewJob
from stratix_kombu.options import JobOptions

_KEYS = frozenset({"id", "queue", "name", "data", "options", "reason", "attempts", "max_attempts"})


def is_letter(data: Any) -> bool:
    """Whether the data of a job is that of a dead letter."""
    return isinstance(data, Mapping) and data.keys() >= _KEYS


def redrive(engine: Engine, letter_id: str, letter: Mapping[str, Any], dead_letter: str) -> None:
    """Add the job under an id that the letter determines, then remove the letter: interrupted, it is done once."""
    data = encode(letter["data"], "a letter", sys.maxsize)  # it was small enough for its queue
    again = NewJob(
        id=f"{letter_id}.again", queue=letter["queue"], name=letter["name"], data=data,
        options=letter["options"], max_attempts=letter["max_attempts"], dead_letter=dead_letter,
    )  # fmt: skip
    add(engine, [grouped(again, engine.driver, JobOptions.decode(letter["options"]).group)])
    with suppress(JobError):  # somebody else was as quick
        remove(engine, letter_id)
