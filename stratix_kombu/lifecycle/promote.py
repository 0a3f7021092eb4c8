"""Promote: delayed -> waiting, when due or by hand."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import dispatch, settle
from stratix_kombu.lifecycle.engine import Engine


def promote(engine: Engine) -> bool:
    """Promote all that is due, and go on with what steps have left over; True."""
    while True:
        change, _ = engine.store.transitions.promote()
        dispatch(engine, change.ready)
        if not change.more:
            return True


def promote_job(engine: Engine, job_id: str) -> None:
    """Promote one job now. Raises JobNotFound, InvalidJobState."""
    settle(engine, engine.store.transitions.promote_job(job_id))
