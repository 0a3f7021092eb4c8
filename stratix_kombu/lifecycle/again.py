"""Repeated requests: a step whose answer was lost may have taken effect."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.state import State


def refused(engine: Engine, stale: Sequence[str], asked_before: bool) -> list[str]:
    """The jobs in a step's ``stale`` whose outcome was really rejected. If the step is repeated, that is not known for
    a job whose record, and with it its outcome (see ``Queries.ended``), no longer exists: it counts as ended by the
    step whose answer was lost."""
    if not stale or not asked_before:
        return list(stale)
    queries = engine.store.queries
    known = zip(stale, queries.get(stale), queries.ended(stale), strict=True)
    return [job_id for job_id, record, ended in known if record is not None or ended is not None]


def completed(engine: Engine, ids: Sequence[str]) -> set[str]:
    """Which of these jobs are completed."""
    queries = engine.store.queries
    known = zip(ids, queries.get(ids), queries.ended(ids), strict=True)
    ends = {job_id: record or ended for job_id, record, ended in known}
    return {job_id for job_id, end in ends.items() if end is not None and end.state is State.COMPLETED}
