"""Listeners of a log: functions called for its entries, in order, each on a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from queue import Full, Queue
from typing import Any

from stratix_kombu import forks
from stratix_kombu.errors import Closed, ConfigurationError, Unavailable
from stratix_kombu.model.event import Event
from stratix_kombu.stores.contract import EventLog

logger = logging.getLogger("stratix_kombu.events")

READ_WAIT_MS = 250
LISTENER_BACKLOG = 10_000
MAX_PAUSE_S = 5.0

Function = Callable[..., object]


class Listeners(ABC):
    """The listeners of one log, and the thread that reads it for them, started when there is the first."""

    unlogged: frozenset[str] = frozenset()
    """Events that are told without the log, and can be listened to while it cannot be read."""

    def __init__(self, log: EventLog, queue: str, where: str) -> None:
        self._log = log
        self._queue = queue
        self._where = where
        """What the log is called in messages."""
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._reader: threading.Thread | None = None
        self._closed = threading.Event()
        forks.register(self)

    def after_fork(self) -> None:
        """Listeners of the log are the parent's, or each event would be told in every process that was forked; those
        of what this process reports itself are the child's too."""
        closed, self._closed = self._closed.is_set(), threading.Event()
        if closed:
            self._closed.set()
        self._lock, self._reader = threading.Lock(), None
        own = [one for one in self._listeners if one.name in self.unlogged]
        self._listeners = [Listener(self, one.name, one.function, one.once) for one in own]

    # -- what a log may say differently ---------------------------------------------------------

    @abstractmethod
    def event_name(self, given: str) -> str:
        """The name of an event as it is written in the log. Raises ConfigurationError."""

    @abstractmethod
    def _tell(self, events: list[Event]) -> None:
        """Pass on what was read."""

    def _idle(self) -> None:  # noqa: B027  # most logs have nothing else to do
        """Called between two readings."""

    # -- listening ------------------------------------------------------------------------------

    def on(self, name: str, function: Function, once: bool = False) -> None:
        """Call ``function`` for each event of that name from now on. Raises ConfigurationError, Closed."""
        name = self.event_name(name)
        if not callable(function):
            raise ConfigurationError(f"{self._where}: a listener must be a function, not {function!r}")
        self._open()
        if name not in self.unlogged:
            self._ensure_reader()
        with self._lock:
            self._open()
            self._listeners.append(Listener(self, name, function, once))

    def off(self, name: str, function: Function | None = None) -> int:
        """Remove listeners; how many there were."""
        name = self.event_name(name)
        with self._lock:
            gone = [one for one in self._listeners if one.name == name and function in (None, one.function)]
            self._listeners = [one for one in self._listeners if one not in gone]
        for listener in gone:
            listener.stop()
        return len(gone)

    def forget(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def close(self) -> None:
        """End listeners after what they have been given."""
        with self._lock:
            self._closed.set()
            listeners, reader = list(self._listeners), self._reader
        if reader is not None and reader is not threading.current_thread():
            reader.join()
        for listener in listeners:
            listener.stop()

    def _open(self) -> None:
        if self._closed.is_set():
            raise Closed(self._where)

    def _pass_on(self, name: str, arguments: tuple[Any, ...]) -> None:
        """To the listeners of that name."""
        with self._lock:
            listeners = [one for one in self._listeners if one.name == name]
        for listener in listeners:
            listener.put(arguments)

    def _skip(self, event: Event, problem: Exception) -> None:
        """An entry that cannot be told of; those that come after it can."""
        logger.warning(
            "an event %r of %s was skipped: %s", event.name, self._where, problem, extra={"action": "event_skipped"}
        )

    # -- reading --------------------------------------------------------------------------------

    def _ensure_reader(self) -> None:
        with self._lock:
            if self._reader is not None:
                return
            cursor = self._log.tail(self._queue)
            reader = threading.Thread(
                target=self._read, args=(cursor,), name=f"stratix-{self._queue}-events", daemon=True
            )
            reader.start()
            self._reader = reader

    def _read(self, cursor: str) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                events = self._log.read(self._queue, cursor, wait_ms=READ_WAIT_MS)
                if events:
                    cursor = events[-1].cursor
                    self._tell(events)
                self._idle()
                failures = 0
            except Unavailable as error:
                failures += 1
                logger.warning("events of %s cannot be read: %s", self._where, error, extra={"action": "events_failed"})
                self._closed.wait(min(0.1 * 2 ** min(failures, 10), MAX_PAUSE_S))
            except Exception:
                # An entry or a record that cannot be read: the next ones can.
                failures += 1
                logger.exception("events of %s cannot be told", self._where, extra={"action": "events_failed"})
                self._closed.wait(min(0.1 * 2 ** min(failures, 10), MAX_PAUSE_S))


class Listener:
    """A function with a bounded queue and a thread of its own, so that it can hold up nobody else; the thread starts
    with the first event."""

    def __init__(self, hub: Listeners, name: str, function: Function, once: bool) -> None:
        self.name = name
        self.function = function
        self.once = once
        self._hub = hub
        self._queue: Queue[tuple[Any, ...] | None] = Queue(LISTENER_BACKLOG)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def put(self, arguments: tuple[Any, ...]) -> None:
        try:
            self._queue.put_nowait(arguments)
        except Full:
            logger.warning(
                "a listener of %r is too slow: an event was skipped", self.name, extra={"action": "listener_skipped"}
            )
        if self._thread is None:
            try:
                self._start()
            except RuntimeError as problem:  # the event is kept: the next one tries again
                logger.warning(
                    "a listener of %r has to wait: %s", self.name, problem, extra={"action": "listener_waits"}
                )

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"stratix-on-{self.name}", daemon=True)
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        self._put_stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5)

    def _put_stop(self) -> None:
        try:
            self._queue.put_nowait(None)
        except Full:
            self._queue.get_nowait()
            self._queue.put(None)

    def _run(self) -> None:
        while (arguments := self._queue.get()) is not None:
            try:
                outcome = self.function(*arguments)
                if inspect.iscoroutine(outcome):
                    asyncio.run(outcome)
            except Closed as late:  # while the application ends
                logger.warning(
                    "a listener of %r came too late: %s", self.name, late, extra={"action": "listener_failed"}
                )
            except Exception:
                logger.exception("a listener of %r raised", self.name, extra={"action": "listener_failed"})
            if self.once:
                self._hub.forget(self)
                return
