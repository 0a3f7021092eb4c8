"""``app.queue``: the queues of an application."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from stratix_kombu import forks
from stratix_kombu.calls import Calls
from stratix_kombu.config.settings import Settings
from stratix_kombu.drivers.contract import QueueDriver, TransportDriver
from stratix_kombu.drivers.own import check_instance, close_instance
from stratix_kombu.errors import Closed, ConfigurationError, StratixError, Unavailable
from stratix_kombu.foreign import MANAGER
from stratix_kombu.hints import Hinted
from stratix_kombu.lifecycle.add import add, records_of
from stratix_kombu.lifecycle.clock import Clock
from stratix_kombu.lifecycle.closing import close_within
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.arguments import plain_text, seconds
from stratix_kombu.model.given import snake_everywhere, together
from stratix_kombu.model.names import check_queue_name
from stratix_kombu.model.record import NewJob
from stratix_kombu.queue.flow import NO_BRIDGE, Flow, plan, read_graph
from stratix_kombu.queue.inspection import Overview
from stratix_kombu.queue.job import Job
from stratix_kombu.queue.queue import Queue
from stratix_kombu.queue.user_events import Emitting, UserEvents
from stratix_kombu.stores.contract import Store
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.heartbeat import Heartbeat
from stratix_kombu.worker.stopping import log_stopping, log_who_still_runs
from stratix_kombu.worker.watch import Watch

if TYPE_CHECKING:
    from stratix_kombu.aio import AsyncQueueManager
    from stratix_kombu.types import GraphNode, QueueOpts, TreeNode, Unpack

logger = logging.getLogger("stratix_kombu")

REST_S = 0.5
"""How much longer than asked for the clock and the connections may take to end, once the queues are closed."""


class Canvas(Protocol):
    """What a bridge to Celery offers for flows."""

    def add(self, signature: Any) -> Flow: ...

    def export(self, flow: Flow) -> Any: ...


class QueueManager(Overview, Emitting, forks.OfOneProcess, Hinted):
    """Creates queues, starts and closes them together.

    >>> app.queue.create_queue("emails", concurrency=10)  # doctest: +SKIP
    """

    _foreign = MANAGER

    def __init__(self, settings: Settings, driver: QueueDriver, store: Store) -> None:
        self.settings = settings
        self.canvas: Canvas | None = None
        """How flows become Celery canvas and back, if there is a bridge."""
        self._driver = driver
        self._store = store
        self._engine = Engine(store, driver) if isinstance(driver, TransportDriver) else None
        self._calls = self._engine.calls if self._engine else Calls()
        if self._engine is not None:
            self._engine.timezone = settings.timezone
        self._heartbeat = Heartbeat(self._engine, settings.worker.lease_duration) if self._engine else None
        self._watch = Watch(self._engine) if self._engine else None
        self._user_events = UserEvents(store.events)
        self._loop = LoopExecutor()
        self._driver_loop = LoopExecutor()
        """Awaits what methods of a driver of the user's own return."""
        self._clock: Clock | None = None
        self._queues: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._only: frozenset[str] | None = None
        """Queues whose jobs are taken here; None = all that have a handler."""
        self._said_locks = False
        self._started = False
        self._closed = False
        self._told = False
        """Whether the log has been told of the settings."""
        forks.register(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        self._clock, self._started = None, False

    @property
    def aio(self) -> AsyncQueueManager:
        """The same methods for asyncio."""
        from stratix_kombu.aio import AsyncQueueManager

        return AsyncQueueManager(self, self._calls)

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that closing waits for active jobs, by the settings."""
        return self.settings.shutdown_timeout

    def create_queue(self, name: str, opts: QueueOpts | None = None, **options: Unpack[QueueOpts]) -> Queue:
        """A queue with its options, by keyword or as the documented mapping; ConfigurationError if it exists already.

        Options: ``concurrency`` (1; jobs run at a time in this process), ``default_job_options``,
        ``max_payload_bytes``, ``backoffs`` (functions a job's custom back-off may name), ``limiter``,
        ``global_concurrency``, ``group_concurrency``, ``processor`` (sandboxes), ``dead_letter``; the README has a
        section on each.
        """
        with self._lock:
            if check_queue_name(name) in self._queues:
                raise ConfigurationError(f"queue {name!r} exists already: get it with get_queue({name!r})")
            return self._create(name, together(opts, options, f"queue {name!r}"))

    def get_queue(self, name: str) -> Queue:
        """The queue of that name, made with the configured options if it is new."""
        with self._lock:
            return self._queues.get(check_queue_name(name)) or self._create(name, {})

    def get_all_queues(self) -> list[Queue]:
        """The queues of this application, in the order they were made."""
        with self._lock:
            return list(self._queues.values())

    def add_flow(self, flow: TreeNode | Sequence[GraphNode]) -> Flow:
        """Add a whole tree or graph of jobs, all or none, in one step; queues may differ.

        A tree is ``{"name", "queue", "data", "opts", "children": [...]}``: a job runs when its children have
        completed, and reads their results. A graph is a list of ``{"key", "name", "queue", "data", "opts",
        "dependencies": [keys, jobs or ids]}``. Raises as ``Queue.add``, naming the node, and DependencyCycle.

        >>> app.queue.add_flow({"name": "sum", "queue": "etl", "children": [...]}).root  # doctest: +SKIP
        """
        if self._engine is None:
            raise ConfigurationError(f"the driver {self._driver.get_name()!r} makes queues of its own: no flows")
        ids: dict[str, str] = {}
        planned: list[tuple[Queue, NewJob]] = []
        for step in plan(flow):
            options = {**step.options, "dependencies": [*(ids[key] for key in step.after), *step.others]}
            try:
                queue = self.get_queue(step.queue)
                new = queue.new_job(step.name, step.data, options)
            except StratixError as problem:
                problem.args = (f"{step.where}: {problem}",)
                raise
            ids[step.key] = new.id
            planned.append((queue, new))
        answer = add(self._engine, [new for _, new in planned])
        records = records_of(self._engine, [new for _, new in planned], answer.placed, answer.instead)
        return Flow(
            (queue.handle(record) for (queue, _), record in zip(planned, records, strict=True)),
            {new.id: new.dependencies for _, new in planned},
            self.canvas.export if self.canvas else None,
        )

    def get_flow(self, job: Job | str) -> Flow | None:
        """All jobs connected with this one by dependencies, with their states; None if there is no such job.

        Jobs that were removed are not in it. Raises ConfigurationError for a graph of more than 100,000 jobs.
        """
        job_id = job.id if isinstance(job, Job) else plain_text(job, "get_flow: 'job'")
        if self._engine is None or self._engine.store.queries.get([job_id]) == [None]:
            return None
        graph = read_graph(self._engine, job_id)
        found = [record for record in self._engine.store.queries.get(list(graph)) if record is not None]
        jobs = [self.get_queue(record.queue).handle(record) for record in found]
        kept = {one.id for one in jobs}
        edges = {one: tuple(d for d in graph[one] if d in kept) for one in graph if one in kept}
        return Flow(jobs, edges, self.canvas.export if self.canvas else None)

    def add_canvas(self, signature: Any) -> Flow:
        """Add a Celery signature of any shape (chain, group, chord, nested) as a flow, all or none, in one step.

        Tasks that Celery publishes later are in it as placeholders, blocked until then. Raises ConfigurationError
        without a bridge, and as publishing the signature would.

        >>> app.queue.add_canvas(chain(fetch.s(url), parse.s())).root.wait_until_finished()  # doctest: +SKIP
        """
        if self.canvas is None:
            raise ConfigurationError(NO_BRIDGE)
        return self.canvas.add(signature)

    def describe(self) -> str:
        """Driver and store, without credentials.

        >>> app.queue.describe()  # doctest: +SKIP
        'sqs (store redis://127.0.0.1:6379/0)'
        """
        return f"{self._driver.get_name()} (store {self._store.address})"

    def tell_settings(self) -> None:
        """Say in the log, once, which settings, driver, store and namespace are used: as soon as it takes the line, for
        modules are imported before logging is configured."""
        settings = self.settings
        level = logging.WARNING if settings.is_memory_by_default else logging.INFO
        in_sandbox = self._engine is not None and self._engine.only_handlers
        if self._told or in_sandbox or not logger.isEnabledFor(level):
            return
        self._told = True
        sources = settings.sources or "none were found"
        said = f"settings: {sources}; {self.describe()}, namespace {settings.namespace!r}"
        if settings.is_memory_by_default:
            said += (
                ". No driver is configured, so messages are kept in the memory of this process, and no other one sees "
                "them: say redis={...} for Redis, or driver='memory' if that is meant"
            )
        logger.log(level, "%s", said, extra={"action": "settings"})

    def check_health(self) -> dict[str, bool]:
        """Whether the broker and the store answer; never raises."""
        try:
            self._store.ping()
            store = True
        except StratixError:
            store = False
        return {"driver": bool(self._driver_loop.finish(self._driver.check_health())), "store": store}

    def close_all(self, timeout: float | timedelta | None = None) -> bool:
        """Close all queues: wait for active jobs up to ``timeout`` seconds over all, hand back the rest; whether all
        had ended. The queues can be used no more, until the application is closed and opened again."""
        patience = seconds(timeout, "close_all: 'timeout'")
        if self._loop.is_here:
            raise ConfigurationError(
                "close_all would hold up the loop that it waits for: in an `async def` hook or handler write "
                "'await app.queue.aio.close_all(...)'"
            )
        with self._lock:
            queues = dict(self._queues)
        parts = {
            f"queue {name!r}": partial(Queue.end if isinstance(queue, Queue) else self._close_own, queue, patience)
            for name, queue in queues.items()
        }
        workers = [queue._worker for queue in queues.values() if isinstance(queue, Queue) and queue._worker]
        log_stopping(workers, patience)
        still = partial(log_who_still_runs, workers)
        return all(ended is not False for ended in close_within(patience, parts, still=still))

    # -- within the package ---------------------------------------------------------------------

    def finish(self, value: Any, seconds: float | None = None) -> Any:
        """What a function of the user's has returned, awaited on the loop of the handlers if it is to be. Raises what
        it raises, and NotFinished, with it cancelled, after so many seconds."""
        return self._loop.finish(value, seconds)

    def known(self, name: str) -> Queue | None:
        """The queue of that name, if it was made or has options in the configuration."""
        with self._lock:
            if name not in self._queues and name not in self.settings.queues and not self.settings.limiter:
                return None
            return self.get_queue(name)

    @property
    def clock(self) -> Clock | None:
        """The clock of this process, if it runs one."""
        return self._clock

    @property
    def store(self) -> Store:
        return self._store

    @property
    def store_of_locks(self) -> Store:
        """The store, for what is to hold over all processes. Logs once that it does not where the driver makes queues
        of its own and no store is named."""
        if self._engine is None and not self._store.shared and not self._said_locks:
            self._said_locks = True
            logger.warning(
                "locks, and schedules with 'once', hold within this process: the driver %r has no store. Name one "
                "(store='redis://...') to have them over all processes",
                self._driver.get_name(),
                extra={"action": "local_locks"},
            )
        return self._store

    @property
    def engine(self) -> Engine:
        """Store and driver. Raises ConfigurationError for a driver that makes queues of its own."""
        if self._engine is None:
            raise ConfigurationError(f"the driver {self._driver.get_name()!r} makes queues of its own")
        return self._engine

    def start(self, only: Collection[str] | None = None) -> None:
        """Reach broker and store, start the clock and the queues. Raises StoreUnavailable, DriverUnavailable."""
        with self._lock:
            if self._started:
                return
            if self._engine is not None:
                self._engine.check_open("start the application")
            self._only = None if only is None else frozenset(only)
            if self._store.ready_check:
                self._store.ping()
            self._driver_loop.finish(self._driver.init())
            worker = self.settings.worker
            if self._engine is not None and (worker.clock or self._only == frozenset()):
                self._clock = Clock(
                    self._engine,
                    stalled_check_ms=worker.stalled_check_interval,
                    max_stalled=worker.max_stalled_count,
                    grace_ms=worker.redelivery_grace,
                )
                self._clock.start()
            self._started = True
            for queue in self._queues.values():
                self._start_queue(queue)

    def reopen(self) -> None:
        """After ``close``: the queues are there still, with their handlers and listeners."""
        with self._lock:
            self._closed = False
            self._user_events.reopen()
            for queue in self._queues.values():
                if isinstance(queue, Queue):
                    queue.reopen()

    def close(self, timeout: float | None) -> bool:
        """Close the queues, the clock, and the connections."""
        began = time.monotonic()
        ended = self.close_all(timeout)
        with self._lock:
            if self._closed:
                return ended
            self._closed, self._started = True, False
            clock, self._clock = self._clock, None
        left = None if timeout is None else max(timeout - (time.monotonic() - began), 0)
        close_within(left, {"the clock and the connections": partial(self._close_rest, clock)}, REST_S)
        return ended

    def _close_rest(self, clock: Clock | None) -> None:
        self._loop.stop()
        self._user_events.close()
        if clock is not None:
            clock.stop()
        self._driver_loop.finish(self._driver.close())
        self._driver_loop.stop()
        self._store.close()
        self._calls.close()

    def _create(self, name: str, options: Mapping[str, Any]) -> Queue:
        if self._closed:
            raise Closed("the application")
        # A driver that makes queues of its own has options of its own.
        parsed = self.settings.queue_options(name, options) if self._engine is not None else None
        options = options if parsed is not None else snake_everywhere(options)
        try:
            queue = self._driver_loop.finish(self._driver.create_queue(name, options))
        except Unavailable as error:
            if self._engine is None or self._started:
                raise
            queue = None
            self._engine.report(name, error, "create_queue_failed")
        if queue is None:
            if self._engine is None or self._heartbeat is None or self._watch is None or parsed is None:
                raise ConfigurationError(
                    f"the driver {self._driver.get_name()!r} made no queue: its create_queue must return one, "
                    "or it must be a TransportDriver"
                )
            queue = Queue(name, self._engine, parsed, self._heartbeat, self._watch, self._loop)
        elif not isinstance(queue, Queue):
            check_instance(queue, name, self._driver.get_name())
        self._queues[name] = queue
        if self._started:
            self._start_queue(queue)
        made: Queue = queue
        return made

    def _close_own(self, queue: Any, patience: float | None) -> Any:
        """Close one that the driver has made; what it says."""
        return self._driver_loop.finish(close_instance(queue, patience), patience)

    def _start_queue(self, queue: Any) -> None:
        if isinstance(queue, Queue) and (self._only is None or queue.name in self._only):
            queue.start()
