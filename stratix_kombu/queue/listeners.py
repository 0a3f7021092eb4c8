"""Listeners of a log: functions called for its entries, in order, each on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Any

from stratix_kombu import forks
from stratix_kombu.calls import Awaited, is_caller
from stratix_kombu.errors import Closed, ConfigurationError, EventsMissed, Unavailable
from stratix_kombu.model.awaiting import call
from stratix_kombu.model.event import LISTENERS_GET, Event
from stratix_kombu.model.functions import check_takes
from stratix_kombu.queue.log_thread import thread_of
from stratix_kombu.stores.contract import EventLog

logger = logging.getLogger("stratix_kombu.events")

STOP_S = 5.0
"""How long listeners may take to stop."""
LISTENER_BACKLOG = 10_000

Function = Callable[..., object]


class Listeners(ABC):
    """The listeners of one log, which is read as soon as there is the first of them."""

    unlogged: frozenset[str] = frozenset()
    """Events that do not come from the log, and can be listened to while it cannot be read."""

    def __init__(self, log: EventLog, queue: str, where: str) -> None:
        self._log = log
        self._queue = queue
        self._where = where
        """What the log is called in messages."""
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        """Held while the log's end is asked for."""
        self._listeners: list[Listener] = []
        self._thread = thread_of(log)
        self._followed = False
        self._closed = threading.Event()
        forks.register(self)

    def after_fork(self) -> None:
        """Listeners of the log stay with the parent; otherwise each event would be handled in every forked process.
        Listeners of what this process reports itself exist in the child too."""
        closed, self._closed = self._closed.is_set(), threading.Event()
        if closed:
            self._closed.set()
        self._lock, self._opening, self._followed = threading.Lock(), threading.Lock(), False
        self._listeners = [listener.anew() for listener in self._listeners if listener.name in self.unlogged]

    # -- what a log may say differently ---------------------------------------------------------

    @abstractmethod
    def event_name(self, given: str) -> str:
        """The name of an event as it appears in the log. Raises ConfigurationError."""

    @abstractmethod
    def _tell(self, events: list[Event]) -> None:
        """Pass on what was read."""

    def missed(self, count: int, event: str = "") -> None:
        """Report that events were missed, by all listeners or by one of ``event``; if there are none, nobody missed
        them: the log is read for the waiters of jobs, or for a listener that was removed."""
        if self._is_heard():
            self._report_missed(EventsMissed(self._where, count, event))

    def _report_missed(self, error: EventsMissed) -> None:
        logger.warning("%s", error, extra={"action": "events_missed"})

    def idle(self) -> None:  # noqa: B027  # most logs have nothing else to do
        """Called between two readings."""

    # -- listening ------------------------------------------------------------------------------

    def on(self, name: str, function: Function, once: bool = False) -> None:
        """Call ``function`` for each event of that name from now on. Raises ConfigurationError, Closed."""
        name = self.event_name(name)
        if not callable(function):
            raise ConfigurationError(f"{self._where}: a listener must be a function, not {function!r}")
        if name in LISTENERS_GET:
            check_takes(function, LISTENERS_GET[name], f"{self._where}: a listener of {name!r}")
        self._open()
        if name not in self.unlogged:
            self._ensure_followed()
        with self._lock:
            self._open()
            self._listeners.append(Listener(self, name, function, once))

    def off(self, name: str, function: Function | None = None) -> int:
        """Remove listeners, and return how many there were."""
        name = self.event_name(name)
        with self._lock:
            gone = [
                listener
                for listener in self._listeners
                if listener.name == name and function in (None, listener.function)
            ]
            self._listeners = [listener for listener in self._listeners if listener not in gone]
        _stop(gone)
        return len(gone)

    def forget(self, listener: Listener) -> None:
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def close(self) -> None:
        """Stop listeners after the events that they were already given."""
        with self._lock:
            self._closed.set()
            listeners = list(self._listeners)
        self._thread.leave(self)
        _stop(listeners)

    def reopen(self) -> None:
        """After ``close``: the same listeners receive what happens from now on, or from when the store can be reached
        again."""
        with self._lock:
            if not self._closed.is_set():
                return
            self._closed, self._followed = threading.Event(), False
            self._listeners = [listener.anew() for listener in self._listeners]
            logged = any(listener.name not in self.unlogged for listener in self._listeners)
        if logged:
            self._ensure_followed(later=True)

    def _open(self) -> None:
        if self._closed.is_set():
            raise Closed(self._where)

    def _pass_on(self, name: str, arguments: tuple[Any, ...]) -> bool:
        """Pass an event to the listeners of that name; return whether there are any."""
        with self._lock:
            listeners = [one for one in self._listeners if one.name == name]
        for listener in listeners:
            listener.put(arguments)
        return bool(listeners)

    def _listens(self, name: str) -> bool:
        """Whether there are listeners of that name."""
        with self._lock:
            return any(listener.name == name for listener in self._listeners)

    def _is_heard(self) -> bool:
        """Whether there are listeners of the log."""
        with self._lock:
            return any(listener.name not in self.unlogged for listener in self._listeners)

    def _skip(self, event: Event, problem: Exception) -> None:
        """An entry that cannot be read; later ones can."""
        logger.warning(
            "an event %r of %s was skipped: %s", event.name, self._where, problem, extra={"action": "event_skipped"}
        )

    # -- reading --------------------------------------------------------------------------------

    def _ensure_followed(self, later: bool = False) -> None:
        """Raises Unavailable, unless the log may be read ``later`` as well."""
        with self._opening:
            if not self._followed:
                cursor = ""
                try:
                    cursor = self._log.tail(self._queue)
                except Unavailable:
                    if not later:
                        raise
                self._thread.follow(self._queue, self, cursor)
                self._followed = True

    def deliver(self, events: list[Event]) -> None:
        """Raises Unavailable before anything was passed on."""
        try:
            self._tell(events)
        except Unavailable:
            raise
        except Exception:
            # A bug of ours: later entries can still be passed on.
            logger.exception("events of %s cannot be passed on", self._where, extra={"action": "events_failed"})
        if events[0].missed:
            self.missed(events[0].missed)


