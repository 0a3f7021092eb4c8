"""Postpone: hold a queue, and give back the jobs that asked for it."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.hand_back import hand_back
from stratix_kombu.model.record import Change, Held


def postpone(engine: Engine, queue: str, held: Sequence[Held], hold_ms: int) -> Change:
    """Let nothing of the queue start for a while, in any process. The jobs are deferred when they are claimed again."""
    if hold_ms:
        engine.store.transitions.hold(queue, hold_ms)
    return hand_back(engine, held)
