"""Claim the jobs that messages named: waiting -> active, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.letter import NO_FALLBACK, Fallback
from stratix_kombu.model.record import Claimed, Limit


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a queue's options say of how its jobs may start, and of those that do not say it themselves."""

    limit: Limit | None = None
    global_concurrency: int = 0
    fallback: Fallback = NO_FALLBACK


NO_BOUNDS = Bounds()


def claim(
    engine: Engine, queue: str, ids: Sequence[str], worker: str, lease_ms: int, bounds: Bounds = NO_BOUNDS,
    *, request: str = "",
) -> Claimed:  # fmt: skip
    """Claim a batch in one round trip. A refused job needs nothing more: its message may be dropped. Asked again with
    the same ``request``, it answers the claims it made the first time."""
    return engine.store.transitions.claim(
        queue, ids, worker, lease_ms, bounds.limit, bounds.global_concurrency, request=request,
        fallback=bounds.fallback,
    )  # fmt: skip
