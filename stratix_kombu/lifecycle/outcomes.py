"""How attempts end, a batch in one round trip. In the answer ``stale`` names the jobs whose lease was lost."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.one_queue import hold
from stratix_kombu.model.record import Change, Completion, Failure, HandOver, Held


def complete(engine: Engine, results: Sequence[Completion]) -> Change:
    """active -> completed."""
    change = engine.store.transitions.complete(results)
    dispatch_change(engine, change)
    return change


def fail(engine: Engine, failures: Sequence[Failure]) -> Change:
    """active -> delayed for another attempt, or failed."""
    change = engine.store.transitions.fail(failures)
    dispatch_change(engine, change)
    return change


def hand_back(engine: Engine, held: Sequence[Held]) -> Change:
    """active -> waiting, each in its place and without an attempt made: others need not wait for the lease."""
    change = engine.store.transitions.hand_back(held)
    dispatch_change(engine, change)
    return change


def postpone(engine: Engine, queue: str, held: Sequence[Held], hold_ms: int) -> Change:
    """``hand_back``, with the queue held: the jobs are the next ones when the hold is over."""
    if hold_ms:
        hold(engine, queue, hold_ms)
    return hand_back(engine, held)


def hand_over(engine: Engine, jobs: Sequence[HandOver]) -> Change:
    """End attempts whose jobs go on as something else."""
    change = engine.store.transitions.hand_over(jobs)
    dispatch_change(engine, change)
    return change
