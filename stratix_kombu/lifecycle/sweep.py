"""Sweep: remove, retry or promote all jobs of a queue that are in some state; and forget the queue itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stratix_kombu.errors import QueueNotEmpty
from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.one_queue import pause, resume
from stratix_kombu.model.awaiting import call
from stratix_kombu.model.state import Action, State, Sweep
from stratix_kombu.stores.contract import PAGE

ROUNDS = 10
"""How often ``obliterate`` starts again because a job was added meanwhile."""

OnProgress = Callable[[int], object]
"""Called after each page with how many it has been so far."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a sweep goes: at most ``limit`` jobs (0 = all), that ended or were added ``older_ms`` ago."""

    limit: int = 0
    older_ms: int = 0


def sweep(
    engine: Engine,
    queue: str,
    action: Sweep,
    states: Sequence[State],
    extent: Extent = Extent(),
    on_progress: OnProgress | None = None,
) -> list[str]:
    """Page by page, each page atomic; the ids."""
    swept: list[str] = []
    for state in states:
        cursor = ""
        while not extent.limit or len(swept) < extent.limit:
            page = min(PAGE, extent.limit - len(swept)) if extent.limit else PAGE
            change = engine.store.transitions.sweep(queue, action, state, extent.older_ms, page, cursor)
            swept += change.affected
            dispatch_change(engine, change)
            if on_progress is not None and change.affected:
                call(on_progress, len(swept))
            cursor = change.cursor
            if not cursor:
                break
    return swept


def act(
    engine: Engine, queue: str, action: Action, ids: Sequence[str], state: State | None = None, reason: str = ""
) -> int:
    """Do the same to at most a page of jobs that are named, in one step; the number to which it was done."""
    change = engine.store.transitions.each(queue, action, ids, state, reason)
    dispatch_change(engine, change)
    return len(change.affected)


def obliterate(engine: Engine, queue: str, force: bool, on_progress: OnProgress | None = None) -> int:
    """Pause the queue, remove all its jobs and its messages, and forget it; how many jobs it had. If other processes
    keep adding jobs, there is a queue with these at the end, and it is not paused.

    Raises QueueNotEmpty if jobs are active, unless ``force``.
    """
    was_running = pause(engine, queue)
    if not force and (active := engine.store.queries.status(queue).counts["active"]):
        if was_running:
            resume(engine, queue)
        raise QueueNotEmpty(queue, active)
    removed = 0
    for _ in range(ROUNDS):
        removed += len(sweep(engine, queue, Sweep.REMOVE, list(State), on_progress=on_progress))
        engine.driver.purge(queue)
        if engine.store.transitions.forget_queue(queue):
            return removed
    # Jobs that were added between the last sweep and the purge have lost their messages: they go too, and what stays
    # was added after that.
    removed += len(sweep(engine, queue, Sweep.REMOVE, list(State), on_progress=on_progress))
    resume(engine, queue)
    return removed
