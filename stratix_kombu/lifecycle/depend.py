"""Change the dependencies of a job that has not started."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine


def add_dependency(engine: Engine, job_id: str, dependency_id: str) -> None:
    """Let a job wait for another. Raises JobNotFound, DependencyNotFound, DependencyCycle, JobAlreadyStarted."""
    settle(engine, engine.store.transitions.add_dependency(job_id, dependency_id))


def remove_dependency(engine: Engine, job_id: str, dependency_id: str) -> None:
    """Let a job no longer wait for another. Raises JobNotFound, DependencyNotFound, JobAlreadyStarted."""
    settle(engine, engine.store.transitions.remove_dependency(job_id, dependency_id))
