"""What a Celery worker's main process runs besides: the clock, and its presence on the queues it consumes."""

from __future__ import annotations

from typing import Any

from celery import bootsteps

from stratix_kombu.celery.bridge import bridge_of
from stratix_kombu.lifecycle.clock import Clock


class StratixStep(bootsteps.StartStopStep):
    """Started after the pool, so that no thread of ours is forked with it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._clock: Clock | None = None
        bridge = bridge_of(worker.app)
        if bridge is not None:
            bridge.claims.name_worker(worker.hostname, worker.concurrency or 1)

    def start(self, worker: Any) -> None:
        bridge = bridge_of(worker.app)
        if bridge is None:
            return
        for queue in worker.app.amqp.queues.consume_from:
            bridge.claims.watch(queue)
        settings = bridge.queue.settings.worker
        if settings.clock:
            self._clock = Clock(
                bridge.engine, stalled_check_ms=settings.stalled_check_interval,
                max_stalled=settings.max_stalled_count, grace_ms=settings.redelivery_grace,
            )  # fmt: skip
            self._clock.start()

    def stop(self, worker: Any) -> None:
        if self._clock is not None:
            self._clock.stop()
            self._clock = None
        bridge = bridge_of(worker.app)
        if bridge is not None:
            bridge.claims.stop()

    terminate = stop
