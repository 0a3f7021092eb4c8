"""An application: plugins, hooks, roles, and a clean end.

The roles are plain: ``start``, ``run`` and ``stratix-kombu worker`` take jobs. Nothing else does: not making an
application, not registering handlers, not adding, and not ``with app:``, which only closes the application at the end.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stratix_kombu import forks
from stratix_kombu.calls import in_thread
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
from stratix_kombu.schedule import Scheduler
from stratix_kombu.signals import StopSignals
from stratix_kombu.worker.sandbox.source import source_of

if TYPE_CHECKING:
    from stratix_kombu.metrics import MetricsServer
    from stratix_kombu.types import AppSettings, HealthScope, HookName, StepName

logger = logging.getLogger("stratix_kombu")

HOOKS = ("before_start", "after_start", "before_close", "after_close")
Hook = TypeVar("Hook", bound=Callable[[], object])
Around = TypeVar("Around", bound=Callable[[Any], object])


def create_app(source: str | Path | AppSettings | None = None) -> Application:
    """A new application; ``source`` is a TOML file or a mapping of settings.

    The environment ``STRATIX_*`` wins over a file, and a mapping over the environment. Type checkers know the keys of
    the mapping; one that they cannot know, with options of a driver of your own, is for ``app.register``.

    >>> with create_app({"driver": "memory"}) as app:  # doctest: +SKIP
    ...     app.queue.get_queue("emails").add("welcome")
    """
    return Application(source)


class _Life(Enum):
    """In which part of its life an application is."""

    OPEN = "open"
    """It adds, reads and waits."""
    STARTED = "started"
    """It takes jobs, too."""
    CLOSING = "closing"
    CLOSED = "closed"
    """It can be opened and started again."""


class Application(forks.OfOneProcess, Hinted):
    """Carries the plugins of one program.

    As a context manager (``with`` and ``async with``) it is open within the block, and closed at its end: jobs can be
    added, read and waited for. Jobs are taken only where ``start`` or ``run`` is called. One that was closed can be
    opened and started again.
    """

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
        """Held while it starts, hooks included; they may use what the other lock makes, from whatever thread."""
        self._registered = False
        """Whether ``register`` made the queues."""
        self._life = _Life.OPEN
        self._metrics: MetricsServer | None = None
        forks.register(self)

    def after_fork(self) -> None:
        """In the child it is an application that has not been started."""
        self._lock, self._starting = threading.RLock(), threading.RLock()
        self._metrics = None
        if self._life is not _Life.OPEN:
            self._life = _Life.OPEN if self._life is _Life.STARTED else _Life.CLOSED

    @property
    def queue(self) -> QueueManager:
        """The queues. Registers the queue plugin with the settings of ``create_app`` if that was not done."""
        with self._lock:
            if self._queue is None:
                self._queue = self._make_queue({})
            return self._queue

    @property
    def schedule(self) -> Scheduler:
        """Functions of this process that run by the clock."""
        with self._lock:
            if self._schedule is None:
                self._schedule = Scheduler(lambda: self.queue.store_of_locks, lambda: self.queue.settings.timezone)
                if self._life is _Life.STARTED:
                    self._schedule.start()
            return self._schedule

    @property
    def distributed_lock(self) -> DistributedLock:
        """Locks over all processes on the store."""
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
                raise ConfigurationError(f"{given} is no plugin; known: queue_plugin, schedule_plugin{write}")
            if self._queue is not None:
                raise ConfigurationError(
                    "queue_plugin is registered already: give all its options in one call, and what concerns one queue "
                    "to app.queue.create_queue"
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

        It may be ``async def``: it is awaited on the loop of the ``async def`` handlers (``after_close``: on one of its
        own), where what would wait is to be awaited too, as in ``await queue.aio.pause()``. While closing, those of one
        name have together the time that ``close`` gives the active jobs, and are cancelled then: WaitTimeout.
        An exception in a hook ends ``start``; while closing, it is raised when everything else is closed.

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

        It gives a context manager, within which the step is done; or it is a generator (``async`` or not) that yields
        once, where the step is to be done. ``add`` gives it a list of JobHead, ``take`` a Taking, ``run`` the Job: it
        surrounds the attempt in the worker's process. ``sandbox`` is around the handler in a child, which imports the
        function: so it is at the top level of a module. Those of one step are entered in the order in which they were
        registered, and left in reverse.

        What one raises around ``run`` fails the attempt, as if the handler had raised it. Around ``add`` it is raised
        if nothing was added yet; what it raises after that, and around ``take``, is told by the event ``error``, and
        the step is done. Raises ConfigurationError for what is no such function.

        >>> app.middleware("run", lambda job: flask_app.app_context())  # doctest: +SKIP
        """
        if step not in Steps:
            raise ConfigurationError(f"unknown step {step!r}{nearest(str(step), Steps)}")
        if function is None:
            return lambda decorated: self.middleware(step, decorated)
        what = f"middleware around {step!r}"
        if not callable(function) or is_async(function):
            raise ConfigurationError(f"{what}: must give a context manager, or yield once; not {function!r}")
        check_takes(function, ("what it is around",), what)
        self._middleware.register(step, source_of(function) if step == "sandbox" else as_context(function))
        return function

    def start(self, queues: Collection[str] | None = None) -> None:
        """Begin to take jobs; does not block. One that was closed is opened again. Raises StoreUnavailable,
        DriverUnavailable, ConfigurationError, and Closed while it is being closed.

        ``queues`` are the names of those to take from: by default all that have a handler. With none, only the clock
        runs (and ``app.schedule``), whatever the setting ``clock`` of ``worker`` says.

        >>> app.start(queues=["emails"])  # doctest: +SKIP
        """
        with self._starting:
            if self._life is _Life.STARTED:
                return
            self._open()
            self.queue.tell_settings()
            self._run_hooks("before_start")
            self.serve_metrics()
            self.queue.start(queues)
            self._life = _Life.STARTED
            if self._schedule is not None:
                self._schedule.start()
        self._run_hooks("after_start")

    async def astart(self, queues: Collection[str] | None = None) -> None:
        """``start``, in a thread: the event loop goes on meanwhile.

        >>> async with app:  # doctest: +SKIP
        ...     await app.astart()
        """
        await in_thread(self.start, queues)

    def close(self, timeout: float | timedelta | None = None) -> bool:
        """End: hooks, take no more, wait for active jobs, hand back the rest, close connections.

        ``timeout`` is in seconds or a timedelta, by default the setting ``shutdown_timeout`` (30 s). Whether all
        active jobs had ended. A second call does nothing. Until it is opened again (``with app:``, ``start``), what is
        asked of the application raises Closed.
        """
        patience = seconds(timeout, "close: 'timeout'")
        with self._starting:
            if self._life in (_Life.CLOSING, _Life.CLOSED):
                return True
            self._life = _Life.CLOSING
        try:
            return self._close(patience)
        finally:
            self._life = _Life.CLOSED

    async def aclose(self, timeout: float | timedelta | None = None) -> bool:
        """``close``, in a thread: the event loop goes on meanwhile."""
        return await in_thread(self.close, timeout)

    def _close(self, patience: float | None) -> bool:
        limit = self._queue.shutdown_timeout if self._queue is not None and patience is None else patience
        problems = self._run_hooks("before_close", collect=True, seconds=limit)
        ended = True
        if self._schedule is not None:
            ended = self._schedule.close(30.0 if patience is None else patience)
        if self._queue is not None:
            ended = self._queue.close(self._queue.shutdown_timeout if patience is None else patience) and ended
        if self._metrics is not None:
            self._metrics.stop()
            self._metrics = None
        problems += self._run_hooks("after_close", collect=True, seconds=limit)
        if problems:
            raise problems[0]
        return ended

    def _open(self) -> None:
        """Open it again, if it was closed. Raises Closed while it is being closed."""
        with self._lock:
            if self._life is _Life.CLOSING:
                raise Closed("the application")
            if self._life is _Life.CLOSED:
                if self._schedule is not None:
                    self._schedule.reopen()
                if self._queue is not None:
                    self._queue.reopen()
                self._life = _Life.OPEN
            if self._queue is not None:
                self._queue.tell_settings()

    def check_health(self, within: Duration = 30_000, workers: HealthScope = "process") -> Health:
        """Whether broker and store answer, workers take messages, and a clock promotes what is due; it does not raise
        for what it finds. What is longer ago than ``within`` (milliseconds or a timedelta) is not healthy.

        A worker proves that it takes messages each time it has asked the broker and dealt with what came. ``workers``
        says which are looked at: those of this ``"process"`` (it may have none), of this ``"host"``, or ``"all"`` that
        are present; of the latter two there must be one. Workers of Celery do not tell. Raises ConfigurationError.

        >>> app.check_health(within=timedelta(seconds=30)).ok  # doctest: +SKIP
        """
        return check_health(self.queue, within, workers)

    def run(self, queues: Collection[str] | None = None) -> None:
        """Start, as ``start`` does, and block until SIGTERM or SIGINT; then close. A second signal ends the process at
        once, with the exit code 128 + signal; within half a second of the first it counts as the same one. Outside the
        main thread it blocks until ``close`` is called elsewhere."""
        with StopSignals(again=lambda number: os._exit(128 + number)) as signals:
            ended = threading.Event()
            told = (ended.set, signals.wake)
            self._hooks["after_close"] += told
            try:
                self.start(queues)
                self._say_what_is_idle(queues)
                while not signals.number and not ended.is_set():
                    signals.wait()
                if signals.number:
                    logger.info(
                        "%s: no further job begins here; a second signal ends the process at once, and its jobs wait "
                        "for the end of their leases",
                        signal.Signals(signals.number).name,
                        extra={"action": "signal_received"},
                    )
            finally:
                self.close()
                for one in told:
                    self._hooks["after_close"].remove(one)

    def _say_what_is_idle(self, queues: Collection[str] | None) -> None:
        """A program that only waits, though it was to work, has most likely not imported its handlers."""
        handled = any(getattr(one, "handler_names", True) for one in self.queue.get_all_queues())
        if queues is None and not handled and (self._schedule is None or not self._schedule.list()):
            logger.warning(
                "no queue has a handler, so this process takes no jobs and runs the clock alone: import the modules "
                "that call queue.process() before app.run()",
                extra={"action": "no_handlers"},
            )

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
            from stratix_kombu.metrics import serve

            try:
                self._metrics = serve(self, endpoint.port, endpoint.host)
            except ConfigurationError as taken:
                # Most likely by another worker of this host, and each of them tells the same.
                logger.warning("%s", taken, extra={"action": "metrics_not_served"})
        return self._metrics

    def _run_hooks(self, name: str, collect: bool = False, seconds: float | None = None) -> list[Exception]:
        # After everything is closed there is no loop of the queues any more.
        finish = finished if self._queue is None or name == "after_close" else self._queue.finish
        return run_hooks(name, self._hooks[name], finish, collect, seconds)
