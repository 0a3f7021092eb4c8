"""Hold a queue for a while; and give back the jobs whose handlers asked for it."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.dispatch import settle
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.hand_back import hand_back
from stratix_kombu.model.record import Change, Held


def hold(engine: Engine, queue: str, hold_ms: int) -> None:
    """Let nothing of the queue start for a while, in any process; a shorter hold never shortens a longer one. 0 lifts
    it."""
    settle(engine, engine.store.transitions.hold(queue, hold_ms))


def postpone(engine: Engine, queue: str, held: Sequence[Held], hold_ms: int) -> Change:
    """The jobs go back, each to its place, and are the next ones when the hold is over."""
    if hold_ms:
        hold(engine, queue, hold_ms)
    return hand_back(engine, held)
