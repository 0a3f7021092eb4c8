"""The table of a job's fields. Each has one name: that of the attribute of ``NewJob``, ``JobRecord`` and the memory
store's ``Job``, of ``F.<name>`` in scripts, and of the column in SQL. In the hashes of Redis some have a shorter one,
as the first release wrote it; that is said here, and nowhere else.

A new field is a line here, and an attribute of ``NewJob``, ``JobRecord`` or both: every store then keeps it and returns
it. Stores name only the fields that they have a rule for."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from enum import Enum, auto
from typing import Any

from stratix_kombu.model.record import JobRecord, NewJob

_ADDED = {one.name: one.default for one in fields(NewJob)}
_READ = {one.name for one in fields(JobRecord)}


class Kind(Enum):
    """What a field holds."""

    TEXT = auto()
    MAYBE = auto()
    """Text, or None if there is none."""
    FULL = auto()
    """The same; '' is none, too."""
    NUMBER = auto()
    FLAG = auto()
    NOTE = auto()
    """Text of which a record says only whether there is any."""
    STATE = auto()
    IDS = auto()
    RETENTION = auto()
    LIMIT = auto()
    DEDUPLICATION = auto()


_NONE = {Kind.TEXT: "", Kind.NUMBER: 0, Kind.FLAG: False, Kind.NOTE: False}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a job."""

    name: str
    kind: Kind
    short: str = ""
    """Its name in the hashes of Redis, if it is another one."""
    claimed: bool = True
    """Whether a claim returns it; what the claim itself implies is not read."""
    moved: bool = False
    """Whether scripts read it of each job that they move."""
    lasting: bool = True
    """Whether it is part of the record. What is not says only how the job is to be added."""
    plain: bool = True
    """Whether a job with this field is added in the plain way: it waits at once, in the common order, and is taken."""

    @property
    def wire(self) -> str:
        return self.short or self.name

    @property
    def is_given(self) -> bool:
        """Whether a job may be added with it."""
        return self.name in _ADDED

    @property
    def is_read(self) -> bool:
        """Whether it is in records."""
        return self.name in _READ

    @property
    def absent(self) -> Any:
        """Its value where nothing is stored."""
        default = _ADDED.get(self.name, MISSING)
        return _NONE.get(self.kind) if default is MISSING else default


TABLE = (
    Field("queue", Kind.TEXT, claimed=False, moved=True),
    Field("name", Kind.TEXT, moved=True),
    Field("state", Kind.STATE, claimed=False, moved=True),
    Field("priority", Kind.NUMBER, "prio", moved=True),
    Field("data", Kind.TEXT),
    Field("options", Kind.TEXT, "opts"),
    Field("created_ms", Kind.NUMBER, "created", moved=True),
    Field("due_ms", Kind.NUMBER, "due", moved=True, plain=False),
    Field("delay_ms", Kind.NUMBER, lasting=False, plain=False),
    Field("processed_ms", Kind.NUMBER, "started", claimed=False),
    Field("finished_ms", Kind.NUMBER, "finished", claimed=False, moved=True),
    Field("attempts_made", Kind.NUMBER, "made", moved=True),
    Field("attempts_started", Kind.NUMBER, "begun"),
    Field("max_attempts", Kind.NUMBER, "max", moved=True),
    Field("stalled_count", Kind.NUMBER, "stalled"),
    Field("max_stalled", Kind.NUMBER, "stalls"),
    Field("pending", Kind.NUMBER, moved=True),
    Field("dependencies", Kind.IDS, lasting=False, plain=False),
    Field("optional", Kind.FLAG, moved=True),
    Field("worker", Kind.TEXT, claimed=False),
    Field("progress", Kind.FULL),
    Field("result", Kind.FULL, claimed=False, moved=True),
    Field("failed_reason", Kind.MAYBE, "reason", moved=True),
    Field("stacktrace", Kind.FULL, "trace"),
    Field("message", Kind.TEXT, "msg", claimed=False, moved=True, plain=False),
    Field("forward", Kind.FLAG, moved=True, plain=False),
    Field("vacant", Kind.FLAG, claimed=False, moved=True, plain=False),
    Field("carries", Kind.IDS, lasting=False, plain=False),
    Field("anew", Kind.FLAG, lasting=False, plain=False),
    Field("number", Kind.NUMBER, moved=True),
    Field("kind", Kind.TEXT, moved=True),
    Field("cancelled", Kind.NOTE, "cancel", claimed=False, moved=True),
    Field("keep_completed", Kind.RETENTION, moved=True),
    Field("keep_failed", Kind.RETENTION, moved=True),
    Field("limit", Kind.LIMIT),
    Field("deduplication", Kind.DEDUPLICATION, "dedup", moved=True, plain=False),
    Field("dead_letter", Kind.TEXT, "dead"),
    Field("group", Kind.TEXT, moved=True, plain=False),
    # What only stores know of a job.
    Field("token", Kind.TEXT),
    Field("ended", Kind.TEXT, moved=True),
    Field("waiting_ms", Kind.NUMBER, "waiting"),
    Field("place", Kind.NUMBER),
    Field("line", Kind.TEXT, moved=True),
    Field("dispatches", Kind.NUMBER, "sends"),
    Field("failed_by", Kind.TEXT, moved=True),
    Field("cancel_error", Kind.TEXT),
    Field("swept", Kind.NUMBER),
    Field("rerun", Kind.FLAG),
    # What only Redis has: the deduplication id that it holds for a time; how far its edges were looked at; of an active
    # job whose completion concerns no other one, since when it had waited.
    Field("throttle", Kind.TEXT, moved=True),
    Field("looked", Kind.TEXT),
    Field("since", Kind.TEXT),
)

WIRE = {one.name: one.wire for one in TABLE}
"""What each is called in Redis."""
