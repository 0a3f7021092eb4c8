"""Hand back jobs that were claimed and not begun: active -> waiting, at once."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change, Held


def hand_back(engine: Engine, held: Sequence[Held]) -> Change:
    """Give other workers the jobs now instead of after a lease."""
    change = engine.store.transitions.hand_back(held)
    settle(engine, change)
    return change
