"""Recover what a crash left: expired leases, lost messages, half-done releases, expired records."""

from __future__ import annotations

from collections.abc import Callable

from stratix_kombu.errors import RecordLost, Unavailable
from stratix_kombu.lifecycle.dispatch import dispatch
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change

UNKNOWN_DEPTH_FACTOR = 4
"""Where the broker's depth cannot be read, a lost message is assumed after this many grace periods."""


def recover(engine: Engine, max_stalled: int) -> None:
    """Leases that ran out, releases a crash interrupted, records past their retention."""
    transitions = engine.store.transitions
    _paged(engine, lambda: _reported(engine, transitions.recover(max_stalled)))
    _paged(engine, transitions.release)
    _paged(engine, transitions.expire)


def _reported(engine: Engine, change: Change) -> Change:
    """Report what was dropped, once for a queue."""
    by_queue: dict[str, dict[str, str]] = {}
    for one in change.lost:
        by_queue.setdefault(one.queue, {})[one.id] = one.why
    for queue, lost in by_queue.items():
        engine.report(queue, RecordLost(queue, lost), "record_lost")
    return change


def redeliver(engine: Engine, grace_ms: int) -> None:
    """Send again the messages that seem lost, in every queue that has waiting jobs."""
    for queue in engine.store.queries.queues():
        status = engine.store.queries.status(queue)
        if status.paused or (status.oldest_waiting_ms or 0) < grace_ms:
            continue
        try:
            depth = engine.driver.depth(queue)
        except Unavailable as error:
            engine.report(queue, error, "depth_failed")
            continue
        grace = grace_ms if depth is not None else grace_ms * UNKNOWN_DEPTH_FACTOR
        change = engine.store.transitions.redeliver(queue, grace, not depth)
        dispatch(engine, change.ready)


def _paged(engine: Engine, step: Callable[[], Change]) -> None:
    while True:
        change = step()
        dispatch(engine, change.ready)
        if not change.more:
            return
