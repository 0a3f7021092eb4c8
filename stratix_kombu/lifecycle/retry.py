"""Run a job again by hand: failed -> waiting, or completed -> waiting."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine


def retry(engine: Engine, job_id: str) -> None:
    """Give the job one more attempt at least. Raises JobNotFound, InvalidJobState."""
    settle(engine, engine.store.transitions.retry(job_id))


def rerun(engine: Engine, job_id: str, dependents: bool) -> None:
    """Run a completed job again; with what depends on it. Raises JobNotFound, InvalidJobState."""
    settle(engine, engine.store.transitions.rerun(job_id, dependents))
