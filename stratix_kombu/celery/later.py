"""What a child of Celery's prefork pool stores while it asks its parent for the next task, and claims that.

A child runs one task at a time, and does not know which one is next: it could not store an outcome with the next claim.
So while tasks follow one another a thread stores a success meanwhile. It is stored before the next task begins, which
may end the process. Where tasks come one by one the child stores it itself: that is sooner."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery import signals

from stratix_kombu.worker.holdings import Holdings
from stratix_kombu.worker.settler import Settler

if TYPE_CHECKING:
    from stratix_kombu.lifecycle.engine import Engine
    from stratix_kombu.model.record import Completion
    from stratix_kombu.worker.attempt import Outcome

PATIENCE_S = 300.0
"""How long a worker, or a child of its pool that ends, keeps trying to store an outcome while the store is
unreachable."""
KILLED_S = 1.0
"""The same of a child that was told to end at once."""
FOLLOWS = 4.0
"""A task follows the one before it if it comes within so many times what its claim takes. A child under load waits for
two to three of these, and one whose task was sent by somebody who had waited for the last one for seven or more."""


class Later(Settler):
    """Stores the successes of one child, of all its queues."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, "", Holdings())
        self._stored = threading.Event()
        self._stored.set()
        self._ended_at = -math.inf
        self._runs = self.follows = False

    def begin(self) -> bool:
        """Whether it runs: the system may have no thread left."""
        if not self._runs:
            with suppress(RuntimeError):
                self.start()
                signals.worker_process_shutdown.connect(self._end)
                self._runs = True
        return self._runs

    def claimed(self, began: float) -> None:
        """A task is claimed, which was asked for at ``began``. Returns once what was kept is stored, or no longer
        needed."""
        self.follows = began - self._ended_at < FOLLOWS * (time.monotonic() - began)
        self._stored.wait()

    def ended(self) -> None:
        """A task has ended."""
        self._ended_at = time.monotonic()

    def keep(self, success: Completion) -> None:
        """Have it stored."""
        self._stored.clear()
        self.put(success)

    def _tell(self, outcomes: Sequence[Outcome], stale: Sequence[str]) -> None:
        super()._tell(outcomes, stale)
        self._stored.set()

    def _end(self, exitcode: int | None = None, **_: Any) -> None:
        """The child ends; by a signal if the code is negative."""
        self.stop(KILLED_S if (exitcode or 0) < 0 else PATIENCE_S)
