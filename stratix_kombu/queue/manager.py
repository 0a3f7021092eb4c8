"""``app.queue``: the queues of an application."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from stratix_kombu import forks
from stratix_kombu.config.settings import Settings
from stratix_kombu.drivers.contract import QueueDriver
from stratix_kombu.errors import Closed, ConfigurationError
from stratix_kombu.foreign import MANAGER
from stratix_kombu.hints import Hinted
from stratix_kombu.lifecycle.clock import Clock
from stratix_kombu.lifecycle.closing import close_within
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.arguments import plain_text, seconds
from stratix_kombu.model.given import snake_everywhere, together
from stratix_kombu.model.middleware import Middleware
from stratix_kombu.model.names import check_queue_name
from stratix_kombu.queue.flow import NO_BRIDGE, Flow, add_flow, get_flow
from stratix_kombu.queue.inspection import Inspection
from stratix_kombu.queue.job import Job
from stratix_kombu.queue.queue import Queue
from stratix_kombu.queue.servers import Servers
from stratix_kombu.queue.settings_line import SettingsLine, say_what_is_misspelt
from stratix_kombu.queue.user_events import UserEvents
from stratix_kombu.stores.contract import Store
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.heartbeat import Heartbeat
from stratix_kombu.worker.stopping import log_stopping, log_who_still_runs
from stratix_kombu.worker.watch import Watch

if TYPE_CHECKING:
    from stratix_kombu.aio import AsyncQueueManager
    from stratix_kombu.types import GraphNode, QueueOpts, TreeNode, Unpack

logger = logging.getLogger("stratix_kombu")
Function = TypeVar("Function", bound=Callable[..., object])

REST_S = 0.5
"""Extra time for closing the clock and the connections, once the queues are closed."""


class Canvas(Protocol):
    """What a bridge to Celery offers for flows."""

    def add(self, signature: Any) -> Flow: ...

    def export(self, flow: Flow) -> Any: ...

    @property
    def celery(self) -> Any:
        """The Celery application."""


class QueueManager(Inspection, forks.OfOneProcess, Hinted):
    """Creates queues, starts and closes them together.

    >>> app.queue.create_queue("emails", concurrency=10)  # doctest: +SKIP
    """

    _foreign = MANAGER

    def __init__(self, settings: Settings, driver: QueueDriver, store: Store) -> None:
        self.settings = settings
        self.canvas: Canvas | None = None
        """How flows become Celery canvas and back, if there is a bridge."""
        self._servers = Servers(driver, store, settings.timezone)
        engine = self._servers.transport
        for name in settings.queues if engine else ():
            settings.queue_options(name, {})  # refused here, whether this process uses the queue or not
        self._heartbeat = Heartbeat(engine, settings.worker.lease_duration) if engine else None
        self._watch = Watch(engine) if engine else None
        self._user_events = UserEvents(store.events)
        self._loop = LoopExecutor()
        self._clock: Clock | None = None
        self._queues: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._only: frozenset[str] | None = None
        """Queues whose jobs are taken here; None = all that have a handler."""
        self._started = False
        self._closed = False
        self._settings_line = SettingsLine()
        forks.register(self)

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        self._clock, self._started = None, False

    @property
    def aio(self) -> AsyncQueueManager:
        """The same methods for asyncio."""
        from stratix_kombu.aio import AsyncQueueManager

        return AsyncQueueManager(self, self._servers.calls)

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that closing waits for active jobs, by the settings."""
        return self.settings.shutdown_timeout

    def create_queue(self, name: str, opts: QueueOpts | None = None, **options: Unpack[QueueOpts]) -> Queue:
        """Create a queue with its options, by keyword or as a mapping. Raises ConfigurationError if it exists already.

        Options: ``concurrency`` (1; jobs run at a time in this process), ``default_job_options``,
        ``max_payload_bytes``, ``backoffs`` (functions a job's custom back-off may name), ``limiter``,
        ``global_concurrency``, ``group_concurrency``, ``processor`` (sandboxes), ``dead_letter``; see the guide's
        settings reference."""
        with self._lock:
            if check_queue_name(name) in self._queues:
                raise ConfigurationError(f"queue {name!r} exists already: get it with get_queue({name!r})")
            return self._create(name, together(opts, options, f"queue {name!r}"))

    def get_queue(self, name: str) -> Queue:
        """The queue of that name, created with the configured options if it is new."""
        with self._lock:
            return self._queues.get(check_queue_name(name)) or self._create(name, {})

    def get_all_queues(self) -> list[Queue]:
        """The queues of this application, in the order they were made."""
        with self._lock:
            return list(self._queues.values())

    # -- flows ----------------------------------------------------------------------------------

    def add_flow(self, flow: TreeNode | Sequence[GraphNode] | Iterator[GraphNode]) -> Flow:
        """Add a whole tree or graph of jobs, of one or several queues, all or none.

        A tree is ``{"name", "queue", "data", "opts", "children": [...]}``: a job runs when its children have
        completed, and reads their results. A graph is a list of ``{"key", "name", "queue", "data", "opts",
        "dependencies": [keys, jobs or ids]}``. Each list may be a generator, which is read to its end. Raises as
        ``Queue.add``, naming the node, and DependencyCycle.

        >>> app.queue.add_flow({"name": "sum", "queue": "etl", "children": [...]}).root  # doctest: +SKIP
        """
        if self._servers.transport is None:
            raise ConfigurationError(
                f"the driver {self._servers.driver_name!r} has queues of its own, which have no flows"
            )
        return add_flow(self._servers.transport, flow, self.get_queue, self._export)

    def get_flow(self, job: Job | str) -> Flow | None:
        """All jobs connected with this one by dependencies, with their states; None if there is no such job.

        Jobs that were removed are not in it. Raises ConfigurationError for a graph of more than 100,000 jobs.
        """
        job_id = job.id if isinstance(job, Job) else plain_text(job, "get_flow: 'job'")
        engine = self._servers.transport
        return get_flow(engine, job_id, self.get_queue, self._export) if engine is not None else None

    def add_canvas(self, signature: Any) -> Flow:
        """Add a Celery signature of any shape (chain, group, chord, nested) as a flow, all or none, in one step.

        Tasks that Celery publishes later are part of it as placeholders, blocked until then. Raises ConfigurationError
        without a bridge, and as publishing the signature would.

        >>> app.queue.add_canvas(chain(fetch.s(url), parse.s())).root.wait_until_finished()  # doctest: +SKIP
        """
        if self.canvas is None:
            raise ConfigurationError(NO_BRIDGE)
        return self.canvas.add(signature)

    # -- events of the user's own ---------------------------------------------------------------

    def emit(self, event: str, *data: Any) -> None:
        """Emit an event to all listeners of the namespace, in every process; ``data`` are JSON values. Later listeners
        do not receive it, and nothing waits for them: use a job for what must be done. Raises ConfigurationError for
        the name of a built-in event, PayloadNotSerializable, PayloadTooLarge for more than 4 KiB of JSON,
        StoreUnavailable.

        >>> app.queue.emit("user.registered", {"id": 123})  # doctest: +SKIP
        """
        self._user_events.emit(event, data)

    @overload
    def on(self, event: str, function: Function) -> Function: ...

    @overload
    def on(self, event: str, function: None = None) -> Callable[[Function], Function]: ...

    def on(self, event: str, function: Any = None) -> Any:
        """Call ``function(*data)`` for each such event, from any process, in the order they were emitted in; or as a
        decorator. It may be ``async def``. Raises ConfigurationError for the name of a built-in event.

        >>> app.queue.on("user.registered", lambda user: print(user["id"]))  # doctest: +SKIP
        """
        if function is None:
            return lambda decorated: self.on(event, decorated)
        self._user_events.on(event, function)
        return function

    @overload
    def once(self, event: str, function: Function) -> Function: ...

    @overload
    def once(self, event: str, function: None = None) -> Callable[[Function], Function]: ...

    def once(self, event: str, function: Any = None) -> Any:
        """As ``on``, for the first such event only."""
        if function is None:
            return lambda decorated: self.once(event, decorated)
        self._user_events.on(event, function, once=True)
        return function

    def off(self, event: str, function: Callable[..., object] | None = None) -> int:
        """Remove a listener, or all listeners of the event; return how many there were."""
        return self._user_events.off(event, function)

    # -- the application ------------------------------------------------------------------------

    def describe(self) -> str:
        """Driver and store, without credentials.

        >>> app.queue.describe()  # doctest: +SKIP
        'sqs (store redis://127.0.0.1:6379/0)'
        """
        return self._servers.describe()

    def check_health(self) -> dict[str, bool]:
        """Whether the broker and the store answer; never raises."""
        return self._servers.check_health()

    def close_all(self, timeout: float | timedelta | None = None) -> bool:
        """Close all queues: wait for active jobs, up to ``timeout`` seconds for all queues together, and hand back the
        rest. Returns whether all had finished. The queues cannot be used until the application is closed and opened
        again. Raises ConfigurationError in a handler, which it would wait for."""
        patience = seconds(timeout, "close_all: 'timeout'")
        self.check_may_close("close_all()", "await app.queue.aio.close_all(...)")
        with self._lock:
            queues = dict(self._queues)
        parts = {
            f"queue {name!r}": partial(
                Queue.end if isinstance(queue, Queue) else self._servers.close_queue, queue, patience
            )
            for name, queue in queues.items()
        }
        workers = [queue.local.worker for queue in queues.values() if isinstance(queue, Queue) and queue.local.worker]
        log_stopping(workers, patience)
        still = partial(log_who_still_runs, workers)
        return all(ended is not False for ended in close_within(patience, parts, still=still))

    # -- within the package ---------------------------------------------------------------------

    def check_may_close(self, call: str, on_the_loop: str) -> None:
        """Raise ConfigurationError where a call would wait for what makes it: a handler, or a hook on the loop of the
        `async def` handlers, which may write ``on_the_loop``."""
        for queue in self.get_all_queues():
            if isinstance(queue, Queue):
                queue.local.check_may_stop(call)
        if self._loop.is_here:
            raise ConfigurationError(
                f"{call} would block the loop that it waits for: in an `async def` hook write {on_the_loop!r}"
            )

    def tell_settings(self) -> None:
        """Log, once, which settings, driver, store and namespace are used."""
        engine = self._servers.transport
        if engine is None or not engine.only_handlers:
            self._settings_line.log(self.settings, self.describe())

    @property
    def shared(self) -> bool:
        """Whether other processes see the same jobs. Raises as ``engine``."""
        return self.engine.store.shared and self.engine.driver.capabilities.shared

    @property
    def loop(self) -> LoopExecutor:
        """Where the ``async def`` handlers of this process run."""
        return self._loop

    def finish(self, value: Any, seconds: float | None = None) -> Any:
        """The return value of a user's function; an awaitable is awaited on the handlers' loop. Raises what it raises;
        after the given number of seconds it is cancelled, and NotFinished is raised."""
        return self._loop.finish(value, seconds)

    def surround(self, middleware: Middleware) -> None:
        """Execute its steps within this middleware."""
        if self._servers.transport is not None:
            self._servers.transport.middleware = middleware

    def known(self, name: str) -> Queue | None:
        """The queue of that name, if it was created or has options in the configuration."""
        with self._lock:
            if name not in self._queues and name not in self.settings.queues and not self.settings.limiter:
                return None
            return self.get_queue(name)

    def hurry(self) -> None:
        """Have closing, now or later, hand back at once the jobs that are active here."""
        for queue in list(self._queues.values()):
            if isinstance(queue, Queue):
                queue.local.hurry()

    def name_worker(self, name: str) -> None:
        """Call the worker of this process so; no other one may have the name."""
        if self._heartbeat is not None:
            self._heartbeat.id = name

    @property
    def clock(self) -> Clock | None:
        """The clock of this process, if it runs one."""
        return self._clock

    @property
    def store(self) -> Store:
        return self._servers.store

    @property
    def store_of_locks(self) -> Store:
        """The store, for what must apply to all processes."""
        return self._servers.store_of_locks

    @property
    def engine(self) -> Engine:
        """Store and driver. Raises ConfigurationError for a driver that has queues of its own."""
        return self._servers.engine

    @property
    def _export(self) -> Callable[[Flow], Any] | None:
        return None if self.canvas is None else self.canvas.export

    def start(self, only: Collection[str] | None = None) -> None:
        """Reach broker and store, start the clock and the queues. Raises StoreUnavailable, DriverUnavailable."""
        with self._lock:
            if self._started:
                return
            engine, worker = self._servers.transport, self.settings.worker
            if engine is not None:
                engine.check_open("start the application")
            self._only = None if only is None else frozenset(only)
            self.reach()
            if engine is not None and (worker.clock or self._only == frozenset()):
                self._clock = Clock.of(engine, worker)
                self._clock.start()
            self._started = True
            say_what_is_misspelt(self.settings, self._queues)
            for queue in self._queues.values():
                self._start_queue(queue)

    def reach(self) -> None:
        """Reach broker and store. Raises StoreUnavailable, DriverUnavailable."""
        self._servers.start()

    def reopen(self) -> None:
        """After ``close``: the queues still exist, with their handlers and listeners."""
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
        self._servers.close()

    def _create(self, name: str, options: Mapping[str, Any]) -> Queue:
        if self._closed:
            raise Closed("the application")
        engine, heartbeat, watch = self._servers.transport, self._heartbeat, self._watch
        if engine is None or heartbeat is None or watch is None:  # such a driver has options of its own
            queue = self._servers.make_queue(name, snake_everywhere(options), self._started)
        else:
            parsed = self.settings.queue_options(name, options)
            queue = self._servers.make_queue(name, options, self._started)
            if queue is None:
                queue = Queue(name, engine, parsed, heartbeat, watch, self._loop)
        self._queues[name] = queue
        if self._started:
            self._start_queue(queue)
        made: Queue = queue
        return made

    def _start_queue(self, queue: Any) -> None:
        if isinstance(queue, Queue) and (self._only is None or queue.name in self._only):
            queue.start()
