"""The worker processes of a namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stratix_kombu.model.record import WorkerInfo
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
    """How many jobs it runs at a time, of all queues together."""
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


@dataclass(frozen=True, slots=True)
class Led:
    """What is known of the clock of a namespace, and when that was."""

    now: int
    clock: str
    """The id of the one that leads: it begins with host and process id. '' = none does."""
    due_ms: int | None
    """When the first delayed job of all is due."""


def process_of(infos: Sequence[WorkerInfo], led: Led) -> WorkerProcess:
    """A worker, from its presence on each of its queues; at least one."""
    first = infos[0]
    idle = [one.idle_ms for one in infos if one.idle_ms is not None]
    leads = led.clock.startswith(f"{first.host}-{first.pid}-")
    lag_ms = 0 if led.due_ms is None else max(led.now - led.due_ms, 0)
    return WorkerProcess(
        id=first.id,
        host=first.host,
        pid=first.pid,
        version=first.version,
        queues={one.queue: one.concurrency for one in infos if one.queue},
        slots=first.slots or sum(one.concurrency for one in infos),
        started_on=first.started_ms or None,
        last_take_on=led.now - min(idle) if idle else None,
        stuck=max((one.stuck for one in infos), default=0) if first.slots else sum(one.stuck for one in infos),
        leads_clock=leads,
        clock_lag_ms=lag_ms if leads else None,
    )
