"""The table of a job's fields: what each is called in the hash of its record, by the scripts, by ``JobRecord`` and by
``NewJob``, and how it is read and written. All conversions between them use it.

A new field is a line here and an attribute of ``JobRecord`` or ``NewJob``. Scripts name only the fields that they have
a rule for; the others are stored and returned without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from typing import Any

from stratix_kombu.model.letter import retention_text
from stratix_kombu.model.record import JobRecord, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.stores.redis.texts import deduplication_value, limit_text, text

STATES = {state.value.encode(): state for state in State}


def text_or_none(value: bytes) -> str | None:
    return value.decode() or None


def is_one(value: bytes) -> bool:
    return value == b"1"


def is_there(_: bytes) -> bool:
    return True


def number(value: bytes) -> int:
    return int(value or 0)


def as_it_is(value: Any) -> Any:
    return value


def each_once(ids: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(ids))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a job."""

    word: str
    """Its name in the hash, in scripts, and in their arguments."""
    record: str = ""
    """The attribute of ``JobRecord``; '' if only the store uses it."""
    read: Callable[[bytes], Any] = text
    """Converts the value in the hash to the attribute."""
    absent: Any = ""
    """Its value where the hash has no such field."""
    claimed: bool = True
    """Whether a claim returns it; what the claim itself implies is not read."""
    given: str = ""
    """The attribute of ``NewJob`` that sets it when the job is added; '' if there is none."""
    write: Callable[[Any], Any] = as_it_is
    """Converts that attribute to the script's argument."""
    kept: bool = True
    """Whether it is stored in the record as given. The scripts process the others."""
    plain: bool = True
    """Whether a job with this field is added in the plain way: it waits at once, in the common order, and is taken."""


TABLE = (
    Field("queue", "queue", claimed=False),
    Field("name", "name"),
    Field("data", "data"),
    Field("opts", "options"),
    Field("state", "state", read=STATES.__getitem__, claimed=False),
    Field("prio", "priority", read=number, absent=0, given="priority"),
    Field("created", "created_ms", read=number, absent=0),
    Field("due", "due_ms", read=number, absent=0, given="due_ms", kept=False, plain=False),
    Field("delay", given="delay_ms", kept=False, plain=False),
    Field("started", "processed_ms", read=number, absent=0, claimed=False),
    Field("finished", "finished_ms", read=number, absent=0, claimed=False),
    Field("made", "attempts_made", read=number, absent=0),
    Field("begun", "attempts_started", read=number, absent=0),
    Field("max", "max_attempts", read=number, absent=1, given="max_attempts"),
    Field("stalled", "stalled_count", read=number, absent=0),
    Field("stalls", given="max_stalled"),
    Field("pending", "pending", read=number, absent=0),
    Field("deps", given="dependencies", write=each_once, kept=False, plain=False),
    Field("optional", "optional", read=is_one, absent=False, given="optional"),
    Field("worker", "worker", claimed=False),
    Field("progress", "progress", read=text_or_none, absent=None),
    Field("result", "result", read=text_or_none, absent=None, claimed=False),
    Field("reason", "failed_reason", absent=None),
    Field("trace", "stacktrace", read=text_or_none, absent=None),
    Field("msg", "message", claimed=False, given="message", plain=False),
    Field("forward", given="forward", plain=False),
    Field("vacant", "vacant", read=is_there, absent=False, claimed=False, given="vacant", plain=False),
    Field("carries", given="carries", kept=False, plain=False),
    Field("anew", given="anew", kept=False, plain=False),
    Field("number", "number", read=number, absent=0),
    Field("kind", "kind", given="kind"),
    Field("cancel", "cancelled", read=is_there, absent=False, claimed=False),
    Field("keep_completed", given="keep_completed", write=retention_text),
    Field("keep_failed", given="keep_failed", write=retention_text),
    Field("limit", given="limit", write=limit_text),
    Field("dedup", given="deduplication", write=deduplication_value, kept=False, plain=False),
    Field("dead", given="dead_letter"),
    Field("group", given="group", plain=False),
)

# -- reading a record -----------------------------------------------------------------------------

_READ = tuple(one for one in TABLE if one.record)
WORDS = tuple(one.word for one in _READ)
"""What is read of a record."""
CLAIMED = tuple(one.word.encode() for one in _READ if one.claimed)
"""What a claim brings of it."""
_ABSENT = {one.record: one.absent for one in _READ}
_ABSENT_CLAIMED = {name: value for name, value in _ABSENT.items() if name not in ("name", "data", "created_ms")}
"""Without these a job is not run."""
_HOW = {one.word.encode(): (one.record, one.read) for one in _READ}
_HOW_CLAIMED = {one.word.encode(): (one.record, one.read) for one in _READ if one.claimed}


def record_from(job_id: str, values: Any) -> JobRecord:
    """A record from pairs of words and what the hash holds. Raises AttributeError, KeyError, TypeError or ValueError if
    it cannot be read."""
    return JobRecord(**_values(_ABSENT, _HOW, values), id=job_id)


def claimed_from(values: Any, **told: Any) -> JobRecord:
    """A record of which a claim brings these pairs, and tells the rest. Raises as ``record_from``."""
    return JobRecord(**{**_values(_ABSENT_CLAIMED, _HOW_CLAIMED, values), **told})


def _values(absent: dict[str, Any], how: dict[bytes, tuple[str, Callable[[bytes], Any]]], pairs: Any) -> dict[str, Any]:
    found = dict(absent)
    for word, value in pairs:
        if value is not None and word in how:
            name, read = how[word]
            found[name] = read(value)
    return found


# -- adding a job ---------------------------------------------------------------------------------

_GIVEN = tuple(one for one in TABLE if one.given)
_default = {one.name: one.default for one in fields(NewJob) if one.default is not MISSING}
_said = attrgetter(*(one.given for one in _GIVEN))
_UNSAID = tuple(_default[one.given] for one in _GIVEN)
_WRITTEN = tuple((one.word, one.write, _default[one.given]) for one in _GIVEN)
_PLAIN = frozenset(one.word for one in _GIVEN if one.plain)


def said_of(job: NewJob) -> dict[str, Any]:
    """What a job says that is not so for all that say nothing."""
    values = _said(job)
    if values == _UNSAID:
        return {}
    said = dict[str, Any]()
    for value, (word, write, unsaid) in zip(values, _WRITTEN, strict=True):
        if value is not unsaid and value != unsaid:
            said[word] = write(value)
    if "group" in said and job.native:
        del said["group"]
    return said


def plain_fields(job: NewJob) -> list[Any] | None:
    """What the record of a plain job holds that is not told by its state: words and values, the name first. None for
    one that is not plain."""
    said = said_of(job)
    if not said.keys() <= _PLAIN:
        return None
    found: list[Any] = ["name", job.name, "data", job.data, "queue", job.queue]
    if job.options:
        found += "opts", job.options
    for word, value in said.items():
        found += word, 1 if value is True else value
    return found


# -- in scripts -----------------------------------------------------------------------------------

_FLAGS = tuple(one.word for one in _GIVEN if one.kept and isinstance(_default[one.given], bool))
IN_SCRIPTS = {
    "claimed": tuple(one.decode() for one in CLAIMED),
    "kept": tuple(one.word for one in _GIVEN if one.kept and one.word not in _FLAGS),
    "flags": _FLAGS,
}
"""Lists of words by the names under which scripts ask for them: see ``scripts.source``."""
