"""An application: plugins, hooks, roles, and closing.

The roles are plain: ``start``, ``run`` and ``stratix-kombu worker`` run jobs. Nothing else does: neither creating an
application, registering handlers or adding jobs, nor ``with app:``, which only closes the application at the end."""

from __future__ import annotations

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stratix_kombu import forks
from stratix_kombu.calls import Awaited, in_thread, is_caller
from stratix_kombu.closing import Closing, Life
from stratix_kombu.config.options import Duration, together
from stratix_kombu.errors import Closed, ConfigurationError, nearest
from stratix_kombu.foreign import APPLICATION, HOOKS as OTHER_HOOKS
from stratix_kombu.health import Health, check_health
from stratix_kombu.hints import Hinted
from stratix_kombu.hooks import run_hooks
from stratix_kombu.lock import DistributedLock
from stratix_kombu.model.arguments import seconds
from stratix_kombu.model.awaiting import finished, is_async
from stratix_kombu.model.functions import check_takes
from stratix_kombu.model.middleware import Middleware, Steps, as_context
from stratix_kombu.model.names import snake
from stratix_kombu.model.text import kind_of
from stratix_kombu.plugins import Plugin, Source, queue_plugin, schedule_plugin
from stratix_kombu.queue.manager import QueueManager
from stratix_kombu.registry import Handlers, include
from stratix_kombu.schedule import Scheduler
from stratix_kombu.signals import stop_signals
from stratix_kombu.worker.handlers import say_what_is_idle
from stratix_kombu.worker.sandbox.source import source_of
from stratix_kombu.worker.stopping import log_signal

if TYPE_CHECKING:
    from stratix_kombu.metrics import MetricsServer
    from stratix_kombu.types import AppSettings, HealthScope, HookName, StepName

logger = logging.getLogger("stratix_kombu")

HOOKS = ("before_start", "after_start", "before_close", "after_close")
Hook = TypeVar("Hook", bound=Callable[[], object])
Around = TypeVar("Around", bound=Callable[[Any], object])


def create_app(source: str | Path | AppSettings | None = None) -> Application:
    """A new application; ``source`` is a TOML file or a mapping of settings.

    The environment ``STRATIX_*`` takes precedence over a file, and a mapping over the environment. Type checkers know
    the keys of the mapping; options of a driver of your own belong in ``app.register``.

    >>> with create_app({"driver": "memory"}) as app:  # doctest: +SKIP
    ...     app.queue.get_queue("emails").add("welcome")
    """
    return Application(source)


