"""Asking again: a step whose answer was lost may have been made."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.engine import Engine


def refused(engine: Engine, stale: Sequence[str], asked_before: bool) -> list[str]:
    """Of the jobs that a step named as ``stale``, those whose outcome was refused. When the step was asked before, that
    is not known of one that has gone, and with it how it ended (see ``Queries.ended``): it counts as ended by the step
    whose answer was lost."""
    if not stale or not asked_before:
        return list(stale)
    queries = engine.store.queries
    known = zip(stale, queries.get(stale), queries.ended(stale), strict=True)
    return [job_id for job_id, record, ended in known if record is not None or ended is not None]
