"""Pause and resume a queue, for all workers everywhere."""

from __future__ import annotations

from stratix_kombu.lifecycle.dispatch import dispatch
from stratix_kombu.lifecycle.engine import Engine


def pause(engine: Engine, queue: str) -> bool:
    """When this returns no further job of the queue starts; whether that is a change."""
    return engine.store.transitions.pause(queue)


def resume(engine: Engine, queue: str) -> None:
    """Let jobs start again, and send the messages that were dropped meanwhile."""
    while True:
        change = engine.store.transitions.resume(queue)
        dispatch(engine, change.ready)
        if not change.more:
            return
