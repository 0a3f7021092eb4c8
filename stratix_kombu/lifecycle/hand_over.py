"""Hand over: active -> open again, for another message of the same job or for what will bring it."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change, HandOver


def hand_over(engine: Engine, jobs: Sequence[HandOver]) -> Change:
    """End attempts whose jobs go on as something else; ``stale`` names those whose lease was lost."""
    change = engine.store.transitions.hand_over(jobs)
    settle(engine, change)
    return change
