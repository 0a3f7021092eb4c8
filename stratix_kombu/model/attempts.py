"""The attempts of a job."""

from __future__ import annotations

from dataclasses import dataclass

from stratix_kombu.model.shown import Shown

ATTEMPTS_KEPT = 20
"""How many ended attempts of a job are kept beside the last one."""


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
    """Why it failed."""
    error_path: str | None = None
    """The class of the error, with its module where the traceback tells it."""
    stacktrace: str | None = None
    """Its traceback, where it is kept."""
