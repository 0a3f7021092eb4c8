"""The worker processes of a namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stratix_kombu.model.shown import Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProcess(Shown):
    """One worker, over all queues that it serves; instants are milliseconds since the epoch, of the store's clock."""

    id: str
    host: str = ""
    pid: int = 0
    version: str = ""
    """Of this package; '' if it does not tell."""
    queues: Mapping[str, int]
    """The queues that it serves, with how many jobs of each it runs at a time."""
    slots: int = 0
    """All of these together."""
    started_on: int | None = None
    """When the process began to serve; None if it does not tell."""
    last_take_on: int | None = None
    """When it last showed that it takes jobs, of any queue; None = unknown, as for a Celery worker without an event
    loop."""
    stuck: int = 0
    """Slots held by handlers whose attempt is over and that are still running."""
    leads_clock: bool = False
    """Whether the clock of this process is the one that promotes and recovers the namespace's jobs."""
    clock_lag_ms: int | None = None
    """Of the one that leads: how long ago the first delayed job of all was due, and is not promoted yet."""