class Listener:
    """A function with a bounded queue and a thread of its own, so that it cannot delay others; the thread starts with
    the first event."""

    def __init__(self, hub: Listeners, name: str, function: Function, once: bool) -> None:
        self.name = name
        self.function = function
        self.once = once
        self._hub = hub
        self._queue: Queue[tuple[Any, ...] | None] = Queue(LISTENER_BACKLOG)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._counting = threading.Lock()
        self._skipped = 0
        """Events that it missed because its buffer was full; reported once there is room again."""

    def anew(self) -> Listener:
        """The same, with no events and no thread."""
        return Listener(self._hub, self.name, self.function, self.once)

    def put(self, arguments: tuple[Any, ...]) -> None:
        try:
            self._queue.put_nowait(arguments)
        except Full:
            if not self._skipped:
                logger.warning(
                    "a listener of %r is too slow: events are skipped", self.name, extra={"action": "listener_skipped"}
                )
            with self._counting:
                self._skipped += 1
            return
        if self._thread is None:
            try:
                self._start()
            except RuntimeError as problem:  # the event is kept: the next one tries again
                logger.warning(
                    "a listener of %r has to wait: %s", self.name, problem, extra={"action": "listener_waits"}
                )
        self._tell_skipped()

    def _tell_skipped(self) -> None:
        if self._skipped:
            with self._counting:
                skipped, self._skipped = self._skipped, 0
            if skipped:
                self._hub.missed(skipped, self.name)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"stratix-on-{self.name}", daemon=True)
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        """Stop it after the events that it was given; if its buffer is full, it loses the last one."""
        while True:
            try:
                self._queue.put_nowait(None)
            except Full:
                with suppress(Empty):
                    self._queue.get_nowait()
            else:
                return

    def join(self, timeout: float) -> None:
        """Wait until it has stopped, unless it is the caller; a listener that hangs is abandoned."""
        if self._thread is not None and not is_caller(self._thread):
            self._thread.join(timeout)

    def _run(self) -> None:
        while (arguments := self._queue.get()) is not None:
            self._tell_skipped()  # now, since there may be no further event
            try:
                with Awaited():
                    call(self.function, *arguments)
            except Closed as late:  # while the application closes
                logger.warning(
                    "a listener of %r came too late: %s", self.name, late, extra={"action": "listener_failed"}
                )
            except BaseException:  # whatever it raises, it is called with the next event
                logger.exception("a listener of %r raised", self.name, extra={"action": "listener_failed"})
            if self.once:
                self._hub.forget(self)
                return


def _stop(listeners: list[Listener]) -> None:
    """Stop all of them, in the time of one."""
    for listener in listeners:
        listener.stop()
    deadline = time.monotonic() + STOP_S
    for one in listeners:
        one.join(max(deadline - time.monotonic(), 0))
