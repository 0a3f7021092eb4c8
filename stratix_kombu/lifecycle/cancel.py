"""Cancel a job: it fails if it has not begun; else its worker is told."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine


def cancel(engine: Engine, job_id: str, reason: str) -> None:
    """Raises JobNotFound, InvalidJobState for a job that has ended."""
    settle(engine, engine.store.transitions.cancel(job_id, reason))
