"""Promote: delayed -> waiting, when due."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import dispatch_pages
from stratix_kombu.lifecycle.engine import Engine


def promote(engine: Engine) -> bool:
    """Promote all that is due, and go on with what steps have left over; True."""
    dispatch_pages(engine, lambda: engine.store.transitions.promote()[0])
    return True
