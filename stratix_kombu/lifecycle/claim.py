"""Take the next jobs of a queue, or claim the jobs that messages named: waiting -> active."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.middleware import take_within
from stratix_kombu.model.claims import NO_BOUNDS, Bounds, Claimed, Taken


def take(
    engine: Engine,
    queue: str,
    worker: str,
    lease_ms: int,
    want: int,
    bounds: Bounds = NO_BOUNDS,
    *,
    permits: int = 0,
    request: str = "",
) -> Taken:
    """Take up to ``want`` jobs in one round trip; ``permits`` messages may be dropped after it. Asked again with the
    same ``request``, it answers the claims it made the first time. The application's middleware is around it."""

    def step() -> Taken:
        return engine.store.transitions.take(queue, worker, lease_ms, want, bounds, permits=permits, request=request)

    return take_within(engine, queue, want, step) if engine.middleware.take else step()


def claim(
    engine: Engine,
    queue: str,
    ids: Sequence[str],
    worker: str,
    lease_ms: int,
    bounds: Bounds = NO_BOUNDS,
    *,
    request: str = "",
) -> Claimed:
    """Claim a batch in one round trip. A refused job needs nothing more: its message may be dropped. Asked again with
    the same ``request``, it answers the claims it made the first time."""
    return engine.store.transitions.claim(queue, ids, worker, lease_ms, bounds, request=request)
