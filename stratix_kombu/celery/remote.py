"""Remote control of our own worker, and its events, where the transport has fanout: what ``inspect``, ``control`` and
Flower talk to. The work does not need it, and is not held up by it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from celery.exceptions import WorkerShutdown, WorkerTerminate
from celery.utils.collections import AttributeDict
from celery.worker import WorkController
from celery.worker.control import Panel
from celery.worker.state import SOFTWARE_INFO
from kombu import Queue as BrokerQueue

from stratix_kombu.celery.running import commands_of, running_jobs
from stratix_kombu.errors import StratixError

if TYPE_CHECKING:
    from stratix_kombu.celery.program import TaskWorker

logger = logging.getLogger("stratix_kombu.celery")

WAIT_S = 1.0
HEARTBEAT_S = 2.0
"""How often the worker's event ``worker-heartbeat`` is sent, as Celery's worker does."""
AGAIN_S = 5.0
NO_RATE_LIMIT = (
    "rate_limit is not applied by this worker: give the task a stratix_limiter, or the queue a limiter; they hold over "
    "all workers"
)


class Remote:
    """A thread that listens to the worker's mailbox and sends its heartbeats."""

    def __init__(self, worker: TaskWorker) -> None:
        self._worker = worker
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.events: Any = None
        """Celery's dispatcher of events; None while there is none, or events are switched off."""

    def start(self) -> None:
        """Unless it is switched off, or the transport has no fanout."""
        app = self._worker.app
        if not app.conf.worker_enable_remote_control:
            return
        with app.connection_for_write() as connection:
            if not connection.supports_exchange_type("fanout"):
                return
        self._thread = threading.Thread(target=self._run, name="stratix-remote", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * WAIT_S)

    def send(self, kind: str, **fields: Any) -> None:
        """An event about a task, if somebody wants events."""
        events = self.events
        if events is not None and events.enabled:
            try:
                events.send(kind, **fields)
            except Exception as problem:  # whatever a transport raises: no task fails because of an event
                logger.warning("an event was not sent: %r", problem, extra={"action": "event_failed"})

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (WorkerShutdown, WorkerTerminate):
                os.kill(os.getpid(), signal.SIGINT)  # REMAP_SIGTERM is not about this one
                return
            except Exception as problem:
                logger.warning("no remote control for a while: %r", problem, extra={"action": "remote_failed"})
                self._stop.wait(AGAIN_S)

    def _listen(self) -> None:
        app, hostname = self._worker.app, self._worker.hostname
        wanted = bool(app.conf.worker_send_task_events)
        with app.connection_for_read() as connection, app.connection_for_write() as sending:
            self.events = app.events.Dispatcher(sending, hostname=hostname, enabled=wanted)
            node = app.control.mailbox.Node(
                hostname,
                handlers={**Panel.data, **commands_of(self._worker), "rate_limit": self._refuse_rate_limit},
                state=AttributeDict(app=app, hostname=hostname, consumer=self._consumer(connection), tset=set),
                channel=connection.channel(),
            )
            with node.listen(callback=lambda body, message: self._hear(node, body, message)):
                self.send("worker-online", **self._told())
                told = time.monotonic()
                while not self._stop.is_set():
                    try:
                        connection.drain_events(timeout=WAIT_S)
                    except TimeoutError:
                        connection.heartbeat_check()
                    if time.monotonic() > told + HEARTBEAT_S:
                        self.send("worker-heartbeat", **self._told())
                        told = time.monotonic()
            self.send("worker-offline", **self._told())
            self.events = None

    def _hear(self, node: Any, body: Any, message: Any) -> None:
        self._worker.app.clock.forward()
        try:
            node.handle_message(body, message)
        except KeyError as problem:
            logger.error("no such control command: %s", problem, extra={"action": "remote_failed"})

    def _told(self) -> dict[str, Any]:
        told = {
            "freq": HEARTBEAT_S,
            "active": len(running_jobs(self._worker)),
            "processed": self._worker.done,
            "loadavg": os.getloadavg(),
        }
        return {**told, **SOFTWARE_INFO}

    @staticmethod
    def _refuse_rate_limit(state: Any, **kwargs: Any) -> dict[str, str]:
        return {"error": NO_RATE_LIMIT}

    def _consumer(self, connection: Any) -> Any:
        """What Celery's commands ask of a consumer."""
        worker, app = self._worker, self._worker.app
        queues = [app.amqp.queues.get(name) or BrokerQueue(name) for name in worker.queues]

        def refuse(*_: Any, **__: Any) -> None:
            raise StratixError("this worker cannot do that while it runs: start it with the options you want")

        return SimpleNamespace(
            app=app,
            hostname=worker.hostname,
            gossip=None,
            event_dispatcher=self.events,
            task_consumer=SimpleNamespace(queues=queues),
            timer=SimpleNamespace(schedule=SimpleNamespace(queue=[])),
            pool=SimpleNamespace(grow=refuse, shrink=refuse),
            call_soon=refuse,
            add_task_queue=None,
            cancel_task_queue=None,
            reset_rate_limits=lambda: None,
            controller=SimpleNamespace(
                autoscaler=None, stats=partial(self._stats, connection), reload=refuse, use_eventloop=False
            ),
        )

    def _stats(self, connection: Any) -> dict[str, Any]:
        worker, broker = self._worker, connection.info()
        broker.pop("password", None)
        return {
            "total": dict(worker.totals),
            "pid": os.getpid(),
            "clock": str(worker.app.clock),
            "uptime": int(time.monotonic() - worker.began),
            "broker": broker,
            "prefetch_count": worker.concurrency,
            "pool": {"implementation": "stratix_kombu", "max-concurrency": worker.concurrency},
            "rusage": WorkController.rusage(worker),  # of this process; it looks at nothing else
        }
