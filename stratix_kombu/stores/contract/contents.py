"""All that a namespace keeps of its jobs, for copying it to another store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from stratix_kombu.model.attempts import Kept
from stratix_kombu.model.record import Limit, NewJob
from stratix_kombu.model.state import State


@dataclass(frozen=True, slots=True)
class KeptOutcome:
    """How a job ended that was removed, for the jobs that depend on it."""

    state: str
    """``completed``, ``failed`` or ``removed``."""
    result: str | None
    reason: str
    gate: bool


@dataclass(frozen=True, slots=True)
class KeptEdge:
    """One dependency of a job."""

    dependency: str
    number: int
    """Which job of that id it is; 0 = it is not known any more."""
    state: str
    """How it ended, as the dependent was told: '' = it was not."""
    place: str
    """Under which name the dependency is known: its id, or another one if another job has the id by now."""
    outcome: KeptOutcome | None
    """None while the dependency has a record, or where nothing is known of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptJob:
    """A job that is not active, but for its edges. Instants are milliseconds since the epoch."""

    new: NewJob
    """With its data as they are now, and without what is of use only when it is added. Of its deduplication only the id
    is known, and whether it is held for a time (``ttl_ms`` is not 0)."""
    state: State
    number: int
    """See ``JobRecord.number``: it is kept."""
    created_ms: int
    due_ms: int
    waiting_ms: int
    """When it became waiting last."""
    processed_ms: int
    finished_ms: int
    attempts_made: int
    attempts_started: int
    stalled_count: int
    worker: str
    progress: str | None
    result: str | None
    failed_reason: str | None
    stacktrace: str | None
    pending: int
    tied: bool
    """Whether it depends on any job, see ``Contents.edges``."""
    place: int
    """Of one that waits, and is not native: its place in the order. 0 for others."""
    cancelled: str | None
    """The reason of its cancellation; None = it was not cancelled."""
    failed_by: str
    """The dependency it failed because of."""
    rerun: bool
    """It was run again with all of its dependents."""
    holds_until_ms: int | None
    """Until when it holds its deduplication id: 0 = until it ends; None = it does not hold it."""
    logs: tuple[str, ...]
    logged: int
    """How many lines were ever written."""
    attempts: tuple[Kept, ...]
    """Those that ended and after which it went on."""


@dataclass(frozen=True, slots=True)
class KeptQueue:
    """What was set for a queue."""

    paused: bool
    held_until_ms: int
    limit: Limit | None
    global_concurrency: int | None


class Contents(ABC):
    """Reading and writing jobs as they are, while nothing else runs. Nothing is emitted or counted. Raises
    StoreUnavailable.

    Jobs are written first, in the order in which ``Queries.scan`` told them, then the edges of all."""

    @abstractmethod
    def queue(self, name: str) -> KeptQueue:
        """What was set for the queue."""

    @abstractmethod
    def read(self, ids: Sequence[str]) -> list[KeptJob]:
        """The jobs of these ids, in that order, without those that are not there or active."""

    @abstractmethod
    def edges(self, job_id: str) -> list[KeptEdge]:
        """What the job depends on, gates too; read page by page."""

    @abstractmethod
    def write(self, jobs: Sequence[KeptJob]) -> None:
        """Write the jobs whose ids are not known, all or none; at most ``PAGE``."""

    @abstractmethod
    def write_edges(self, job_id: str, edges: Sequence[KeptEdge]) -> None:
        """Write the edges of a job that was written, but for those that are there; at most ``PAGE``."""
