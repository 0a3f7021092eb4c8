"""What was published and is not confirmed yet: the jobs are safe in the store, so nobody waits for the broker's word.

A thread of the driver reads what the broker says on links that nobody uses just now, and sends again what it has
refused, and what was lost with a connection. It begins with the first message, and ends when the driver is closed.
While the broker does not answer, the thread alone waits for it: what is published meanwhile is put in its hands.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Report
from stratix_kombu.errors import DriverUnavailable
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.model.record import Ready

if TYPE_CHECKING:
    from stratix_kombu.drivers.rabbitmq.driver import RabbitMQDriver

logger = logging.getLogger("stratix_kombu")

LOOK_S = 0.05
"""How often is looked whether everything is confirmed, while something is not."""
MOST_AGAIN = 1_000
"""So many messages wait to be sent again. While there are more, publishing waits for the broker's word."""
LAST_S = 2.0
"""How long a process that ends, and has not closed its application, waits for the broker's word."""
LONG_S = 0.25
"""A fault that takes so long to show is a broker that does not answer: whoever publishes next would wait as long."""


class Outbox:
    """Of one driver."""

    def __init__(self, driver: RabbitMQDriver, send: Callable[[Sequence[Ready]], Sequence[tuple[Ready, str]]]) -> None:
        """``send`` publishes and waits for the broker's word; it returns what was refused, and why."""
        self._driver = driver
        self._send = send
        self.report: Report = lambda queue, error: None
        self.after_fork()
        forks.register(self)
        atexit.register(_end, weakref.ref(self))

    def after_fork(self) -> None:
        """What was not confirmed is the parent's, and so is the thread."""
        self._lock = threading.Lock()
        self._wakes = threading.Event()
        self._again: list[Ready] = []
        self._failures = 0
        self._next_try = 0.0
        self._troubled: set[str] = set()
        """Queues of which a fault was reported since something was confirmed."""
        self._silent: DriverUnavailable | None = None
        """The fault of a broker that does not answer, until it does."""
        self._thread: threading.Thread | None = None

    @property
    def is_full(self) -> bool:
        return len(self._again) >= MOST_AGAIN

    def watch(self) -> None:
        """Something was sent and is not confirmed."""
        if self._wakes.is_set():
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._wakes,), name="stratix-confirms", daemon=True)
                with suppress(RuntimeError):  # the system has no thread left: the next message tries again
                    thread.start()
                    self._thread = thread
        self._wakes.set()

    def failed(self, jobs: Sequence[Ready], error: DriverUnavailable, waited_s: float) -> None:
        """The publisher was notified of a fault, after it had waited for so long."""
        self._troubled.update(job.queue for job in jobs)
        if waited_s > LONG_S:
            self._silent = error
            self.watch()
            self._add(jobs)

    def takes(self, jobs: Sequence[Ready]) -> bool:
        """Whether the thread sends these, since the broker does not answer just now. Raises its fault if there is no
        room for them."""
        silent = self._silent
        if silent is None:
            return False
        if self.is_full:
            raise DriverUnavailable(self._driver.address, silent.problem)
        self.trouble(silent, jobs)
        self._add(jobs)
        return True

    def trouble(self, error: BaseException, jobs: Sequence[Ready]) -> None:
        """Reported for each queue once, until something of it is confirmed."""
        with self._lock:
            new = {job.queue for job in jobs} - self._troubled
            self._troubled |= new
        for queue in sorted(new):
            self.report(queue, error)

    def lost(self, jobs: Sequence[Ready]) -> None:
        """A connection has ended before these were confirmed."""
        self._add(jobs)

    def note(self, confirmed: set[str], refused: Sequence[tuple[Ready, str]]) -> None:
        """The broker has said so."""
        if self._troubled and confirmed:
            with self._lock:
                well = self._troubled & confirmed
                self._troubled -= well
            for queue in well:
                self.report(queue, None)
        confirmed.clear()
        if refused:
            for job, _ in refused:
                self._driver.forget(job.queue)  # it may have been deleted
            self.trouble(refusal([why for _, why in refused], self._driver.address), [job for job, _ in refused])
            self._pause()
            self._add([job for job, _ in refused])

    def close(self, seconds: float) -> None:
        """End the thread, after so many seconds at most in which all may still be confirmed."""
        end = time.monotonic() + seconds
        with self._lock:
            thread, self._thread = self._thread, None
            wakes, self._wakes = self._wakes, threading.Event()
        if thread is None:
            return
        wakes.set()
        thread.join(max(end - time.monotonic(), 0.0))
        while (self._again or self._driver.open_count(blocked=False)) and time.monotonic() < end and not self._silent:
            self._driver.look_at_open()
            self._send_again()
            time.sleep(LOOK_S / 10)
        left, self._again, self._silent = len(self._again) + self._driver.open_count(), [], None
        if left:
            logger.warning(
                "%s: %d messages were not confirmed when it was closed; recovery sends them again",
                self._driver.address,
                left,
                extra={"action": "not_confirmed"},
            )

    # -- the thread -----------------------------------------------------------------------------

    def _run(self, wakes: threading.Event) -> None:
        while wakes is self._wakes:
            wakes.wait()
            time.sleep(LOOK_S)
            try:
                if wakes is not self._wakes:
                    return
                self._driver.look_at_open()
                self._send_again()
            except Exception as problem:
                # A bug of ours must not end this thread: what is not confirmed would stay so.
                logger.exception("confirms cannot be read", extra={"action": "dispatch_failed"})
                self._pause()
                self._silent = None
                self.report("", problem)
            wakes.clear()
            if self._is_open():
                wakes.set()

    def _is_open(self) -> bool:
        return bool(self._again) or self._driver.open_count() > 0

    def _send_again(self) -> None:
        if not self._again or time.monotonic() < self._next_try:
            return
        with self._lock:
            jobs, self._again = self._again, []
        began = time.monotonic()
        try:
            refused = self._send(jobs)
        except DriverUnavailable as error:
            self._silent = error if time.monotonic() - began > LONG_S else None
            self.trouble(error, jobs)
            self._pause()
            self._add(jobs)
            return
        self._silent = None
        if not refused:
            self._failures = 0
        self.note({job.queue for job in jobs} - {job.queue for job, _ in refused}, refused)

    def _pause(self) -> None:
        self._failures += 1
        self._next_try = time.monotonic() + pause_s(self._failures)

    def _add(self, jobs: Sequence[Ready]) -> None:
        """What is too much for the list is sent again by the store's recovery. Only a new message begins a thread:
        one that began while the outbox is closed would never end."""
        if jobs:
            with self._lock:
                self._again = [*self._again, *jobs][:MOST_AGAIN]
                if self._thread is not None:
                    self._wakes.set()


def refusal(reasons: Sequence[str], address: str) -> DriverUnavailable:
    """The error for messages that the broker has refused."""
    return DriverUnavailable(address, f"the broker refused {len(reasons)} messages: {reasons[0]}")


def _end(outbox: weakref.ref[Outbox]) -> None:
    """The process ends: a connection that is cut while the broker's words are unread may lose what was sent."""
    found = outbox()
    if found is not None:
        found.close(LAST_S)
