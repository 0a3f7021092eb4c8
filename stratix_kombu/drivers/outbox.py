"""What is not sent yet: the jobs are safe in the store, so nobody else waits for a broker that does not answer.

The first publisher waits for it. What is published from then on is put in the hands of a thread of the driver, which
alone waits, and sends it as soon as the broker answers. The thread begins with the first such fault, and ends when the
driver is closed.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Report
from stratix_kombu.errors import DriverUnavailable
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.model.record import Ready

if TYPE_CHECKING:
    from stratix_kombu.drivers.kombu import KombuDriver

logger = logging.getLogger("stratix_kombu")

LOOK_S = 0.05
"""How often is looked whether all is done, while something is not."""
MOST_AGAIN = 1_000
"""So many messages wait to be sent again. What is more is left to the store's recovery."""
LAST_S = 2.0
"""How long a process that ends, and has not closed its application, waits for the broker's word."""
LONG_S = 0.25
"""A fault that takes so long to show is a broker that does not answer: whoever publishes next would wait as long."""

Refused = Sequence[tuple[Ready, str]]
"""Messages that the broker did not accept, and why."""


class Outbox:
    """Of one driver."""

    def __init__(self, driver: KombuDriver) -> None:
        self._driver = driver
        self.report: Report = lambda queue, error: None
        self.after_fork()
        forks.register(self)
        atexit.register(_end, weakref.ref(self))

    def after_fork(self) -> None:
        """What was not sent is the parent's, and so is the thread."""
        self._lock = threading.Lock()
        self._wakes = threading.Event()
        self._again: list[Ready] = []
        self._in_hand: list[Ready] = []
        """What the thread is sending."""
        self._failures = 0
        self._next_try = 0.0
        self._troubled: set[str] = set()
        """Queues of which a fault was reported since something was confirmed."""
        self._silent: DriverUnavailable | None = None
        """The fault of a broker that does not answer, until it does."""
        self._thread: threading.Thread | None = None

    # -- what a transport may say differently ---------------------------------------------------

    def post(self, jobs: Sequence[Ready]) -> bool:
        """Send them for who publishes them; whether the broker has taken responsibility. Raises DriverUnavailable."""
        self._driver.publish(jobs)
        if self._troubled:
            self.note({job.queue for job in jobs}, ())
        return True

    def send(self, jobs: Sequence[Ready]) -> Refused:
        """Send them again, and wait for the broker's word. Raises DriverUnavailable."""
        self._driver.publish(jobs)
        return ()

    def look(self) -> None:
        """Read what the broker has said meanwhile."""

    def open_count(self, blocked: bool = True) -> int:
        """How many messages were sent and are not confirmed; with ``blocked``, also where the broker reads nothing."""
        return 0

    # -- who publishes ----------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        return len(self._again) >= MOST_AGAIN

    def submit(self, jobs: Sequence[Ready], report: Report) -> bool:
        """See ``TransportDriver.submit``."""
        if not jobs:
            return True
        self.report = report
        if self._takes(jobs):
            return False
        began = time.monotonic()
        try:
            return self.post(jobs)
        except DriverUnavailable as error:
            self._troubled.update(job.queue for job in jobs)
            if _was_long(began):
                self._silent = error
                self.watch()
                self._add(jobs)
            raise

    def _takes(self, jobs: Sequence[Ready]) -> bool:
        """Whether the thread sends these, since the broker does not answer just now. Raises its fault if there is no
        room for them."""
        silent = self._silent
        if silent is None:
            return False
        if self.is_full:
            raise DriverUnavailable(self._driver.address, silent.problem)
        self.trouble(silent, jobs)
        self.watch()
        self._add(jobs)
        return True

    def watch(self) -> None:
        """Something has to be done by the thread."""
        if self._wakes.is_set():
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, args=(self._wakes,), name="stratix-outbox", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no thread left: the next message tries again
                    return
                self._thread = thread
            self._wakes.set()

    def trouble(self, error: BaseException, jobs: Sequence[Ready]) -> None:
        """Reported for each queue once, until something of it is confirmed."""
        with self._lock:
            new = {job.queue for job in jobs} - self._troubled
            self._troubled |= new
        for queue in sorted(new):
            self.report(queue, error)

    def note(self, confirmed: set[str], refused: Refused) -> None:
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

    def close(self, seconds: float = LAST_S) -> None:
        """End the thread, after so many seconds at most in which all may still be confirmed. A broker that does not
        answer is not waited for."""
        end = time.monotonic() + seconds
        with self._lock:
            thread, self._thread = self._thread, None
            wakes, self._wakes = self._wakes, threading.Event()
        if thread is None:
            return
        wakes.set()
        if self._silent is None:
            thread.join(max(end - time.monotonic(), 0.0))
        while (self._again or self.open_count(blocked=False)) and time.monotonic() < end and not self._silent:
            self.look()
            self._send_again()
            time.sleep(LOOK_S / 10)
        left = len(self._again) + len(self._in_hand) + self.open_count()
        self._again, self._silent = [], None
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
                self.look()
                self._send_again()
            except Exception as problem:
                # A bug of ours must not end this thread: what is not confirmed would stay so.
                logger.exception("what is not confirmed cannot be sent", extra={"action": "dispatch_failed"})
                self._pause()
                self._in_hand, self._silent = [], None
                self.report("", problem)
            wakes.clear()
            if self._again or self.open_count() > 0:
                wakes.set()

    def _send_again(self) -> None:
        """One queue after the other, so that a fault of one does not hold up the others."""
        if not self._again or time.monotonic() < self._next_try:
            return
        with self._lock:
            self._in_hand, self._again = self._again, []
        by_queue = defaultdict[str, list[Ready]](list)
        for job in self._in_hand:
            by_queue[job.queue].append(job)
        failed, refused, left = list[Ready](), list[tuple[Ready, str]](), iter(by_queue.items())
        for queue, jobs in left:
            began = time.monotonic()
            try:
                found = self.send(jobs)
            except DriverUnavailable as error:
                failed += jobs
                self._troubled.add(queue)
                self.report(queue, error)
                self._silent = error if _was_long(began) else None
                if self._silent:
                    break
            else:
                self._silent = None
                refused += found
                self.note(set() if found else {queue}, ())
        failed += (job for _, jobs in left for job in jobs)
        self._in_hand = []
        self.note(set(), refused)
        if failed:
            self._pause()
            self._add(failed)
        elif not refused:
            self._failures = 0

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


def _was_long(began: float) -> bool:
    return time.monotonic() - began > LONG_S


def _end(outbox: weakref.ref[Outbox]) -> None:
    """The process ends: a connection that is cut while the broker's words are unread may lose what was sent."""
    found = outbox()
    if found is not None:
        found.close()
