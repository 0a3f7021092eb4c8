"""Complete jobs: active -> completed, and release what waited for them."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change, Completion


def complete(engine: Engine, results: Sequence[Completion]) -> Change:
    """Complete a batch in one round trip; ``stale`` names those whose lease was lost."""
    change = engine.store.transitions.complete(results)
    settle(engine, change)
    return change
