"""One queue: its documented methods. What they do is in the parts that it is made of, one a file beside this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stratix_kombu import forks
from stratix_kombu.config.options import Duration, QueueOptions, together
from stratix_kombu.errors import Closed
from stratix_kombu.foreign import QUEUE
from stratix_kombu.hints import Hinted
from stratix_kombu.lifecycle.add import add, add_recorded, check_free, pages, records_of
from stratix_kombu.lifecycle.closing import close_within
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.one_queue import pause, resume
from stratix_kombu.model.arguments import many, seconds
from stratix_kombu.model.functions import NOT_GIVEN
from stratix_kombu.model.record import Added, JobRecord, NewJob, WorkerInfo
from stratix_kombu.queue.events import QueueEvents
from stratix_kombu.queue.job import Job
from stratix_kombu.queue.limiting import Limiting
from stratix_kombu.queue.local_worker import LocalWorker
from stratix_kombu.queue.many_jobs import ManyJobs
from stratix_kombu.queue.new_jobs import NewJobs
from stratix_kombu.queue.repeatables import RepeatableJob, Repeatables
from stratix_kombu.queue.transactional import add_by, add_by_async
from stratix_kombu.worker.backoffs import Backoffs

if TYPE_CHECKING:
    from stratix_kombu.aio import AsyncQueue
    from stratix_kombu.types import (
        BulkJob,
        JobOpts,
        LimiterOpts,
        RepeatOpts,
        RepeatSelection,
        RepeatTemplate,
        SchedulerRule,
        Task,
        Unpack,
    )
    from stratix_kombu.worker.attempt import Attempts
    from stratix_kombu.worker.coroutines import LoopExecutor
    from stratix_kombu.worker.heartbeat import Heartbeat
    from stratix_kombu.worker.watch import Watch

Handler = TypeVar("Handler", bound=Callable[[Job], object])
FilePath = TypeVar("FilePath", str, Path)
Result = TypeVar("Result")


class Queue(ManyJobs, forks.OfOneProcess, Hinted):
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
        events = QueueEvents(engine, name, options.max_payload_bytes, lambda: self.local.is_idle)
        super().__init__(name, engine, events)
        backoffs = Backoffs(name, options.backoffs, options.default_job_options.backoff)
        self._limiting = Limiting(engine, name, options)
        self.bounds = self._limiting.bounds
        """How its jobs may start, by its options."""
        self.local = LocalWorker(
            name,
            self._runtime,
            options,
            backoffs,
            self.bounds,
            heartbeat=heartbeat,
            watch=watch,
            loop=loop,
            came_up=events.worker_came_up,
        )
        self._new_jobs = NewJobs(engine, name, options, backoffs, lambda: bool(self.local.handlers))
        self._repeatables = Repeatables(engine, name, self.new_job)
        self._closed = False

    @property
    def aio(self) -> AsyncQueue:
        """The same methods for asyncio."""
        from stratix_kombu.aio import AsyncQueue

        return AsyncQueue(self, self._engine.calls)

    # -- adding ---------------------------------------------------------------------------------

    def add(
        self,
        name: str | Task,
        data: Any = None,
        opts: JobOpts | None = None,
        *,
        connection: Any = None,
        **options: Unpack[JobOpts],
    ) -> Job:
        """Add a job; options by keyword, or as the documented mapping.

        ``name`` may be a task of a Celery application: its message is sent, with ``data`` as keyword arguments (a
        mapping) or positional ones (a list), so that any Celery worker on the queue can run it. Workers without the
        bridge do not report the outcome: the job then counts as completed, with the task's id as its result, once its
        message has been sent.

        If a job of the queue already has the ``job_id``, it is returned unchanged; JobIdTaken is raised if a job of
        another queue has it. Raises ConfigurationError for an option that cannot be used, PayloadNotSerializable,
        PayloadTooLarge, DependencyNotFound; then nothing was added. Raises StoreUnavailable if the store has not
        answered, even when asked again: the job may have been added. With a ``job_id`` of your own, calling again adds
        no second job while the first has a record. If only the broker is unreachable, ``error`` is emitted: the job is
        stored, and its message is sent when the broker can be reached again.

        With a PostgreSQL store, ``connection`` is a connection of yours to its database, of psycopg or Django, or a
        session or connection of SQLAlchemy: the job is added within its transaction, is there when that is committed,
        and never was if it is rolled back. Waiting for the job before raises ConfigurationError.

        >>> queue.add("report", {"month": 5}, delay=60_000)  # doctest: +SKIP
        """
        new = self.to_add(name, data, opts, options)
        if connection is not None:
            return add_by(self._runtime, [new], connection)[0]
        return self.added([new], add(self._engine, [new]))[0]

    def add_bulk(self, jobs: Iterable[BulkJob], *, connection: Any = None) -> list[Job]:
        """Add many jobs, each ``{"name": ..., "data": ..., "opts": {...}}``, in order; a generator is read to its end.

        All are validated before any is added. Each thousand of jobs and dependencies is one atomic step, in which
        dependencies are looked up; if one is not found, jobs of earlier steps stay. With a ``connection``, as for
        ``add``, they are added together. Raises as ``add``, naming the index.

        >>> queue.add_bulk([{"name": "n", "data": {"id": 1}}, {"name": "n", "data": {"id": 2}}])  # doctest: +SKIP
        """
        jobs = many(jobs)
        new = self.new_jobs(jobs)
        if connection is not None:
            return add_by(self._runtime, new, connection) if new else []
        in_steps = list(pages(new))
        if len(in_steps) > 1:
            check_free(self._engine, [job for job in new if not job.fresh])
        added: list[Job] = []
        for page in in_steps:
            added += map(self.handle, add_recorded(self._engine, page))
        return added

    # -- repeatable jobs ------------------------------------------------------------------------

    def add_repeatable_job(
        self, name: str | Task, data: Any = None, opts: RepeatOpts | None = None, **options: Unpack[RepeatOpts]
    ) -> RepeatableJob:
        """Add a job repeatedly: at the times of ``cron``, or at intervals of ``every`` (milliseconds or a timedelta).

        ``cron`` has five fields, or six with seconds first (the guide has the rules), in ``timezone`` (by default the
        setting of that name, otherwise UTC). Further options are ``limit`` (the most runs), ``start_date``,
        ``end_date`` (aware datetimes), ``immediately`` (the first run now), ``key``, and the options of each job,
        ``limiter`` and ``deduplication`` included: a run that is refused as a duplicate adds no job. A repeatable job
        with the same key (by default: the same name and ``cron`` and ``timezone``, or ``every``) is replaced; if the
        times are the same it continues where it was, and its runs still count, so deploying twice makes no second one.
        Intervals count from ``start_date`` or the epoch. Missed runs collapse into one. If ``end_date`` is past, it is
        kept as ended (``next_run`` is None), with a warning in the log, so that a program that registers it on each
        start still starts.

        Raises ConfigurationError, and as ``add``. A clock must be running: a started application, or a Celery worker.

        >>> queue.add_repeatable_job("backup", {"type": "full"}, cron="30 3 * * *")  # doctest: +SKIP
        """
        return self._repeatables.add(name, data, together(opts, options, "add_repeatable_job"))

    def upsert_job_scheduler(
        self, key: str, repeat: SchedulerRule, template: RepeatTemplate | None = None
    ) -> RepeatableJob:
        """As ``add_repeatable_job`` with that key; ``template`` is ``{"name", "data", "opts"}``.

        >>> queue.upsert_job_scheduler("nightly", {"cron": "30 3 * * *"}, {"name": "backup"})  # doctest: +SKIP
        """
        return self._repeatables.upsert(key, repeat, template or {})

    def remove_repeatable_job(
        self, opts: RepeatSelection | RepeatableJob | None = None, **options: Unpack[RepeatSelection]
    ) -> bool:
        """Remove a repeatable job, by ``key``, or by ``name`` and ``cron`` (and ``timezone``) or ``every``; return
        whether there was one. The record that ``get_repeatable_jobs`` returns is accepted too, and so are all the
        options it was added with together with its ``name``. Jobs that were already added stay.

        >>> queue.remove_repeatable_job(name="backup", cron="30 3 * * *")  # doctest: +SKIP
        """
        return self._repeatables.remove(opts, options)

    def pause_repeatable_job(self, key: str) -> None:
        """Add no jobs of it until it is resumed. Raises RepeatableJobNotFound."""
        self._repeatables.pause(key)

    def resume_repeatable_job(self, key: str) -> None:
        """Continue with its next time; missed runs are skipped. Raises RepeatableJobNotFound."""
        self._repeatables.resume(key)

    def run_repeatable_job(self, key: str) -> Job:
        """Add one job of it now, in addition to its times. Raises RepeatableJobNotFound."""
        return self.added(*self._repeatables.run(key))[0]

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

    def process(self, name: Any = None, handler: Any = NOT_GIVEN, /) -> Any:
        """Handle jobs: ``process(handler)`` for all names, ``process(name, handler)`` for one; or as a decorator.

        A handler takes the Job and returns a JSON value; it may be ``async def``. The path of a file that defines
        ``process(job)`` is a handler too: it runs in a sandbox (a text as the only argument is taken for a path if it
        ends like a script's name). Jobs are run once the application is started; a listener may call this too.
        Registering the same function again changes nothing, even a lambda that the same line creates again. Raises
        ConfigurationError for another handler of the same name, and for one that must run in a sandbox but cannot.

        >>> @queue.process("welcome")  # doctest: +SKIP
        ... def send(job): ...
        """
        self._open()
        return self.local.process(name, handler)

    @property
    def handler_names(self) -> list[str]:
        """Names of the jobs that are handled here, sorted; ``"*"`` stands for the handler of all others."""
        handlers = self.local.handlers
        return handlers.names + ["*"] * handlers.takes_all

    @property
    def concurrency(self) -> int:
        """The number of jobs that run at the same time in this process. It may be set until the application is started;
        later that raises ConfigurationError.

        >>> queue.concurrency = 20  # doctest: +SKIP
        """
        return self.local.concurrency

    @concurrency.setter
    def concurrency(self, jobs: int) -> None:
        self.local.concurrency = jobs

    def close(self, timeout: float | timedelta | None = None) -> bool:
        """Take no more jobs here, wait for the active ones (``timeout`` in seconds or a timedelta; None = no limit),
        hand back the rest; return whether all had finished. The queue itself and its jobs stay. Raises
        ConfigurationError in a handler of the queue, which it would wait for."""
        patience = seconds(timeout, "close: 'timeout'")
        self.local.check_may_stop("queue.close()")
        return all(close_within(patience, {f"queue {self.name!r}": lambda: self.end(patience)}))

    # -- when jobs start ------------------------------------------------------------------------

    def pause(self) -> None:
        """Start no further job, in any process; running jobs are not affected."""
        pause(self._engine, self.name)

    def resume(self) -> None:
        """Let jobs start again."""
        resume(self._engine, self.name)

    def set_rate_limit(self, limiter: LimiterOpts | None = None, **options: Unpack[LimiterOpts]) -> None:
        """Set the queue's limiter at run time, for all workers everywhere, instead of the one in their options; without
        arguments, their options apply again. Arguments as for ``limiter``.

        >>> queue.set_rate_limit(max=100, duration=60_000)  # doctest: +SKIP
        """
        self._limiting.set_rate_limit(together(limiter, options, "set_rate_limit"))

    def get_rate_limit_ttl(self) -> int:
        """Milliseconds until the queue's limiter and ``hold`` let the next job start; 0 = now."""
        return self._limiting.rate_limit_ttl()

    def hold(self, duration: Duration) -> None:
        """Start no further job for ``duration`` (milliseconds or a timedelta), in any process, as ``RateLimited``
        does. A shorter hold never shortens a longer one; 0 lifts it."""
        self._limiting.hold(duration)

    def set_global_concurrency(self, most: int | None) -> None:
        """Let at most that many jobs of the queue be active at the same time over all workers (0 = no limit); with
        None, the workers' option ``global_concurrency`` applies again."""
        self._limiting.set_global_concurrency(most)

    # -- within the package ---------------------------------------------------------------------

    @property
    def worker(self) -> WorkerInfo | None:
        """The worker of this process on the queue, as it is now; None while nothing is taken here."""
        return self.local.info

    def to_add(self, name: Any, data: Any, opts: Mapping[str, Any] | None, options: Mapping[str, Any]) -> NewJob:
        """The job that ``add`` is called for. Raises Closed, and as ``new_job``."""
        self._open()
        return self.new_job(name, data, together(opts, options, "add") if opts else options)

    def new_job(self, name: Any, data: Any, given: Mapping[str, Any]) -> NewJob:
        """A job as it would be added, checked; nothing is written."""
        return self._new_jobs.make(name, data, given)

    def new_jobs(self, jobs: Sequence[BulkJob]) -> list[NewJob]:
        """The jobs that ``add_bulk`` is called for. Raises Closed, and as that."""
        self._open()
        return self._new_jobs.of_bulk(jobs)

    async def add_by(self, jobs: Sequence[NewJob], connection: Any) -> list[Job]:
        """Add these within the transaction of a connection of asyncio. Raises as ``add``."""
        return await add_by_async(self._runtime, jobs, connection)

    def handle(self, record: JobRecord) -> Job:
        """The handle on a job of this queue."""
        return Job(record, self._runtime)

    def added(self, jobs: Sequence[NewJob], answer: Added) -> list[Job]:
        """The handles on jobs as the store says they were added, or on those that are there instead of them."""
        return [self.handle(record) for record in records_of(self._engine, jobs, answer.placed, answer.instead)]

    def attempts(self, concurrency: int) -> Attempts:
        """Runs the handlers, for a host that claims by itself and runs so many jobs at a time in this process."""
        return self.local.attempts(concurrency)

    def start(self) -> None:
        """Run jobs from now on, if there is a handler, or as soon as there is one. The application calls it."""
        self.local.start()

    def stop(self, seconds: float | None) -> bool:
        """Take no more jobs; as ``end``, but the queue can still be used, and started again."""
        return self.local.stop(seconds)

    def end(self, seconds: float | None) -> bool:
        """``close``, however long servers take to answer."""
        ended = self.stop(seconds)
        if not self._closed:
            self._closed = True
            self._events.close()
        return ended

    def reopen(self) -> None:
        """After ``end``: it still has its handlers and listeners, and runs jobs once it is started."""
        if self._closed:
            self._closed = False
            self._events.reopen()

    def _open(self) -> None:
        if self._closed:
            raise Closed(f"queue {self.name!r}")
