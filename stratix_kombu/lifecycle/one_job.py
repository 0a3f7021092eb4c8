"""What is done to one job by hand: one transition each, and what it made ready is dispatched.

All raise JobNotFound, and InvalidJobState where the state of the job does not allow it.
"""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine


def remove(engine: Engine, job_id: str) -> None:
    """Delete the job; required dependents fail."""
    dispatch_change(engine, engine.store.transitions.remove(job_id))


def cancel(engine: Engine, job_id: str, reason: str) -> None:
    """End the job with ``reason``: one that has not begun fails at once, the handler of an active one is asked to."""
    dispatch_change(engine, engine.store.transitions.cancel(job_id, reason))


def retry(engine: Engine, job_id: str) -> None:
    """failed -> waiting: give the job at least one more attempt."""
    dispatch_change(engine, engine.store.transitions.retry(job_id))


def rerun(engine: Engine, job_id: str, dependents: bool) -> None:
    """completed -> waiting, with its dependents if ``dependents``."""
    dispatch_change(engine, engine.store.transitions.rerun(job_id, dependents))


def promote_job(engine: Engine, job_id: str) -> None:
    """delayed -> waiting, now."""
    dispatch_change(engine, engine.store.transitions.promote_job(job_id))


def change_delay(engine: Engine, job_id: str, delay_ms: int) -> None:
    """Delay a delayed job until ``delay_ms`` from now."""
    dispatch_change(engine, engine.store.transitions.change_delay(job_id, delay_ms))


def change_priority(engine: Engine, job_id: str, priority: int) -> None:
    """Give a job that has not begun another priority."""
    dispatch_change(engine, engine.store.transitions.change_priority(job_id, priority))


def add_dependency(engine: Engine, job_id: str, dependency_id: str) -> None:
    """Have the job wait for another one. Raises DependencyNotFound, DependencyCycle, JobAlreadyStarted."""
    dispatch_change(engine, engine.store.transitions.add_dependency(job_id, dependency_id))


def remove_dependency(engine: Engine, job_id: str, dependency_id: str) -> None:
    """Have the job no longer wait for another one. Raises DependencyNotFound, JobAlreadyStarted."""
    dispatch_change(engine, engine.store.transitions.remove_dependency(job_id, dependency_id))


def set_progress(engine: Engine, job_id: str, value: str) -> None:
    """Keep the progress, as JSON; ``progress`` is emitted."""
    engine.store.transitions.progress(job_id, value)


def set_data(engine: Engine, job_id: str, data: str) -> None:
    """Replace the data, as JSON."""
    engine.store.transitions.update_data(job_id, data)


def add_log_line(engine: Engine, job_id: str, line: str, keep: int) -> int:
    """Append to the log of the job, which keeps the newest ``keep`` lines; returns their number."""
    return engine.store.transitions.log(job_id, line, keep)
