"""Adding jobs within a transaction of the user's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.lifecycle.add import record_of
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.middleware import add_within
from stratix_kombu.model.record import Added, Ended, JobRecord, NewJob, Placed
from stratix_kombu.model.state import State
from stratix_kombu.queue.job import Job, Resolve, Runtime, Waits
from stratix_kombu.stores.contract import Outbox

if TYPE_CHECKING:
    from datetime import timedelta

    from stratix_kombu.errors import WaitTimeout


def add_by(runtime: Runtime, jobs: Sequence[NewJob], connection: Any) -> list[Job]:
    """Add jobs by a user's connection; their handles. Raises ConfigurationError, DependencyNotFound."""
    engine, is_open = runtime.engine, list[Callable[[], bool]]()
    outbox = _outbox(engine)

    def step() -> Added:
        is_open.append(outbox.add(jobs, connection))
        return _added(jobs)

    added = add_within(engine, jobs, step) if engine.middleware.add else step()
    return _handles(runtime, jobs, added, is_open[0])


async def add_by_async(runtime: Runtime, jobs: Sequence[NewJob], connection: Any) -> list[Job]:
    """The same for a connection of asyncio."""
    outbox = _outbox(runtime.engine)
    if runtime.engine.middleware.add:
        raise ConfigurationError(
            "connection: middleware around add cannot be around an AsyncConnection of psycopg; use one of SQLAlchemy"
        )
    is_open = await outbox.add_async(jobs, connection)
    return _handles(runtime, jobs, _added(jobs), is_open)


def _outbox(engine: Engine) -> Outbox:
    engine.check_open("add jobs")
    if engine.store.outbox is None:
        raise ConfigurationError(
            f"connection: jobs are in {engine.store.address}; only a PostgreSQL store adds them within a transaction"
        )
    return engine.store.outbox


def _added(jobs: Sequence[NewJob]) -> Added:
    """As they will be once the transaction is committed, as far as that is known."""
    now = time.time_ns() // 1_000_000
    placed = []
    for job in jobs:
        due_ms = max(job.due_ms, now + job.delay_ms if job.delay_ms else 0)
        pending = len(set(job.dependencies))
        state = State.BLOCKED if pending else State.DELAYED if due_ms > now else State.WAITING
        placed.append(Placed(state, now, 0, due_ms, pending))
    return Added(tuple(placed))


def _handles(runtime: Runtime, jobs: Sequence[NewJob], added: Added, is_open: Callable[[], bool]) -> list[Job]:
    after = Runtime(runtime.engine, _AfterCommit(runtime, is_open), runtime.max_payload_bytes)
    return [
        Job(record_of(job, placed or Placed(State.WAITING, 0, 0)), after)
        for job, placed in zip(jobs, added.placed, strict=True)
    ]


class _AfterCommit(Waits):
    """Waits for jobs that are there when a transaction is committed, and not before."""

    def __init__(self, runtime: Runtime, is_open: Callable[[], bool]) -> None:
        self._engine = runtime.engine
        self._hub = runtime.hub
        self._is_open = is_open

    def _check(self, job_id: str) -> None:
        if self._is_open() and self._engine.store.queries.states([job_id]) == [None]:
            raise ConfigurationError(
                f"job {job_id!r} is there when the transaction that added it is committed: wait for it after that"
            )

    def wait(self, job_id: str, timeout: float | timedelta | None) -> JobRecord | Ended:
        self._check(job_id)
        return self._hub.wait(job_id, timeout)

    def subscribe(self, job_id: str, resolve: Resolve) -> None:
        self._check(job_id)
        self._hub.subscribe(job_id, resolve)

    def unsubscribe(self, job_id: str, resolve: Resolve) -> None:
        self._hub.unsubscribe(job_id, resolve)

    def timed_out(self, job_id: str, patience: float) -> WaitTimeout:
        return self._hub.timed_out(job_id, patience)
