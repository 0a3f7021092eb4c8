"""Promote: delayed -> waiting, when due."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import dispatch
from stratix_kombu.lifecycle.engine import Engine


def promote(engine: Engine) -> bool:
    """Promote all that is due, and go on with what steps have left over; True."""
    while True:
        change, _ = engine.store.transitions.promote()
        dispatch(engine, change.ready)
        if not change.more:
            return True
