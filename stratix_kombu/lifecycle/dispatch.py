"""Send the messages of jobs that became ready."""

from __future__ import annotations

from collections.abc import Sequence

from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Change, Ready


def dispatch(engine: Engine, ready: Sequence[Ready]) -> None:
    """Publish the messages. A failure loses nothing: the jobs are waiting in the store, and recovery sends them
    again; so it is reported and not raised."""
    if not ready:
        return
    try:
        engine.driver.publish(ready)
    except Unavailable as error:
        engine.report(ready[0].queue, error, "dispatch_failed")


def settle(engine: Engine, change: Change) -> None:
    """Dispatch what a transition made ready, page by page until nothing is left of it."""
    dispatch(engine, change.ready)
    while change.more:
        change = engine.store.transitions.release()
        dispatch(engine, change.ready)
