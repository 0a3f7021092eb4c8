"""The thread that reads the logs of a store, for all followers of logs in this process."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Protocol
from weakref import WeakKeyDictionary

from stratix_kombu import forks
from stratix_kombu.errors import Unavailable
from stratix_kombu.model.event import Event
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.stores.contract import EventLog

logger = logging.getLogger("stratix_kombu.events")

READ_AT_ONCE = 1000
"""Entries of one log; of many logs fewer of each."""
LEAST_AT_ONCE = 50
TOLD_AT_ONCE = 100
"""Events whose jobs are read together."""
MANY = 50
SETTLE_S = 0.01
"""Events of many logs are read together: what is asked for each time grows with the number of logs."""


class Follower(Protocol):
    """The followers of a log."""

    def deliver(self, events: list[Event]) -> None:
        """Some entries. Raises Unavailable if it is to be given them again."""

    def idle(self) -> None:
        """Called between two readings. Raises Unavailable."""


class LogThread:
    """Of one store in this process. It is started with the first follower, and ends after the last one."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.after_fork()
        forks.register(self)

    def after_fork(self) -> None:
        """Followers in the parent stay there."""
        self._reader = self._log.reader()
        self._lock = threading.Lock()
        self._delivering = threading.RLock()
        """Held while a follower is given something."""
        self._followed: dict[Follower, tuple[str, str]] = {}
        """By follower: its log, and from where it follows; '' = from what comes from now on."""
        self._thread: threading.Thread | None = None

    def follow(self, queue: str, follower: Follower, cursor: str) -> None:
        """Give ``follower`` what comes after the cursor. Raises RuntimeError if the system has no thread left."""
        with self._lock:
            self._followed[follower] = (queue, cursor)
            thread = self._thread
            if thread is None:
                thread = threading.Thread(target=self._run, name="stratix-events", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    del self._followed[follower]
                    raise
                self._thread = thread
                return
        self.wake()

    def leave(self, follower: Follower) -> None:
        """Once this returns, ``follower`` is given nothing more."""
        with self._lock:
            if self._followed.pop(follower, None) is None:
                return
            last = not self._followed
        with self._delivering:
            pass
        if last:
            self.wake()

    def wake(self) -> None:
        """Have it read again, and ask the followers whether they have something to do."""
        with suppress(Unavailable):
            self._reader.interrupt()

    def _run(self) -> None:
        failures = 0
        while True:
            with self._lock:
                if not self._followed:
                    self._thread = None
                    return
            try:
                self._round()
                if failures:
                    logger.warning("events are read again, after %d tries", failures, extra={"action": "events_back"})
                failures = 0
            except Exception as error:
                failures += 1
                if not isinstance(error, Unavailable):  # a bug of ours must not end this thread
                    logger.exception("events cannot be read", extra={"action": "events_failed"})
                else:
                    level = logging.WARNING if failures == 1 else logging.DEBUG
                    logger.log(level, "events cannot be read: %s", error, extra={"action": "events_failed"})
                time.sleep(pause_s(failures))

    def _round(self) -> None:
        with self._lock:
            followed = dict(self._followed)
        limit = max(READ_AT_ONCE // max(len(followed), 1), LEAST_AT_ONCE)
        first: dict[str, Follower] = {}
        cursors: dict[str, str] = {}
        problems: list[Unavailable | None] = []
        for follower, (queue, cursor) in followed.items():
            if not cursor:
                cursor = self._log.tail(queue)
                self._advance(follower, queue, cursor)
            if first.setdefault(queue, follower) is follower:
                cursors[queue] = cursor
            else:  # each has a place of its own in the log; what wakes the first one is read by the others right after
                problems.append(self._catch_up(follower, queue, cursor, limit))
        by_log = self._reader.read(cursors, limit, self._reader.patience_ms)
        problems += [self._give_all(first[queue], queue, events) for queue, events in by_log.items()]
        for follower in followed:
            if follower in self._followed:
                follower.idle()
        if by_log and len(followed) > MANY:
            time.sleep(SETTLE_S)
        for problem in problems:
            if problem is not None:
                raise problem

    def _catch_up(self, follower: Follower, queue: str, cursor: str, limit: int) -> Unavailable | None:
        """Give one follower what its log has for it now."""
        while events := self._log.read(queue, cursor, limit):
            problem = self._give_all(follower, queue, events)
            if problem is not None or len(events) < limit:
                return problem
            cursor = events[-1].cursor
        return None

    def _give_all(self, follower: Follower, queue: str, events: list[Event]) -> Unavailable | None:
        """Why it is to be given some of them again; what others follow does not wait for that."""
        try:
            for start in range(0, len(events), TOLD_AT_ONCE):
                if not self._give(follower, queue, events[start : start + TOLD_AT_ONCE]):
                    break
        except Unavailable as problem:
            return problem
        return None

    def _give(self, follower: Follower, queue: str, part: list[Event]) -> bool:
        """False if it follows no longer."""
        with self._delivering:
            if follower not in self._followed:
                return False
            follower.deliver(part)
            self._advance(follower, queue, part[-1].cursor)  # not before: what could not be given now is given later
        return True

    def _advance(self, follower: Follower, queue: str, cursor: str) -> None:
        with self._lock:
            if follower in self._followed:
                self._followed[follower] = (queue, cursor)


_threads: WeakKeyDictionary[EventLog, LogThread] = WeakKeyDictionary()
_making = threading.Lock()


def thread_of(log: EventLog) -> LogThread:
    """The thread of a log's store in this process."""
    with _making:
        thread = _threads.get(log)
        if thread is None:
            thread = _threads[log] = LogThread(log)
    return thread
