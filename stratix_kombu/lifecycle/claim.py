"""Claim the jobs that messages named: waiting -> active, or refused."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Claimed, Limit
from stratix_kombu.model.state import Refusal


def claim(
    engine: Engine, queue: str, ids: Sequence[str], worker: str, lease_ms: int, limit: Limit | None = None
) -> Claimed:
    """Claim a batch in one round trip. A refused job needs nothing more: its message may be dropped."""
    claimed = engine.store.transitions.claim(queue, ids, worker, lease_ms, limit)
    if any(refused.why is Refusal.LIMITED for refused in claimed.refused):
        engine.wake_clock()
    return claimed
