"""How a task has ended, for its event: from the process that has run it to the one that sends events."""

from __future__ import annotations

from typing import Any, NamedTuple

from celery.exceptions import Retry
from kombu.utils.encoding import safe_repr, safe_str


class Ended(NamedTuple):
    """What the event contains."""

    state: str | None
    """None if the task has succeeded."""
    error: str
    traceback: str
    runtime: Any
    shown: Any
    """The result, as text."""


def ended(traced: Any) -> Ended:
    """By what Celery's tracer has returned, as the main process of Celery's worker reports it: of a task that will be
    tried again, the error that is the reason for that."""
    einfo, info, runtime, shown = traced
    if info is None:
        return Ended(None, "", "", runtime, shown)
    error = info.retval.exc if isinstance(info.retval, Retry) else info.retval
    return Ended(info.state, safe_repr(error), safe_str(einfo.traceback), runtime, shown)
