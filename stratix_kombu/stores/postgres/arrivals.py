"""Jobs in the table ``incoming``: as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from stratix_kombu.config.options import JobOptions
from stratix_kombu.model.fields import TABLE, Field, Kind
from stratix_kombu.model.instant import LAST_MS
from stratix_kombu.model.letter import retention_from, retention_text
from stratix_kombu.model.limiter import limit_from, limit_value
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


@dataclass(frozen=True, slots=True)
class Arrival:
    """A row of the table; ``new`` is None where it cannot be used, for the ``problem``."""

    number: int
    id: str
    new: NewJob | None = None
    problem: str = ""

    @property
    def dependencies(self) -> tuple[str, ...]:
        return self.new.dependencies if self.new else ()


def new_job(job_id: str, added_ms: int, text: str) -> NewJob:
    """The job. Raises KeyError, TypeError, ValueError, ArithmeticError or RecursionError where what is said cannot be
    used."""
    said = json.loads(text)
    given = {one.name: _read(one, said[one.name]) for one in _SAID if said.get(one.name) is not None}
    if job_id in given.get("dependencies", ()):
        raise ValueError("it depends on itself")
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
    """Strictly: what a step cannot write would keep every other one from being taken in."""
    match one.kind:
        case Kind.NUMBER:
            return _number(value)
        case Kind.FLAG:
            return bool(value)
        case Kind.IDS:
            if not isinstance(value, list):
                raise TypeError(f"{one.name} is no array: {value!r}")
            return tuple(map(str, value))
        case Kind.RETENTION:
            return retention_from(str(value))
        case Kind.LIMIT:
            return limit_from(limit_value(Limit(**value)))
        case Kind.DEDUPLICATION:
            given = Deduplication(**{key: part for key, part in dict(value).items() if part is not None})
            return replace(given, id=str(given.id), ttl_ms=_number(given.ttl_ms))
    return str(value)


def _number(value: Any) -> int:
    number = int(value)
    if abs(number) > LAST_MS:
        raise ValueError(f"{value!r} is too large")
    return number


def arrival(number: int, job_id: str, added_ms: int, text: str) -> Arrival:
    """Of a row."""
    try:
        return Arrival(number, job_id, new_job(job_id, added_ms, text))
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as problem:
        return Arrival(number, job_id, problem=repr(problem))


def in_order(arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Each behind those that it depends on, and otherwise as they came. Of a cycle one is the first."""
    named: dict[str, Arrival] = {}
    for one in arrivals:
        named.setdefault(one.id, one)
    ordered, seen = dict[int, Arrival](), set[int]()
    for one in arrivals:
        path = [one]
        while path:
            last = path[-1]
            if last.number in seen:
                ordered.setdefault(last.number, path.pop())
                continue
            seen.add(last.number)
            below = [named[job_id] for job_id in reversed(last.dependencies) if job_id in named]
            path.extend(job for job in below if job.number not in seen)
    return list(ordered.values())
