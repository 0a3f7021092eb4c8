"""The attempts of a job."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.state import State
from stratix_kombu.model.text import bounded

ATTEMPTS_KEPT = 20
"""How many ended attempts of a job are kept beside the last one."""
REASON_BYTES, TRACE_BYTES = 1_000, 4_000
"""How much of the reason of each of these is kept; and how long a traceback may be that is."""
_TIMEOUT = re.compile(r"timed out after |(Soft)?TimeLimitExceeded\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Shown):
    """One attempt at a job; instants are milliseconds since the epoch, of the store's clock."""

    number: int
    """From 1."""
    started_on: int
    finished_on: int | None
    """None while it runs."""
    worker: str
    outcome: str
    """``active``, ``completed``, ``failed``, ``timeout``, ``cancelled``, ``stalled`` (its worker stopped renewing the
    lease), or ``continued`` (the job goes on under another message)."""
    reason: str | None = None
    """Why it failed; of an attempt before the last one, the first 1,000 bytes."""
    error_path: str | None = None
    """The class of the error, with its module where the traceback has it; None where the reason names none."""
    stacktrace: str | None = None
    """Its traceback; of an attempt before the last one it is not kept if it has more than 4,000 bytes."""


Kept = tuple[int, int, int, str, str, str, str]
"""What stores keep of an attempt that has ended, as JSON: number, start, end, worker, outcome, reason, and the
traceback as in ``JobRecord.stacktrace``."""


def kept_of(record: JobRecord, now: int, outcome: str, reason: str = "", stacktrace: str = "") -> Kept:
    """The last attempt, which has ended, at a job that goes on."""
    trace = stacktrace if len(stacktrace.encode()) <= TRACE_BYTES else ""
    number, begun = record.attempts_started, record.processed_ms
    return number, begun, now, record.worker, outcome, bounded(reason, REASON_BYTES), trace


def last_of(record: JobRecord, last_kept: int) -> tuple[str, str, str] | None:
    """Outcome, reason and traceback of a job's last attempt, if its record has them: it runs, or the job ended with it.
    ``last_kept`` is the number of the last one that is kept; 0 = none is."""
    if record.attempts_started <= last_kept:
        return None
    if record.state is State.FAILED:
        outcome = "cancelled" if record.cancelled else "failed"
        return outcome, record.failed_reason or "", record.stacktrace or ""
    return (record.state.value, "", "") if record.state in (State.ACTIVE, State.COMPLETED) else None


def attempts_of(record: JobRecord, kept: Sequence[Kept]) -> list[Attempt]:
    """All that is known of them, the last one at the end."""
    found = [_attempt(one) for one in kept]
    last = last_of(record, kept[-1][0] if kept else 0)
    if last is not None:
        times = record.processed_ms, record.finished_ms
        found.append(_attempt((record.attempts_started, *times, record.worker, *last)))
    return found


def _attempt(kept: Kept) -> Attempt:
    number, begun, end, worker, outcome, reason, stacktrace = kept
    trace = _trace_of(stacktrace)
    one = Attempt(number=number, started_on=begun, finished_on=end or None, worker=worker, outcome=outcome)
    if outcome == "failed" and _TIMEOUT.match(reason):
        outcome = "timeout"
    path = _path_of(reason, trace) if outcome in ("failed", "timeout") else None
    return replace(one, outcome=outcome, reason=reason or None, error_path=path, stacktrace=trace or None)


def _trace_of(stacktrace: str) -> str:
    try:
        return "\n".join(json.loads(stacktrace)) if stacktrace else ""
    except (TypeError, ValueError):
        return stacktrace


_ERROR = re.compile(r"([A-Za-z_][\w.]*)(?::|\Z)", re.ASCII)


def error_of(reason: str) -> str:
    """The class of the error that a reason begins with, or ''."""
    found = _ERROR.match(reason)
    return found[1] if found else ""


def _path_of(reason: str, trace: str) -> str | None:
    """A traceback ends with the error, its class in full."""
    name = error_of(reason)
    found = re.findall(rf"^((?:\w+\.)*{re.escape(name)})(?=:|$)", trace, re.MULTILINE) if name else []
    return found[-1] if found else name or None
