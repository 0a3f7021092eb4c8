"""What a Celery worker's main process also runs: the clock, and its presence on the queues it consumes."""

from __future__ import annotations

from typing import Any

from celery import bootsteps, signals
from celery.concurrency.thread import TaskPool
from celery.exceptions import InvalidTaskError, WorkerLostError

from stratix_kombu.celery.attempt import error_text, reason_of
from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.celery.children import read_children_to_the_end
from stratix_kombu.celery.compat import keep_refusals_in_context
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.clock import Clock
from stratix_kombu.lifecycle.outcomes import fail, hand_back
from stratix_kombu.lifecycle.recover import catch_up
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.record import UNCLAIMED, Failure, Held
from stratix_kombu.model.tasks import TRACKED

PROVE_S = 1.0
"""How often the event loop of a worker shows that it goes round."""


class StratixStep(bootsteps.StartStopStep):
    """Started after the pool, so that no thread of ours is forked with it; stopped before it, so that it drains while
    the leases of what runs are still renewed."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._clock: Clock | None = None
        self._bridge = bridge_of(worker.app)
        if self._bridge is not None:
            self._bridge.claims.name_worker(worker.hostname, worker.concurrency or 1)

    def start(self, worker: Any) -> None:
        bridge = self._bridge
        if bridge is None:
            return
        read_children_to_the_end()
        if isinstance(worker.pool, TaskPool):
            keep_refusals_in_context()
        signals.worker_shutdown.connect(self._end, sender=worker)
        signals.task_rejected.connect(self._rejected)
        for queue in worker.app.amqp.queues.consume_from:
            bridge.claims.watch(queue)
        bridge.application.serve_metrics()
        if worker.use_eventloop:
            bridge.claims.prove()  # the period starts
            worker.timer.call_repeatedly(PROVE_S, self._prove, (worker,))
        settings = bridge.queue.settings.worker
        if settings.clock:
            self._clock = Clock.of(bridge.engine, settings)
            self._clock.start()
        try:
            for queue in worker.app.amqp.queues.consume_from:
                bridge.driver.serve(queue)
            catch_up(bridge.engine, worker.app.amqp.queues.consume_from)
        except Unavailable as problem:
            bridge.engine.report("", problem, "depth_failed")

    def _rejected(self, sender: Any, message: Any, exc: Any, **_: Any) -> None:
        """Celery has dropped a message that it cannot read: the job it names would be sent again, and again."""
        bridge, headers = self._bridge, message.headers or {}
        queue, task_id = headers.get(TRACKED), headers.get("id")
        if bridge is None or sender.app is not bridge.celery or not queue or not task_id:
            return
        error = exc if isinstance(exc, BaseException) else InvalidTaskError("it is not a task message")
        text = error_text(bridge.celery.backend, error)
        try:
            fail(bridge.engine, [Failure(task_job_id(task_id), UNCLAIMED, reason_of(error), error=text)])
        except Unavailable as problem:
            bridge.engine.report(queue, problem, "settle_failed")  # it will come again

    def _prove(self, worker: Any) -> None:
        """Timers run in the loop that takes messages, and Celery has no connection while it looks for the broker."""
        connection = worker.consumer.connection
        if self._bridge is None or connection is None or not connection.connected:
            return
        if self._bridge.driver.is_left_behind(connection):
            # Celery treats a connection error raised by a timer as one of its own: it reconnects.
            raise ConnectionResetError("the broker has another master now")
        self._bridge.claims.prove()

    def stop(self, worker: Any) -> None:
        """A warm shutdown: Celery waits for running tasks, without a limit."""
        if self._clock is not None:
            self._clock.stop()
            self._clock = None
        if self._bridge is not None:
            self._bridge.claims.drain()

    def terminate(self, worker: Any) -> None:
        """A cold shutdown: Celery has terminated running tasks and its children."""
        self.stop(worker)
        self._end(worker)

    def _end(self, sender: Any, **_: Any) -> None:
        """Everything has stopped. A warm shutdown has waited for what ran, but it may have become a cold one meanwhile,
        of which Celery does not tell the steps."""
        if self._bridge is not None:
            for queue in sender.app.amqp.queues.consume_from:
                _give_up(self._bridge, queue)
            self._bridge.claims.stop()


def _give_up(bridge: Bridge, queue: str) -> None:
    """Jobs claimed by this worker's processes: others may have them now, instead of after a lease. Tasks that
    acknowledge early run at most once, so they have failed."""
    engine = bridge.engine
    try:
        held = engine.store.queries.held(queue, bridge.claims.worker)
        records = engine.store.queries.get([one.job_id for one in held])
        late: list[Held] = []
        early: list[Held] = []
        for claim, record in zip(held, records, strict=True):
            task = bridge.celery.tasks.get(record.name) if record is not None and record.message else None
            (late if task is None or task.acks_late else early).append(claim)
        error = WorkerLostError("its worker was shut down while it ran")
        text = error_text(bridge.celery.backend, error)
        if late:
            hand_back(engine, late)
        if early:
            fail(engine, [Failure(one.job_id, one.token, reason_of(error), error=text) for one in early])
    except Unavailable as problem:
        engine.report(queue, problem, "hand_back_failed")