class Application(forks.OfOneProcess, Hinted):
    """The plugins of one program.

    As a context manager (``with`` and ``async with``) it is open within the block, and closed at its end: jobs can be
    added, read and waited for. Jobs are run only after ``start`` or ``run``. A closed application can be opened and
    started again."""

    _foreign = APPLICATION

    def __init__(self, source: Source = None, plugin: Plugin = queue_plugin) -> None:
        self._source = source
        self._plugin = plugin
        self._queue: QueueManager | None = None
        self._schedule: Scheduler | None = None
        self._distributed_lock: DistributedLock | None = None
        self._hooks: dict[str, list[Callable[[], object]]] = defaultdict(list)
        self._middleware = Middleware()
        self._lock = threading.RLock()
        self._starting = threading.RLock()
        """Held while it starts, hooks included; hooks may use, from any thread, what the other lock protects."""
        self._starter: threading.Thread | None = None
        """The thread that is starting it."""
        self._registered = False
        """Whether ``register`` made the queues."""
        self._life = Life.OPEN
        self._closing = Closing(0.0)
        """The last time it was closed."""
        self._metrics: MetricsServer | None = None
        forks.register(self)

    def after_fork(self) -> None:
        """In a forked child, the application counts as not started."""
        self._lock, self._starting = threading.RLock(), threading.RLock()
        self._metrics, self._starter = None, None
        self._life = Life.OPEN if self._life in (Life.OPEN, Life.STARTED) else Life.CLOSED

    @property
    def queue(self) -> QueueManager:
        """The queues. Registers the queue plugin with the settings of ``create_app`` if that was not done."""
        if self._queue is not None:
            return self._queue
        with self._lock:
            if self._queue is None:
                self._queue = self._make_queue({})
            return self._queue

    @property
    def schedule(self) -> Scheduler:
        """Functions that this process runs on a schedule."""
        with self._lock:
            if self._schedule is None:
                self._schedule = Scheduler(lambda: self.queue.store_of_locks, lambda: self.queue.settings.timezone)
                if self._life is Life.STARTED:
                    self._schedule.start()
            return self._schedule

    @property
    def distributed_lock(self) -> DistributedLock:
        """Locks between all processes that use the store."""
        with self._lock:
            if self._distributed_lock is None:
                self._distributed_lock = DistributedLock(self.queue.store_of_locks)
            return self._distributed_lock

    def register(self, plugin: Callable[..., Any], options: Mapping[str, Any] | None = None, **named: Any) -> None:
        """Add a plugin with its options, by keyword or as a mapping. Raises ConfigurationError.

        >>> app.register(queue_plugin, driver="redis", redis={"host": "localhost"})  # doctest: +SKIP
        """
        with self._lock:
            if plugin is schedule_plugin:
                schedule_plugin(self, together(options, named, "register"))
                return
            if plugin is not self._plugin:
                # Never as it is: it may be settings, with a password.
                given = kind_of(plugin) if isinstance(plugin, (Mapping, str)) else repr(plugin)
                write = "; write app.register(queue_plugin, {...})" if isinstance(plugin, Mapping) else ""
                raise ConfigurationError(
                    f"{given} is not a plugin; known plugins: queue_plugin, schedule_plugin{write}"
                )
            if self._queue is not None:
                raise ConfigurationError(
                    "queue_plugin is already registered: pass all of its options in one call, and "
                    "options of one queue to app.queue.create_queue"
                    if self._registered
                    else "app.queue was used before queue_plugin was registered, with the settings of create_app: "
                    "register it first"
                )
            self._queue = self._make_queue(together(options, named, "register"))
            self._registered = True

    def _make_queue(self, options: Mapping[str, Any]) -> QueueManager:
        queue = self._plugin(self._source, options)
        queue.surround(self._middleware)
        queue.tell_settings()
        return queue

    @overload
    def hook(self, name: HookName, function: Hook) -> Hook: ...

    @overload
    def hook(self, name: HookName, function: None = None) -> Callable[[Hook], Hook]: ...

    def hook(self, name: HookName, function: Any = None) -> Any:
        """Call ``function`` ``before_start``, ``after_start``, ``before_close`` or ``after_close``; or as a decorator.

        It may be ``async def``: then it is awaited on the loop of the ``async def`` handlers (``after_close``: on a
        loop of its own), and must await what would block, as in ``await queue.aio.pause()``. While closing, all hooks
        of one name share the time that ``close`` gives active jobs, and are cancelled afterwards (WaitTimeout). An
        exception in a hook aborts ``start``; while closing, it is raised after everything else has been closed.

        >>> app.hook("before_close", lambda: print("closing"))  # doctest: +SKIP
        """
        key = snake(name)
        if key not in HOOKS:
            raise ConfigurationError(f"unknown hook {name!r}{nearest(key, HOOKS, OTHER_HOOKS)}")
        if function is None:
            return lambda decorated: self.hook(name, decorated)
        if not callable(function):
            raise ConfigurationError(f"hook {name!r}: must be a function without arguments, not {function!r}")
        check_takes(function, (), f"hook {name!r}")
        self._hooks[key].append(function)
        return function

    @overload
    def middleware(self, step: StepName, function: Callable[[Any], object]) -> Callable[[Any], object]: ...

    @overload
    def middleware(self, step: StepName, function: None = None) -> Callable[[Around], Around]: ...

    def middleware(self, step: StepName, function: Any = None) -> Any:
        """Put ``function`` around each ``add``, ``take`` or ``run`` of this process; or as a decorator.

        It returns a context manager around the step, or is a generator (``async`` or not) that yields once, at the
        point where the step is executed. Its argument is a list of JobHead for ``add``, a Taking for ``take``, and the
        Job for ``run``, which surrounds the attempt in the worker's process. ``sandbox`` is around the handler in a
        child, which imports the function: it must be at the top level of a module. Functions of one step are entered in
        the order in which they were registered, and left in reverse.

        An exception around ``run`` fails the attempt, as if the handler had raised it. Around ``add`` it is raised to
        the caller if nothing was added yet; after that, and around ``take``, it is reported by the event ``error``, and
        the step is carried out. Raises ConfigurationError for anything that is not such a function.

        >>> app.middleware("run", lambda job: flask_app.app_context())  # doctest: +SKIP
        """
        if step not in Steps:
            raise ConfigurationError(f"unknown step {step!r}{nearest(str(step), Steps)}")
        if function is None:
            return lambda decorated: self.middleware(step, decorated)
        what = f"middleware around {step!r}"
        if not callable(function) or is_async(function):
            raise ConfigurationError(f"{what}: must return a context manager, or yield once, not {function!r}")
        check_takes(function, ("what it is around",), what)
        self._middleware.register(step, source_of(function) if step == "sandbox" else as_context(function))
        return function

    def include(self, *handlers: Handlers) -> None:
        """Take what was declared in a ``Handlers``, and what is later. Raises ConfigurationError for anything else.

        >>> app.include(mail.handlers, shop.handlers)  # doctest: +SKIP
        """
        for handler in handlers:
            include(self, handler)

    def start(self, queues: Collection[str] | None = None) -> None:
        """Start running jobs; does not block. A closed application is opened again. Raises StoreUnavailable,
        DriverUnavailable, ConfigurationError, and Closed while it is being closed.

        ``queues`` are the names of the queues whose jobs are run; by default all that have a handler. If it is empty,
        only the clock (and ``app.schedule``) runs, whatever the ``worker`` option ``clock`` says.

        >>> app.start(queues=["emails"])  # doctest: +SKIP
        """
        with self._starting:
            if self._life is Life.STARTED or self._starter is not None:
                return
            self._open()
            self._starter = threading.current_thread()
            try:
                with Awaited():
                    self.queue.tell_settings()
                    self._run_hooks("before_start")
                    self.serve_metrics()
                    self.queue.start(queues)
            finally:
                self._starter = None
            self._life = Life.STARTED
            if self._schedule is not None:
                self._schedule.start()
        self._run_hooks("after_start")

    async def astart(self, queues: Collection[str] | None = None) -> None:
        """``start``, in a thread: the event loop is not blocked.

        >>> async with app:  # doctest: +SKIP
        ...     await app.astart()
        """
        await in_thread(self.start, queues)

    def close(self, timeout: float | timedelta | None = None) -> bool:
        """Close: call the hooks, take no more jobs, wait for active ones, hand back the rest, close connections.

        ``timeout`` is in seconds or a timedelta, by default the setting ``shutdown_timeout`` (30 s). Returns whether
        all active jobs had finished. All is closed whatever fails; the first problem is raised at the end. A second
        call waits for the first, and returns the same. Until the application is opened again (``with app:``,
        ``start``), calls on it raise Closed. Raises ConfigurationError, and closes nothing, in a handler, which it
        would wait for, and while the application is being started here."""
        limit = seconds(timeout, "close: 'timeout'")
        if self._queue is not None:
            self._queue.check_may_close("app.close()", "await app.aclose()")
            limit = self._queue.shutdown_timeout if limit is None else limit
        if self._starter is not None and is_caller(self._starter):
            raise ConfigurationError("app.close() was called by what app.start() calls: raise an exception there")
        with self._starting:
            first = self._life not in (Life.CLOSING, Life.CLOSED)
            if first:
                self._closing = Closing(30.0 if limit is None else limit)
                self._life = Life.CLOSING
            closing = self._closing
        return self._close(closing) if first else closing.answer(closing.limit if limit is None else limit)

    async def aclose(self, timeout: float | timedelta | None = None) -> bool:
        """``close``, in a thread: the event loop is not blocked."""
        return await in_thread(self.close, timeout)

    def _close(self, closing: Closing) -> bool:
        try:
            closing.hooks(partial(self._run_hooks, "before_close", True))
            if self._schedule is not None:
                closing.part(self._schedule.close)
            if self._queue is not None:
                closing.part(self._queue.close)
            if self._metrics is not None:
                metrics, self._metrics = self._metrics, None
                closing.part(lambda _: metrics.stop())
            closing.hooks(partial(self._run_hooks, "after_close", True))
        finally:
            self._life = Life.CLOSED
            closing.finish()
        closing.raise_problem()
        return closing.ended

    def _open(self) -> None:
        """Open it again if it was closed. Raises Closed while it is being closed."""
        with self._lock:
            if self._life is Life.CLOSING:
                raise Closed("the application")
            if self._life is Life.CLOSED:
                if self._schedule is not None:
                    self._schedule.reopen()
                if self._queue is not None:
                    self._queue.reopen()
                self._life = Life.OPEN
            if self._queue is not None:
                self._queue.tell_settings()

    def check_health(self, within: Duration = 30_000, workers: HealthScope = "process") -> Health:
        """Report whether broker and store answer, workers take messages, and a clock promotes delayed jobs. Problems
        are returned, not raised. A worker or clock that was last active longer ago than ``within`` (milliseconds or a
        timedelta) is not healthy.

        A worker is active each time it has asked the broker and processed what came. ``workers`` selects which are
        checked: those of this ``"process"`` (it may have none), of this ``"host"``, or ``"all"``; for the latter two
        there must be at least one. Celery workers report too, except on gevent and eventlet. Raises ConfigurationError.

        >>> app.check_health(within=timedelta(seconds=30)).ok  # doctest: +SKIP
        """
        return check_health(self.queue, within, workers)

    def run(self, queues: Collection[str] | None = None) -> None:
        """Start, as ``start`` does, block until SIGTERM or SIGINT, then close. A second signal ends the process at
        once, with exit code 128 + signal; within half a second of the first it counts as the same one. Outside the main
        thread, ``run`` blocks until ``close`` is called elsewhere."""
        with stop_signals(again=lambda number: os._exit(128 + number)) as signals:
            ended = threading.Event()
            told = (ended.set, signals.wake)
            self._hooks["after_close"] += told
            try:
                self.start(queues)
                if queues is None and (self._schedule is None or not self._schedule.list()):
                    say_what_is_idle(self.queue.get_all_queues())
                while not signals.number and not ended.is_set():
                    signals.wait()
                if signals.number:
                    log_signal(signals.number)
            finally:
                self.close()
                for hook in told:
                    self._hooks["after_close"].remove(hook)

    def __enter__(self) -> Application:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Application:
        await in_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await in_thread(self.close)

    def serve_metrics(self) -> MetricsServer | None:
        """Serve the metrics where the setting ``metrics`` says, until the application is closed; ``start`` does it."""
        endpoint = self.queue.settings.metrics
        if endpoint is not None and self._metrics is None:
            from stratix_kombu.metrics.prometheus import serve_where_free

            self._metrics = serve_where_free(self, endpoint.port, endpoint.host)
        return self._metrics

    def _run_hooks(self, name: str, collect: bool = False, seconds: float | None = None) -> list[Exception]:
        # After everything is closed there is no loop of the queues any more.
        finish = finished if self._queue is None or name == "after_close" else self._queue.finish
        return run_hooks(name, self._hooks[name], finish, collect, seconds)
