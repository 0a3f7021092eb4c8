"""Asking again: a step whose answer was lost may have been made."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.engine import Engine


def refused(engine: Engine, stale: Sequence[str], asked_before: bool) -> list[str]:
    """Of the jobs that a step named as ``stale``, those whose outcome was refused. When the step was asked before, one
    whose record is gone was ended then: by the answer that was lost, or by whoever took the job over."""
    if not stale or not asked_before:
        return list(stale)
    records = engine.store.queries.get(stale)
    return [job_id for job_id, record in zip(stale, records, strict=True) if record is not None]
