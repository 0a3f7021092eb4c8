"""Completing a job within a transaction of its handler's."""

from __future__ import annotations

from typing import Any

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Held
from stratix_kombu.stores.contract import Outbox


def complete_in(engine: Engine, held: Held, result: str, connection: Any) -> None:
    """active -> completed when the user's transaction is committed. Raises StaleClaim, JobCancelled,
    ConfigurationError."""
    _outbox(engine, held).complete(held, result, connection)
    engine.cancellations.spare(held.token)


async def complete_in_async(engine: Engine, held: Held, result: str, connection: Any) -> None:
    """The same for a connection of asyncio."""
    await _outbox(engine, held).complete_async(held, result, connection)
    engine.cancellations.spare(held.token)


def _outbox(engine: Engine, held: Held) -> Outbox:
    if engine.store.outbox is None:
        raise ConfigurationError(
            f"complete_in: jobs are in {engine.store.address}; only a PostgreSQL store completes them within a "
            "transaction"
        )
    if not held.token:
        raise ConfigurationError(
            f"complete_in: job {held.job_id!r} is completed by its handler, with the job it is given"
        )
    return engine.store.outbox
