"""Take the next jobs of a queue, or claim the jobs that messages named: waiting -> active; and keep the leases."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.middleware import take_within
from stratix_kombu.model.claims import NO_BOUNDS, Bounds, Claimed, Taken
from stratix_kombu.model.record import Change, Completion, Held, Renewed, WorkerInfo


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


def complete_and_take(
    engine: Engine,
    results: Sequence[Completion],
    queue: str,
    worker: str,
    lease_ms: int,
    want: int,
    *,
    bounds: Bounds = NO_BOUNDS,
    permits: int = 0,
    request: str = "",
) -> tuple[Change, Taken]:
    """Complete a batch, if there is one, and take the next jobs, in one round trip. What the completion has made ready
    is not dispatched yet: begin the claims, and then ``dispatch_change``."""
    if not results:
        return Change(), take(engine, queue, worker, lease_ms, want, bounds, permits=permits, request=request)
    changes: list[Change] = []

    def step() -> Taken:
        change, taken = engine.store.transitions.complete_and_take(
            results, queue, worker, lease_ms, want, bounds, permits=permits, request=request
        )
        changes.append(change)
        return taken

    taken = take_within(engine, queue, want, step) if engine.middleware.take else step()
    return changes[0], taken


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


def renew(
    engine: Engine,
    present: Sequence[WorkerInfo],
    held: Sequence[Held],
    lease_ms: int,
    *,
    every_ms: int = 0,
    asked: Sequence[str] = (),
) -> Renewed:
    """Extend the leases of what a process runs and its presence on its queues, in one round trip; see
    ``Transitions.renew``."""
    return engine.store.transitions.renew(present, held, lease_ms, every_ms=every_ms, asked=asked)


def leave(engine: Engine, worker: str, queues: Sequence[str]) -> None:
    """End the presence of a worker on the queues."""
    engine.store.transitions.leave(worker, queues)
