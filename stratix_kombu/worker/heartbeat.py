"""Renews the leases of what a worker runs, in a thread of its own: nothing else may hold it up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Held, WorkerInfo

logger = logging.getLogger("stratix_kombu.worker")

BEATS_PER_LEASE = 3
MAX_INTERVAL_S = 1.0
"""Who cancels a job does not wait much longer than this."""


class Heartbeat:
    """One renewal for all claims of a worker, three times a lease or each second; ``lost`` is called with tokens no
    longer held, ``cancelled`` with those of jobs that are to end. The worker may run another attempt of such a job."""

    def __init__(
        self, engine: Engine, worker: WorkerInfo, lease_ms: int, held: Callable[[], list[Held]],
        lost: Callable[[str], None], cancelled: Callable[[str], None] = lambda token: None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._worker = worker
        self._lease_ms = lease_ms
        self._held = held
        self._lost = lost
        self._cancelled = cancelled
        self.describe: Callable[[WorkerInfo], WorkerInfo] = lambda worker: worker
        """What others are to see of the worker now."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"stratix-{worker.queue}-heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._engine.store.transitions.leave(self._worker.id, self._worker.queue)
        except Unavailable as error:
            self._engine.report(self._worker.queue, error, "leave_failed")

    def paused(self) -> bool:
        """Renew now, and tell whether the queue is paused."""
        return self._worker.queue in self._beat()

    def _run(self) -> None:
        interval = min(self._lease_ms / 1000 / BEATS_PER_LEASE, MAX_INTERVAL_S)
        causes = Causes()
        while True:
            try:
                self._beat()
                self._engine.reached(self._worker.queue, "renew_failed")
                wait = interval
            except Unavailable as error:
                self._engine.report(self._worker.queue, error, "renew_failed")
                wait = min(interval, 1.0)
            except Exception as error:
                # A fault of our own: without heartbeats all jobs of the worker would be lost to it.
                if causes.is_new(error):
                    extra = {"action": "renew_failed", "queue": self._worker.queue}
                    logger.exception("the heartbeat failed", extra=extra)
                    self._engine.report(self._worker.queue, error, "renew_failed")
                wait = interval
            if self._stop.wait(wait):
                return

    def _beat(self) -> frozenset[str]:
        renewed = self._engine.store.transitions.renew(
            self.describe(self._worker), self._held(), self._lease_ms
        )
        for token in renewed.lost:
            self._lost(token)
        for token in renewed.cancelled:
            self._cancelled(token)
        return renewed.paused
