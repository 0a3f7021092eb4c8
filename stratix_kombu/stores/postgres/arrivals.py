"""Jobs in the table ``incoming``: as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from stratix_kombu.config.options import JobOptions
from stratix_kombu.model.fields import TABLE, Field, Kind
from stratix_kombu.model.letter import retention_from, retention_text
from stratix_kombu.model.record import Deduplication, Limit, NewJob

_SAID = [one for one in TABLE if one.is_given and one.name not in ("data", "options", "vacant", "carries", "anew")]


def said_of(new: NewJob) -> dict[str, Any]:
    """A job as ``add_1`` takes it. JSON within it is text: PostgreSQL does not have all that may be in JSON."""
    said: dict[str, Any] = {"id": new.id, "data_text": new.data}
    if new.options:
        said["options_text"] = new.options
    for one in _SAID:
        value = getattr(new, one.name)
        if value != one.absent:
            said[one.name] = _written(one, value)
    return said


def _written(one: Field, value: Any) -> Any:
    if one.kind is Kind.RETENTION:
        return retention_text(value)
    return asdict(value) if one.kind in (Kind.LIMIT, Kind.DEDUPLICATION) else value


def new_job(job_id: str, added_ms: int, text: str) -> NewJob:
    """The job. Raises KeyError, TypeError or ValueError where what is said cannot be used."""
    said = json.loads(text)
    given = {one.name: _read(one, said[one.name]) for one in _SAID if said.get(one.name) is not None}
    delay_ms = given.pop("delay_ms", 0)
    due_ms = max(given.pop("due_ms", 0), added_ms + delay_ms if delay_ms else 0)
    options = said.get("options_text")
    if options is None:
        options, attempts = _options(said.get("options") or {}, given.get("group", ""))
        given.setdefault("max_attempts", attempts)
    return NewJob(
        **given,
        id=job_id,
        data=said["data_text"] if "data_text" in said else json.dumps(said.get("data")),
        options=options,
        due_ms=due_ms,
    )


def _options(said: Mapping[str, Any], group: str) -> tuple[str, int]:
    """What is kept with a job of what SQL says as ``queue.add`` takes it; and its attempts."""
    given = {"attempts": said.get("attempts"), "timeout": said.get("timeout"), "group": group or None}
    options = JobOptions.parse({**given, "backoff": _backoff(said.get("backoff"))}, "options")
    return options.encode(), options.attempts


def _backoff(said: Any) -> Any:
    """In the words of ``queue.add``: the function takes those in which it is kept, too."""
    if not isinstance(said, Mapping):
        return said
    words = {"delay" if key == "delay_ms" else key: value for key, value in said.items() if value is not None}
    if "custom" in words and words.get("type") == "custom":
        del words["type"]
    return words


def _read(one: Field, value: Any) -> Any:
    match one.kind:
        case Kind.NUMBER:
            return int(value)
        case Kind.FLAG:
            return bool(value)
        case Kind.IDS:
            return tuple(map(str, value))
        case Kind.RETENTION:
            return retention_from(str(value))
        case Kind.LIMIT:
            return Limit(**value)
        case Kind.DEDUPLICATION:
            return Deduplication(**value)
    return str(value)
