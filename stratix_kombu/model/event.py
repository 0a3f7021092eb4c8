"""Events: written by the transition that they report, in order per queue."""

from __future__ import annotations

from dataclasses import dataclass

from stratix_kombu.model.shown import Shown

EVENT_NAMES = frozenset(
    {
        "waiting",
        "active",
        "delayed",
        "blocked",
        "progress",
        "completed",
        "failed",
        "retries_exhausted",
        "stalled",
        "drained",
        "paused",
        "resumed",
        "removed",
        "cleaned",
        "duplicated",
    }
)
"""Names the store writes."""

BUILT_IN = EVENT_NAMES | {"error"}
"""``error`` is emitted within the process only, because the store may be what failed."""

LISTENERS_GET = {
    **dict.fromkeys(EVENT_NAMES, ("the job",)),
    "completed": ("the job", "its result"),
    "failed": ("the job", "its error"),
    "progress": ("the job", "its progress"),
    "cleaned": ("the number of jobs",),
    "error": ("the error",),
    **dict.fromkeys(("drained", "paused", "resumed"), ()),
}
"""What the listeners of each are called with."""

USER_LOG = ".events"
"""The log of the user's own events; no queue can be called so."""

INLINE_RESULT_BYTES = 4096
"""A longer value is not copied into its event: listeners read it from the record. So a log cannot grow beyond some
kilobytes an entry."""


@dataclass(frozen=True, slots=True)
class Event(Shown):
    """One entry of a queue's log; ``cursor`` is where reading goes on after it."""

    cursor: str
    queue: str
    name: str
    job_id: str
    at_ms: int
    value: str | None = None
    """JSON: result of ``completed``, value of ``progress``, count of ``cleaned``, list of the data of a user's own
    event; the plain reason of ``failed``. None also for one that is too long."""
    job_name: str = ""
    missed: int = 0
    """How many entries before this one, and after the cursor that was read from, the log did not keep. Redis before
    version 7 does not tell."""
