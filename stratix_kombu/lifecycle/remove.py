"""Remove a job by hand."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine


def remove(engine: Engine, job_id: str) -> None:
    """Delete the job; its dependents are told. Raises JobNotFound, InvalidJobState."""
    settle(engine, engine.store.transitions.remove(job_id))
