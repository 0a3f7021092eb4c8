"""The children of Celery's prefork pool, as their worker stops.

A child ends once its parent has read the outcome of each task that it has run, or 30 seconds later. The parent stops
to read when none of the tasks that it knows of is left. When its consumer stops it forgets those that no child has
acknowledged, although a child may have begun one: the acknowledgement is not read yet. With many short tasks that is
often so.

Private in Celery: ``on_stop_not_started`` of ``asynpool.ResultHandler`` is what reads as the pool stops;
``fileno_to_outq`` are the processes by what they write to, ``_flush_outqueue`` reads one message."""

from __future__ import annotations

import functools
import sys
from typing import Any

PAUSE_S = 0.1
"""How often it is seen whether the children have ended, while none writes."""


def read_children_to_the_end() -> None:
    """Have each prefork pool of Celery, as it stops, read what its children write until they have ended; once a
    process."""
    asynpool = sys.modules.get("celery.concurrency.asynpool")  # it is not there in other pools
    original = getattr(getattr(asynpool, "ResultHandler", None), "on_stop_not_started", None)
    if asynpool is None or original is None or hasattr(original, "stratix_original"):
        return

    @functools.wraps(original)
    def stop(self: Any) -> None:
        original(self)
        dropped = set[int]()
        while self._state != asynpool.TERMINATE:
            living = {fd for fd, process in list(self.fileno_to_outq.items()) if process._is_alive()} - dropped
            if not living:
                return
            for fd in asynpool._select(living, timeout=PAUSE_S)[0]:
                self._flush_outqueue(fd, dropped.add, self.fileno_to_outq, self.on_state_change)

    stop.stratix_original = original  # type: ignore[attr-defined]
    asynpool.ResultHandler.on_stop_not_started = stop
