"""Add jobs: new -> waiting, delayed or blocked."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Added, Change, NewJob


def add(engine: Engine, jobs: Sequence[NewJob]) -> Added:
    """Add all of the jobs or none, and dispatch those that are ready."""
    added = engine.store.transitions.add(jobs)
    settle(engine, Change(ready=added.ready, more=added.more))
    if any(job.delay_ms or job.due_ms for job in jobs):
        engine.wake_clock()
    return added
