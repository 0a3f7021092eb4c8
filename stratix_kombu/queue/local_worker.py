"""Runs the jobs of one queue in this process: its handlers, and its worker and sandboxes while it is started."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stratix_kombu import forks
from stratix_kombu.config.options import MAX_CONCURRENCY, QueueOptions, whole
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.logs import current_job
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.functions import NOT_GIVEN
from stratix_kombu.model.record import Claim, WorkerInfo
from stratix_kombu.queue.job import Job, Runtime
from stratix_kombu.worker.backoffs import Backoffs
from stratix_kombu.worker.handlers import Handlers, is_path, say_what_is_unused

if TYPE_CHECKING:  # a process that only adds jobs loads no worker
    from stratix_kombu.worker.attempt import Attempts
    from stratix_kombu.worker.coroutines import LoopExecutor
    from stratix_kombu.worker.heartbeat import Heartbeat
    from stratix_kombu.worker.natives import TaskHost
    from stratix_kombu.worker.sandbox.pool import SandboxPool
    from stratix_kombu.worker.watch import Watch
    from stratix_kombu.worker.worker import Worker, WorkerSettings


class LocalWorker:
    """Runs jobs while it is started and has a handler. It can be stopped and started again."""

    def __init__(
        self,
        queue: str,
        runtime: Runtime,
        options: QueueOptions,
        backoffs: Backoffs,
        bounds: Bounds,
        *,
        heartbeat: Heartbeat,
        watch: Watch,
        loop: LoopExecutor | None,
        came_up: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._runtime = runtime
        self._options = options
        self._concurrency = options.concurrency
        self._backoffs = backoffs
        self._bounds = bounds
        self._heartbeat = heartbeat
        self._watch = watch
        self._loop = loop
        self._came_up = came_up
        """Called each time a worker has started."""
        self.handlers = Handlers(f"queue {queue!r}")
        self.tasks: TaskHost | None = None
        """Runs what a Celery application has sent to the queue, if that is to be done here."""
        self.worker: Worker | None = None
        """The worker, while jobs are run."""
        self._stopping: Worker | None = None
        """The one that is being stopped."""
        self.started = False
        """Whether jobs are run as soon as there is a handler."""
        self._sandboxes: SandboxPool | None = None
        self._lock = threading.Lock()
        forks.register(self)

    def after_fork(self) -> None:
        """The parent runs the jobs."""
        self._lock = threading.Lock()
        self.worker, self._stopping, self._sandboxes, self.started = None, None, None, False

    @property
    def engine(self) -> Engine:
        return self._runtime.engine

    @property
    def concurrency(self) -> int:
        return self._concurrency

    @concurrency.setter
    def concurrency(self, jobs: int) -> None:
        if self.worker is not None:
            raise ConfigurationError(f"queue {self._queue!r}: set 'concurrency' before the application is started")
        self._concurrency = whole(jobs, f"queue {self._queue!r}: 'concurrency'", 1, MAX_CONCURRENCY)

    @property
    def info(self) -> WorkerInfo | None:
        """The worker as others see it now; None while no jobs are run here."""
        worker = self.worker
        return worker.info if worker else None

    @property
    def is_idle(self) -> bool:
        """Whether this process has handlers of the queue and runs no jobs."""
        return bool(self.handlers) and not self.started

    def process(self, name: Any, handler: Any = NOT_GIVEN) -> Any:
        """See ``Queue.process``. Jobs are run at once if this was started. Raises ConfigurationError."""
        if handler is NOT_GIVEN and name is not None and (not isinstance(name, str) or is_path(name)):
            name, handler = None, name
        if handler is NOT_GIVEN:
            return lambda function: self._register(name, function)
        return self._register(name, handler)

    def _register(self, name: str | None, handler: Any) -> Any:
        processor = self._options.processor
        self.handlers.register(name, handler, processor.sandboxed)
        say_what_is_unused(self._queue, handler, processor)
        if self.started:
            self._start_worker()
        return handler

    def start(self) -> None:
        """Run jobs from now on, if there is a handler, or as soon as there is one."""
        self.started = True
        if self.handlers or self.tasks is not None:
            self._start_worker()

    def check_may_stop(self, call: str) -> None:
        """Raise ConfigurationError if a job calls this that would be waited for."""
        job, worker = current_job(), self.worker
        if job and worker and any((one.job_id, one.queue) == job[:2] for one in worker.running):
            raise ConfigurationError(
                f"{call} would wait for the job that calls it ({job.job_id}, queue {job.queue!r}): call it in a thread "
                "that the handler does not wait for, or have the handler send SIGTERM to a process that is in app.run()"
            )

    def stop(self, seconds: float | None) -> bool:
        """Take no more jobs, wait for the active ones, hand back the rest; return whether all had finished."""
        with self._lock:
            self.started = False
            worker, self.worker = self.worker, None
            self._stopping = worker
            sandboxes, self._sandboxes = self._sandboxes, None
        ended = worker.stop(seconds) if worker else True
        self._stopping = None
        if sandboxes is not None:
            sandboxes.close()
        return ended

    def hurry(self) -> None:
        """Wait no longer for the active jobs: ``stop`` hands them back, whether it was called or will be."""
        with self._lock:
            worker = self.worker or self._stopping
        if worker is not None:
            worker.hurry()

    def attempts(self, concurrency: int) -> Attempts:
        """Runs the handlers for a host that claims jobs itself, and runs that many at the same time in this process."""
        from stratix_kombu.worker.attempt import Attempts

        return Attempts(self._queue, self.handlers, self._settings(concurrency), self._make_job)

    def _start_worker(self) -> None:
        from stratix_kombu.worker.worker import Worker

        with self._lock:  # listeners may register handlers at the same time, or while the queue is closed
            if self.worker is not None or not self.started:
                return
            worker = Worker(
                self.engine,
                self._queue,
                self.handlers,
                self._settings(self._concurrency),
                self._make_job,
                heartbeat=self._heartbeat,
                watch=self._watch,
                loop=self._loop,
                tasks=self.tasks,
            )
            worker.start()
            self.worker = worker
            self._came_up()

    def _settings(self, concurrency: int) -> WorkerSettings:
        from stratix_kombu.worker.sandbox.pool import SandboxPool
        from stratix_kombu.worker.worker import WorkerSettings

        options, processor = self._options, self._options.processor
        if self._sandboxes is None:
            size = processor.max_sandboxes or concurrency
            around = self._runtime.engine.middleware
            self._sandboxes = SandboxPool(self._queue, size, processor, options.max_payload_bytes, around)
        if processor.sandboxed:  # take nothing that could not run
            concurrency = min(concurrency, self._sandboxes.size)
        return WorkerSettings(
            concurrency=concurrency,
            backoffs=self._backoffs.functions,
            max_payload_bytes=options.max_payload_bytes,
            bounds=self._bounds,
            cancellations=self.engine.cancellations,
            sandboxes=self._sandboxes,
            processor_timeout_ms=processor.timeout_ms,
            middleware=self._runtime.engine.middleware,
        )

    def _make_job(self, claim: Claim) -> Job:
        return Job(claim.record, self._runtime, claim.token)
