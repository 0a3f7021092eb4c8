"""Change delay: a delayed job comes at another time."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine


def change_delay(engine: Engine, job_id: str, delay_ms: int) -> None:
    """Let a delayed job wait ``delay_ms`` from now. Raises JobNotFound, InvalidJobState."""
    settle(engine, engine.store.transitions.change_delay(job_id, delay_ms))
