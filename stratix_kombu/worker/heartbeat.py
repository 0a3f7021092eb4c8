"""Renews the leases of what a process runs, and shows which queues it serves, in a thread of its own: nothing else may
hold it up. One call for all queues."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from stratix_kombu import forks
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.claim import leave, renew
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Held, WorkerInfo

logger = logging.getLogger("stratix_kombu.worker")

BEATS_PER_LEASE = 3
MAX_INTERVAL_S = 1.0
"""Upper bound on the latency of a cancellation."""
IDLE_INTERVAL_S = 6.0
"""How often a process that runs no job shows that it is there."""
PAUSED_INTERVAL_S = 0.5
"""How often to check whether a paused queue was resumed."""
HELD_AT_ONCE = 1_000


@cache
def package_version() -> str:
    """The version of this package."""
    from stratix_kombu import __version__

    return __version__


@dataclass(frozen=True, slots=True)
class Member:
    """What a heartbeat needs to know about one queue that is served here."""

    describe: Callable[[], WorkerInfo]
    """The worker as others should see it now."""
    held: Callable[[], list[Held]]
    """The claims to be renewed."""
    lost: Callable[[str], None]
    """Called with the token of a claim that is no longer held; there may be another claim on the same job."""
    cancelled: Callable[[str], None]
    """Called with the token of a claim whose job was cancelled, each time it is renewed."""


class Heartbeat:
    """One for all queues of an application: three times a lease or each second while jobs run, else now and then."""

    def __init__(self, engine: Engine, lease_ms: int) -> None:
        self.lease_ms = lease_ms
        self._engine = engine
        self._interval_s = min(lease_ms / 1000 / BEATS_PER_LEASE, MAX_INTERVAL_S)
        self._idle_s = min(lease_ms / 1000 / BEATS_PER_LEASE, IDLE_INTERVAL_S)
        self._causes = Causes()
        self.after_fork()
        forks.register(self)

    def after_fork(self) -> None:
        """A child is a worker of its own, and serves nothing yet."""
        self.id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """Of all workers of this process."""
        self.shows = True
        """Whether the process reports its presence."""
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._beating = threading.RLock()
        """Held while it renews, so that no renewal under way shows a queue again that was left."""
        self._members: dict[str, Member] = {}
        self._paused: dict[str, bool] = {}
        """Queues whose pause is being watched."""
        self._thread: threading.Thread | None = None
        self._beaten: float | None = None
        self._began = time.monotonic()
        self._started_ms = 0

    def described(self, info: WorkerInfo) -> WorkerInfo:
        """With what is known of the process."""
        return replace(info, version=package_version(), started_ms=self._started_ms)

    def join(self, queue: str, member: Member) -> None:
        """Report presence on the queue from now on, and renew its claims. Raises RuntimeError if the system cannot
        start a thread."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="stratix-heartbeat", daemon=True)
                thread.start()  # it waits for the lock
                self._thread = thread
            self._members[queue] = member
            self._beaten = None  # it is shown at once
            self._wake.set()

    def leave(self, queue: str) -> None:
        """The queue is no longer served. With the last one the thread ends."""
        with self._lock:
            if self._members.pop(queue, None) is None:
                return
            self._paused.pop(queue, None)
            thread = None
            if not self._members:
                thread, self._thread = self._thread, None
                self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._beating:
            try:
                if self.shows:
                    leave(self._engine, self.id, [queue])
            except Unavailable as error:
                self._engine.report(queue, error, "leave_failed")

    def is_paused(self, queue: str) -> bool:
        """Whether a queue that was paused still is, as far as is known; to be called now and then. All watched queues
        are checked in one call."""
        paused = self._paused.get(queue)
        if paused is None:
            self._paused[queue] = True
            self._wake.set()
        elif not paused:
            self._paused.pop(queue, None)
        return paused is not False

    def _run(self) -> None:
        mine = threading.current_thread()
        while True:
            self._wake.clear()
            with self._beating:
                with self._lock:
                    members = dict(self._members)
                    if self._thread is not mine:
                        return
                wait = self._try(members)
            self._wake.wait(wait)

    def _try(self, members: dict[str, Member]) -> float:
        """Renew if it is time; for how long to wait then."""
        asked = [one for one, paused in list(self._paused.items()) if paused]
        try:
            held = [(one.token, one, member) for member in members.values() for one in member.held()]
            if held or asked or self._beaten is None or time.monotonic() >= self._beaten + self._idle_s:
                beaten = time.monotonic()
                self._beat(members, held, asked)
                self._beaten = beaten
            self._engine.reached("", "renew_failed")
        except Unavailable as error:
            self._beaten = None
            self._engine.report("", error, "renew_failed")
        except Exception as error:
            # A bug of ours: without heartbeats all jobs of the worker would be lost to it.
            if self._causes.is_new(error):
                logger.exception("the heartbeat failed", extra={"action": "renew_failed"})
                self._engine.report("", error, "renew_failed")
        return PAUSED_INTERVAL_S if asked else self._interval_s

    def _beat(self, members: dict[str, Member], held: list[tuple[str, Held, Member]], asked: list[str]) -> None:
        if not self._started_ms:  # by the store's clock
            self._started_ms = self._engine.store.queries.now() - int((time.monotonic() - self._began) * 1000)
        present = [self.described(member.describe()) for member in members.values()] if self.shows else []
        every_ms = int(self._idle_s * 1000)
        for start in range(0, len(held) or 1, HELD_AT_ONCE):
            page = held[start : start + HELD_AT_ONCE]
            renewed = renew(
                self._engine, present, [one for _, one, _ in page], self.lease_ms, every_ms=every_ms, asked=asked
            )
            for token, _, member in page:
                if token in renewed.lost:
                    member.lost(token)
                elif token in renewed.cancelled:
                    member.cancelled(token)
            for queue in asked:
                if queue in self._paused:
                    self._paused[queue] = queue in renewed.paused
            present, asked = [], []
