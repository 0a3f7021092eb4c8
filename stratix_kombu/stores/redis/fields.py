"""A job's fields on Redis: how those of the table in ``model/fields.py`` are read and written, and what scripts are
told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

from stratix_kombu.model.fields import TABLE, WIRE, Field, Kind
from stratix_kombu.model.letter import retention_text
from stratix_kombu.model.record import JobRecord, NewJob, Ready
from stratix_kombu.model.state import State
from stratix_kombu.stores.redis.texts import deduplication_value, limit_text, text

STATES = {state.value.encode(): state for state in State}

EVENT = {"name": "e", "job_id": "i", "job_name": "n", "value": "v"}
"""What the attributes of an ``Event`` are called in an entry of a log."""

_READY = fields(Ready)
READY = {one.name: place for place, one in enumerate(_READY, 1)}
"""Where the parts of a message that is to be sent stand in an answer."""
_OF_TYPES: dict[Any, Callable[[Any], Any]] = {"str": bytes.decode, "int": int, "bool": bool}
READS_OF_READY = tuple(_OF_TYPES[one.type] for one in _READY)
"""How each is read, in order."""

_OWN_FORM = {"due_ms", "deduplication"}
"""What scripts do not store as it is given."""


def _text_or_none(value: bytes) -> str | None:
    return value.decode() or None


def _is_one(value: bytes) -> bool:
    return value == b"1"


def _is_there(_: bytes) -> bool:
    return True


def _number(value: bytes) -> int:
    return int(value or 0)


_READS: dict[Kind, Callable[[bytes], Any]] = {
    Kind.FULL: _text_or_none,
    Kind.NUMBER: _number,
    Kind.FLAG: _is_one,
    Kind.NOTE: _is_there,
    Kind.STATE: STATES.__getitem__,
}
"""From the value in a hash; the others are text."""


def _as_it_is(value: Any) -> Any:
    return value


def _each_once(ids: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(ids))


_WRITES: dict[Kind, Callable[[Any], Any]] = {
    Kind.IDS: _each_once,
    Kind.RETENTION: retention_text,
    Kind.LIMIT: limit_text,
    Kind.DEDUPLICATION: deduplication_value,
}
"""To an argument of a script; the others are as they are."""

# -- reading a record -----------------------------------------------------------------------------

_READ = tuple(one for one in TABLE if one.is_read)
WORDS = tuple(one.wire for one in _READ)
"""What is read of a record, by the names in its hash."""
_NEW = ("name", "priority", "data", "options", "created_ms", "number")
"""What a claim brings of a job that was never begun and waited for nothing."""
CLAIMED = tuple(one.wire.encode() for one in sorted(_READ, key=lambda one: one.name not in _NEW) if one.claimed)
"""What a claim brings of a record: those of a new job first."""
_ABSENT = {one.name: one.absent for one in _READ}
_ABSENT_CLAIMED = {name: value for name, value in _ABSENT.items() if name not in ("name", "data", "created_ms")}
"""Without these a job is not run."""
_HOW = {one.wire.encode(): (one.name, _READS.get(one.kind, text)) for one in _READ}
_HOW_CLAIMED = {wire: _HOW[wire] for wire in CLAIMED}


def record_from(job_id: str, values: Any) -> JobRecord:
    """A record from pairs of names and values of its hash. Raises AttributeError, KeyError, TypeError or ValueError if
    it cannot be read."""
    return JobRecord(**_values(_ABSENT, _HOW, values), id=job_id)


def claimed_from(values: Any, **told: Any) -> JobRecord:
    """A record of which a claim brings these pairs, and implies the rest. Raises as ``record_from``."""
    return JobRecord(**{**_values(_ABSENT_CLAIMED, _HOW_CLAIMED, values), **told})


def _values(absent: dict[str, Any], how: dict[bytes, tuple[str, Callable[[bytes], Any]]], pairs: Any) -> dict[str, Any]:
    found = dict(absent)
    for wire, value in pairs:
        if value is not None and wire in how:
            name, read = how[wire]
            found[name] = read(value)
    return found


# -- adding a job ---------------------------------------------------------------------------------

_APART = {"queue", "name", "data", "options"}
"""What scripts are sent besides."""
_GIVEN = tuple(one for one in TABLE if one.is_given and one.name not in _APART)
_said = attrgetter(*(one.name for one in _GIVEN))
_UNSAID = tuple(one.absent for one in _GIVEN)
_WRITTEN = tuple((one.name, _WRITES.get(one.kind, _as_it_is), one.absent) for one in _GIVEN)
_PLAIN = frozenset(one.name for one in _GIVEN if one.plain)


def said_of(job: NewJob) -> dict[str, Any]:
    """What a job says that is not so for all that say nothing."""
    values = _said(job)
    if values == _UNSAID:
        return {}
    said: dict[str, Any] = {}
    for value, (name, write, unsaid) in zip(values, _WRITTEN, strict=True):
        if value is not unsaid and value != unsaid:
            said[name] = write(value)
    if "group" in said and job.native:
        del said["group"]
    return said


def plain_fields(job: NewJob) -> list[Any] | None:
    """What the hash of a plain job holds besides what that of every job does: names and values. Its message, if it has
    one, is sent apart from them. None for one that is not plain."""
    said = said_of(job)
    if said.pop("message", ""):
        said.pop("anew", None)  # nothing has its id that could give way
    if not said.keys() <= _PLAIN:
        return None
    found: list[Any] = [WIRE["options"], job.options] if job.options else []
    for name, value in said.items():
        found += WIRE[name], 1 if value is True else value
    return found


# -- in scripts -----------------------------------------------------------------------------------

_MOVED = tuple(one for one in TABLE if one.moved)


def _quoted(words: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _in_lua(field: Field, place: int) -> str:
    """The field of a table, from the value in that place of the list ``v``."""
    if field.kind is Kind.NUMBER:
        return f"{field.name} = num(v[{place}], {field.absent})"
    return f"{field.name} = v[{place}]" + (" == '1'" if field.kind is Kind.FLAG else "")


_kept = [one for one in _GIVEN if one.lasting and one.name not in _OWN_FORM]
IN_SCRIPTS = {
    "new": _quoted([one.decode() for one in CLAIMED[: len(_NEW)]]),
    "claimed": _quoted([one.decode() for one in CLAIMED]),
    "moved": _quoted([one.wire for one in _MOVED]),
    "job": ", ".join(_in_lua(one, place) for place, one in enumerate(_MOVED, 1)),
    "kept": _quoted([word for one in _kept for word in (one.name, one.wire)]),
}
"""What stands for ``--[[@NAME]]``: the names in a hash of what a claim brings of new jobs, of all, and of what scripts
read of a job that they move; the table they make of the latter; name and name in the hash of what is stored as it is
given."""
