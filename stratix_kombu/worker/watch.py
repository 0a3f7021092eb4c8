"""Queues of this process that have no work are waited for together: each costs a name in a list, and not a thread and
a connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Delivery, Watcher
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.pauses import pause_s

logger = logging.getLogger("stratix_kombu.worker")

TOGETHER = 500
"""The most queues waited for over one connection: each request to the broker grows with them."""
SETTLE_S = 0.02
"""Queues that come one after the other are waited for together."""
STARVED_S = 1.0
"""When the next thread is tried to be started, after the system had none left."""


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A consumer that has no work."""

    queue: str
    wake: Callable[[list[Delivery]], bool]
    """Called in the watch's thread with the deliveries; returns whether it accepts them. Raises RuntimeError if the
    system cannot start a thread."""


class Watch:
    """Of one application."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.after_fork()
        forks.register(self)

    def after_fork(self) -> None:
        """The queues are the parent's."""
        self._lock = threading.Lock()
        self._groups: list[_Group] = []
        self._of: dict[str, _Group] = {}
        self._works: bool | None = None

    def add(self, sleeper: Sleeper, *, new: bool = False) -> bool:
        """Wait for the queue from now on, until it is woken; for a ``new`` one the store is asked whether jobs are
        waiting. False if the driver cannot do it. Raises RuntimeError if the system cannot start a thread."""
        with self._lock:
            if self._works is False:
                return False
            group = self._of.get(sleeper.queue) or next((one for one in self._groups if one.has_room), None)
            if group is None:
                watcher = self._engine.driver.watcher()
                self._works = watcher is not None
                if watcher is None:
                    return False
                group = _Group(self._engine, watcher)
                group.start()
                self._groups.append(group)
            self._of[sleeper.queue] = group
            group.add(sleeper, new)
        return True

    def remove(self, queue: str) -> bool:
        """Wait no longer; whether it was waited for: if not, it was woken. With the last one the threads end."""
        with self._lock:
            group = self._of.get(queue)
        return group is not None and group.remove(queue)

    def leave(self, queue: str) -> None:
        """The queue is served no longer."""
        with self._lock:
            group = self._of.pop(queue, None)
            last = group is not None and group.leave(queue)
            if group is not None and last:
                self._groups.remove(group)
        if group is not None and last:
            group.stop()

    def idle_ms(self, queue: str) -> int:
        """How long ago the broker was asked for it."""
        group = self._of.get(queue)
        return group.idle_ms if group is not None else 0


class _Group:
    """A thread and a connection for some queues."""

    def __init__(self, engine: Engine, watcher: Watcher) -> None:
        self._engine = engine
        self._watcher = watcher
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._sleepers: dict[str, Sleeper] = {}
        self._members: set[str] = set()
        self._new: set[str] = set()
        self._waits = False
        self._stopping = False
        self._failures = 0
        self._causes = Causes()
        self._asked = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="stratix-watch", daemon=True)

    @property
    def has_room(self) -> bool:
        return len(self._members) < TOGETHER

    @property
    def idle_ms(self) -> int:
        """It asks for as long as a wait may take."""
        return max(int((time.monotonic() - self._asked - self._watcher.patience) * 1000), 0)

    def start(self) -> None:
        self._thread.start()

    def add(self, sleeper: Sleeper, new: bool) -> None:
        with self._lock:
            if not self._sleepers:
                self._asked = time.monotonic()
            self._sleepers[sleeper.queue] = sleeper
            self._members.add(sleeper.queue)
            if new:
                self._new.add(sleeper.queue)
            self._changed.set()
            waits, self._waits = self._waits, False
        if waits:
            self._interrupt()

    def remove(self, queue: str) -> bool:
        """It may still be waited for a moment: deliveries that arrive then are given back."""
        with self._lock:
            self._new.discard(queue)
            return self._sleepers.pop(queue, None) is not None

    def leave(self, queue: str) -> bool:
        """Whether it was the last one."""
        self._members.discard(queue)
        return not self._members

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            self._changed.set()
        # While the broker is unreachable, the thread ends by itself once its command has ended.
        if self._interrupt() and self._thread is not threading.current_thread():
            self._thread.join()

    def _interrupt(self) -> bool:
        """Whether it was heard."""
        try:
            self._watcher.interrupt()
        except Unavailable as error:
            self._engine.report("", error, "consume_failed")
            return False
        return True

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._round()
                self._engine.reached("", "consume_failed")
                self._failures = 0
                self._asked = time.monotonic()
            except Exception as error:
                self._failures += 1
                if not isinstance(error, Unavailable) and self._causes.is_new(error):
                    logger.exception("the watch failed", extra={"action": "consume_failed"})
                if isinstance(error, Unavailable) or self._failures == 1:
                    self._engine.report("", error, "consume_failed")
                time.sleep(pause_s(self._failures, 0.05))
        self._watcher.close()

    def _round(self) -> None:
        if self._changed.is_set():
            time.sleep(SETTLE_S)
        with self._lock:
            if self._stopping:
                return
            self._changed.clear()
            queues, new = list(self._sleepers), set(self._new)
            self._waits = bool(queues) and not new
        if new:
            self._look_at_new(new)
            return
        if not queues:
            self._changed.wait(self._watcher.patience)
            return
        try:
            found = self._watcher.wait(queues, self._watcher.patience)
        finally:
            with self._lock:
                self._waits = False
        if found is not None:
            self._wake(*found)

    def _look_at_new(self, new: set[str]) -> None:
        """Jobs may wait whose permits are lost, or with another broker."""
        for queue in new.intersection(self._engine.store.queries.late_queues(0)):
            self._wake(queue, [])
        with self._lock:
            self._new -= new

    def _wake(self, queue: str, deliveries: list[Delivery]) -> None:
        with self._lock:
            sleeper = self._sleepers.pop(queue, None)
        if sleeper is None:
            self._watcher.give_back(deliveries)
            return
        taken = False
        try:
            taken = sleeper.wake(deliveries)
        except RuntimeError as problem:
            self._engine.report(queue, problem, "start_failed")
            with self._lock:
                self._sleepers[queue] = sleeper
            time.sleep(STARVED_S)
        if not taken:
            self._watcher.give_back(deliveries)
