"""Fail attempts: active -> delayed or waiting for the next one, or failed."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change, Failure


def fail(engine: Engine, failures: Sequence[Failure]) -> Change:
    """Fail a batch in one round trip; ``stale`` names those whose lease was lost."""
    change = engine.store.transitions.fail(failures)
    settle(engine, change)
    return change
