"""One queue: adding jobs, handling them, pausing; with what its other parts bring."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stratix_kombu import forks
from stratix_kombu.config.options import MAX_CONCURRENCY, JobOptions, QueueOptions, snake_keys, together, whole
from stratix_kombu.drivers.native import is_task, message_of
from stratix_kombu.errors import Closed, ConfigurationError, PayloadTooLarge, StratixError
from stratix_kombu.foreign import QUEUE
from stratix_kombu.hints import Hinted
from stratix_kombu.lifecycle.add import add, check_free, pages, records_of
from stratix_kombu.lifecycle.closing import close_within
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.arguments import seconds
from stratix_kombu.model.codec import encode
from stratix_kombu.model.names import check_job_name, new_id
from stratix_kombu.model.record import Added, Claim, JobRecord, NewJob, WorkerInfo
from stratix_kombu.queue.events import Listening, QueueEvents
from stratix_kombu.queue.housekeeping import Housekeeping
from stratix_kombu.queue.inspection import Inspection
from stratix_kombu.queue.job import Job, Runtime
from stratix_kombu.queue.limiting import Limiting
from stratix_kombu.queue.repeatables import Repeatables, Repeating
from stratix_kombu.worker.attempt import Attempts
from stratix_kombu.worker.backoffs import Backoffs
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.handlers import Handlers, is_path, say_what_is_unused
from stratix_kombu.worker.heartbeat import Heartbeat
from stratix_kombu.worker.sandbox.pool import SandboxPool
from stratix_kombu.worker.watch import Watch
from stratix_kombu.worker.worker import Worker, WorkerSettings

if TYPE_CHECKING:
    from stratix_kombu.aio import AsyncQueue
    from stratix_kombu.types import BulkJob, JobOpts, Task, Unpack

Handler = TypeVar("Handler", bound=Callable[[Job], object])
FilePath = TypeVar("FilePath", str, Path)
Result = TypeVar("Result")


class Queue(Inspection, Listening, Repeating, Housekeeping, Limiting, forks.OfOneProcess, Hinted):
    """A named queue of an application; made by ``app.queue.create_queue``.

    >>> queue = app.queue.create_queue("emails", concurrency=10)  # doctest: +SKIP
    >>> queue.add("welcome", {"to": "a@example.com"}, attempts=3)  # doctest: +SKIP
    """

    _foreign = QUEUE

    def __init__(
        self,
        name: str,
        engine: Engine,
        options: QueueOptions,
        heartbeat: Heartbeat,
        watch: Watch,
        loop: LoopExecutor | None = None,
    ) -> None:
        self.name = name
        self._engine = engine
        self._options = options
        self._heartbeat = heartbeat
        self._watch = watch
        self._loop = loop
        self._backoffs = Backoffs(name, options.backoffs, options.default_job_options.backoff)
        self._handlers = Handlers()
        self._events = QueueEvents(engine, name, options.max_payload_bytes)
        self._events.idle_handlers = lambda: bool(self._handlers) and not self._started
        self._runtime: Runtime = self._events.runtime
        self._repeatables = Repeatables(engine, name, self.new_job)
        self._worker: Worker | None = None
        self._starting = threading.Lock()
        self._sandboxes: SandboxPool | None = None
        self._started = False
        self._closed = False
        forks.register(self)

    def after_fork(self) -> None:
        """Jobs are taken by the parent."""
        self._starting = threading.Lock()
        self._worker, self._sandboxes, self._started = None, None, False

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"

    @property
    def aio(self) -> AsyncQueue:
        """The same methods for asyncio."""
        from stratix_kombu.aio import AsyncQueue

        return AsyncQueue(self, self._engine.calls)

    # -- adding ---------------------------------------------------------------------------------

    def add(self, name: str | Task, data: Any = None, opts: JobOpts | None = None, **options: Unpack[JobOpts]) -> Job:
        """Add a job; options by keyword, or as the documented mapping.

        ``name`` may be a task of a Celery application: its message is sent, with ``data`` as keyword arguments (a
        mapping) or positional ones (a list), so that any Celery worker on the queue can run it. Workers without the
        bridge do not tell how it went: the job has then completed with the id of the task once it was sent.

        A known ``job_id`` changes nothing and gives the job that has it; JobIdTaken is raised if that is a job of
        another queue. Raises ConfigurationError for an option
        that cannot be used, PayloadNotSerializable, PayloadTooLarge, DependencyNotFound; then nothing was added. Raises
        StoreUnavailable when the store has not answered, though it was asked again: the job may have been added. With a
        ``job_id`` of your own, calling again adds no second one while the first has a record. That only the broker is
        away is told by the event ``error``: the job is kept, and sent when the broker is back.

        >>> queue.add("report", {"month": 5}, delay=60_000)  # doctest: +SKIP
        """
        new = self.to_add(name, data, opts, options)
        return self.added([new], add(self._engine, [new]))[0]

    def add_bulk(self, jobs: Sequence[BulkJob]) -> list[Job]:
        """Add many jobs, each ``{"name": ..., "data": ..., "opts": {...}}``, in order.

        All are checked before any is added; each thousand of jobs and dependencies is one atomic step, and only in
        its step is a dependency looked up: those before it stay. Raises as ``add``, naming the index.

        >>> queue.add_bulk([{"name": "n", "data": {"id": 1}}, {"name": "n", "data": {"id": 2}}])  # doctest: +SKIP
        """
        self._open()
        if isinstance(jobs, (Mapping, str)):
            raise ConfigurationError("add_bulk: give a list of mappings with 'name', not a single one")
        new = [self._new_bulk_job(index, one) for index, one in enumerate(jobs)]
        in_steps = list(pages(new))
        if len(in_steps) > 1:
            check_free(self._engine, [job for job, one in zip(new, jobs, strict=True) if one.get("opts")])
        added: list[Job] = []
        for page in in_steps:
            added += self.added(page, add(self._engine, page))
        return added

    def _new_bulk_job(self, index: int, job: Mapping[str, Any]) -> NewJob:
        if not isinstance(job, Mapping) or "name" not in job:
            raise ConfigurationError(f"add_bulk, job {index}: must be a mapping with 'name', not {job!r}")
        if not job.keys() <= {"name", "data", "opts"}:
            snake_keys(job, ("name", "data", "opts"), f"add_bulk, job {index}")
        try:
            return self.new_job(job["name"], job.get("data"), job.get("opts") or {})
        except StratixError as problem:
            # The error keeps its class and attributes; only its text says which job it was.
            problem.args = (f"add_bulk, job {index}: {problem}",)
            raise

    def to_add(self, name: Any, data: Any, opts: Mapping[str, Any] | None, options: Mapping[str, Any]) -> NewJob:
        """The job that ``add`` is called for. Raises Closed, and as ``new_job``."""
        self._open()
        return self.new_job(name, data, together(opts, options, "add") if opts else options)

    def new_job(self, name: Any, data: Any, given: Mapping[str, Any]) -> NewJob:
        """A job as it would be added, checked; nothing is written."""
        if is_task(name):
            return self._new_task(name, data, given)
        check_job_name(name)
        text = "null" if data is None else self._encode_data(name, data)
        options = self._options.default_job_options
        if given:
            options = JobOptions.parse(given, f"add({name!r}) on queue {self.name!r}", options)
            if options.backoff is not None:
                self._backoffs.remember(options.backoff, self._engine.store.shared, bool(self._handlers))
        new = options.new_job(new_id(), self.name, name, text)
        return replace(new, dead_letter=self._options.dead_letter) if self._options.dead_letter else new

    def _new_task(self, task: Any, data: Any, given: Mapping[str, Any]) -> NewJob:
        where = f"add({task.name!r}) on queue {self.name!r}"
        options = JobOptions.parse(given, where, replace(self._options.default_job_options, attempts=1, backoff=None))
        if options.attempts != 1 or options.backoff is not None:
            raise ConfigurationError(
                f"{where}: a Celery task says by itself how often it is tried (max_retries, autoretry_for): leave out "
                "'attempts' and 'backoff'"
            )
        new = options.new_job(new_id(), self.name, task.name, "null")
        message, tracked = message_of(task, data, new, self._engine)
        size = len(message.encode())
        if size > self._options.max_payload_bytes:
            raise PayloadTooLarge(f"the message of task {task.name!r}", size, self._options.max_payload_bytes)
        stalls = None if task.acks_late else 0
        return replace(new, message=message, forward=not tracked, max_stalled=stalls if tracked else None, group="")

    def handle(self, record: JobRecord) -> Job:
        """The handle on a job of this queue."""
        return Job(record, self._runtime)

    def added(self, jobs: Sequence[NewJob], answer: Added) -> list[Job]:
        """The handles on jobs as the store says they were added, or on those that are there instead of them."""
        return [self.handle(one) for one in records_of(self._engine, jobs, answer.placed, answer.instead)]

    def _encode_data(self, name: str, data: Any) -> str:
        return encode(data, f"the data of job {name!r} for queue {self.name!r}", self._options.max_payload_bytes)

    # -- handling -------------------------------------------------------------------------------

    @overload
    def process(self, handler: Handler, /) -> Handler: ...

    @overload
    def process(self, handler: Path, /) -> Path: ...

    @overload
    def process(self, name: str, handler: Callable[[Job], Result], /) -> Callable[[Job], Result]: ...

    @overload
    def process(self, name: str, handler: FilePath, /) -> FilePath: ...

    @overload
    def process(self, name: str | None = None, /) -> Callable[[Handler], Handler]: ...

    def process(self, name: Any = None, handler: Any = None, /) -> Any:
        """Handle jobs: ``process(handler)`` for all names, ``process(name, handler)`` for one; or as a decorator.

        A handler takes the Job and returns a JSON value; it may be ``async def``. The path of a file that defines
        ``process(job)`` is a handler too: it runs in a sandbox (a text alone is one if it ends like a script's name).
        Jobs are taken once the application is started; a listener may call this too. The same function again changes
        nothing, also a lambda that the same line makes anew. Raises ConfigurationError for another handler of the same
        name, and for one that cannot run in a sandbox but is to.

        >>> @queue.process("welcome")  # doctest: +SKIP
        ... def send(job): ...
        """
        self._open()
        if handler is None and name is not None and (not isinstance(name, str) or is_path(name)):
            name, handler = None, name
        if handler is None:

            def decorate(function: Handler) -> Handler:
                self.process(name, function) if name is not None else self.process(function)
                return function

            return decorate
        self._handlers.register(name, handler, self._options.processor.sandboxed)
        say_what_is_unused(self.name, handler, self._options.processor)
        if self._started:
            self._start_worker()
        return handler

    @property
    def handler_names(self) -> list[str]:
        """Names of the jobs that are handled here, sorted; ``"*"`` for the handler of all others."""
        return self._handlers.names + ["*"] * self._handlers.takes_all

    @property
    def concurrency(self) -> int:
        """How many jobs run at a time in this process. It may be set until jobs are taken; ConfigurationError later.

        >>> queue.concurrency = 20  # doctest: +SKIP
        """
        return self._options.concurrency

    @concurrency.setter
    def concurrency(self, jobs: int) -> None:
        if self._worker is not None:
            raise ConfigurationError(f"queue {self.name!r}: set 'concurrency' before jobs are taken")
        jobs = whole(jobs, f"queue {self.name!r}: 'concurrency'", 1, MAX_CONCURRENCY)
        self._options = replace(self._options, concurrency=jobs)

    def start(self) -> None:
        """Take jobs from now on, if there is a handler, and as soon as there is one. The application calls it."""
        self._started = True
        if self._handlers:
            self._start_worker()

    def _start_worker(self) -> None:
        with self._starting:  # listeners may register handlers at the same time, or while the queue is closed
            if self._worker is not None or not self._started:
                return
            settings = self._worker_settings(self._options.concurrency)
            worker = Worker(
                self._engine,
                self.name,
                self._handlers,
                settings,
                self._make_job,
                heartbeat=self._heartbeat,
                watch=self._watch,
                loop=self._loop,
            )
            worker.start()
            self._worker = worker
            self._events.worker_came_up()

    def _worker_settings(self, concurrency: int) -> WorkerSettings:
        options, processor = self._options, self._options.processor
        if self._sandboxes is None:
            size = processor.max_sandboxes or concurrency
            self._sandboxes = SandboxPool(self.name, size, processor, options.max_payload_bytes)
        if processor.sandboxed:  # nothing is taken that could not run
            concurrency = min(concurrency, self._sandboxes.size)
        return WorkerSettings(
            concurrency=concurrency,
            backoffs=self._backoffs.functions,
            max_payload_bytes=options.max_payload_bytes,
            bounds=self.bounds,
            cancelled=self._runtime.cancelled,
            sandboxes=self._sandboxes,
            processor_timeout_ms=processor.timeout_ms,
        )

    @property
    def cancelled(self) -> set[str]:
        """Tokens of claims in this process whose handlers are to end."""
        return self._runtime.cancelled

    @property
    def worker(self) -> WorkerInfo | None:
        """The worker of this process on the queue, as it is now; None while nothing is taken here."""
        worker = self._worker
        return worker.info if worker else None

    def attempts(self, concurrency: int) -> Attempts:
        """Runs the handlers, for a host that claims by itself and runs so many jobs at a time in this process."""
        return Attempts(self.name, self._handlers, self._worker_settings(concurrency), self._make_job)

    def _make_job(self, claim: Claim) -> Job:
        return Job(claim.record, self._runtime, claim.token)

    def run_repeatable_job(self, key: str) -> Job:
        """Add one job of it now, besides its times. Raises RepeatableJobNotFound."""
        return self.added(*self._repeatables.run(key))[0]

    def close(self, timeout: float | timedelta | None = None) -> bool:
        """Take no more jobs here, wait for the active ones (``timeout`` in seconds or a timedelta; None = without
        limit), hand back the rest; whether all had ended. The queue itself and its jobs stay."""
        patience = seconds(timeout, "close: 'timeout'")
        return all(close_within(patience, {f"queue {self.name!r}": partial(self.end, patience)}))

    def end(self, seconds: float | None) -> bool:
        """``close``, however long servers take to answer."""
        ended = self.stop(seconds)
        if not self._closed:
            self._closed = True
            self._events.close()
        return ended

    def stop(self, seconds: float | None) -> bool:
        """Take no more jobs; as ``end``, but it can be used still, and started again."""
        with self._starting:
            self._started = False
            worker, self._worker = self._worker, None
            sandboxes, self._sandboxes = self._sandboxes, None
        ended = worker.stop(seconds) if worker else True
        if sandboxes is not None:
            sandboxes.close()
        return ended

    def reopen(self) -> None:
        """After ``end``: it has its handlers and listeners still, and takes jobs once it is started."""
        if self._closed:
            self._closed = False
            self._events.reopen()

    def _open(self) -> None:
        if self._closed:
            raise Closed(f"queue {self.name!r}")
