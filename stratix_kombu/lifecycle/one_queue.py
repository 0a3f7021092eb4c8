"""What is done to one queue by hand: whether and how fast its jobs may start."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import dispatch_change, dispatch_pages
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Limit


def pause(engine: Engine, queue: str) -> bool:
    """Once this has returned no further job of the queue starts; returns whether that is a change."""
    return engine.store.transitions.pause(queue)


def resume(engine: Engine, queue: str) -> None:
    """Let jobs start again, and send the messages that were dropped meanwhile."""
    dispatch_pages(engine, lambda: engine.store.transitions.resume(queue))


def hold(engine: Engine, queue: str, hold_ms: int) -> None:
    """Let no job of the queue start for a while, in any process. A shorter hold never shortens a longer one; 0 lifts
    it."""
    dispatch_change(engine, engine.store.transitions.hold(queue, hold_ms))


def set_limit(engine: Engine, queue: str, limit: Limit | None) -> None:
    """Set the limiter for all workers, instead of that of their options; None leaves it to these again."""
    dispatch_change(engine, engine.store.transitions.set_limit(queue, limit))


def set_global_concurrency(engine: Engine, queue: str, most: int | None) -> None:
    """Set how many jobs may be active over all workers (0 = no bound); None leaves it to their options again."""
    dispatch_change(engine, engine.store.transitions.set_global_concurrency(queue, most))
