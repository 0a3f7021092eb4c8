"""The consumer: takes no more messages than there are free slots, claims them together, acknowledges them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stratix_kombu.drivers.contract import Delivery, Receiver
from stratix_kombu.drivers.own import check_receiver
from stratix_kombu.errors import InvalidPayload, Unavailable
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.hand_back import hand_back
from stratix_kombu.model.claims import Claimed
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Claim, Held
from stratix_kombu.model.state import Refusal
from stratix_kombu.worker.slots import Slots

logger = logging.getLogger("stratix_kombu.worker")

TEND_S = 1.0
"""How often the connection is tended while no slot is free."""
MAX_BATCH = 100
"""One claim takes no more, so that a worker of hundreds of slots does not hold up its peers."""
PAUSED_POLL_S = 0.5
BURST_S = 1.0
"""Messages that name no job, and come one after the other, are reported together at least this often."""
MAX_PAUSE_S = 5.0


class Starved(Exception):
    """Jobs could not begin, for lack of a thread, say, and were handed back."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A claim whose answer was lost: what it took would stay active until its lease ends."""

    ids: Sequence[str]
    request: str
    until: float
    """When its lease has ended, on the clock of ``time.monotonic``."""


class Consumer:
    """One thread with one receiver. It stops taking while the store or the broker is away, and comes back."""

    def __init__(
        self, engine: Engine, queue: str, slots: Slots, take: Callable[[Sequence[str], str], Claimed],
        start: Callable[[Claim], None], paused: Callable[[], bool], *, lease_s: float,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._queue = queue
        self._slots = slots
        self._claim = take
        self._start = start
        self._is_paused = paused
        self._lease_s = lease_s
        self._asked: _Asked | None = None
        self._receiver: Receiver | None = None
        self._stop = threading.Event()
        self._claiming = threading.Lock()
        self._failures = 0
        self._starved: Exception | None = None
        self._causes = Causes()
        self._strangers: list[str] = []
        """What was wrong with the messages that named no job, since it was reported."""
        self._strangers_since = 0.0
        self._limited_until = 0.0
        self._proved = time.monotonic()
        self.ready = threading.Event()
        """Set once the broker has been reached."""
        self._thread = threading.Thread(target=self._run, name=f"stratix-{queue}-consumer", daemon=True)

    @property
    def idle_ms(self) -> int:
        """How long ago it proved that it takes messages: it asked the broker, and the store decided on what came; or it
        has no free slot, and the connection is sound."""
        return int((time.monotonic() - self._proved) * 1000)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Claim nothing from now on. What a receive under way still brings is given back."""
        self._stop.set()
        self._slots.wake()
        if self._receiver is not None:
            self._receiver.interrupt()
        with self._claiming:
            pass

    def join(self) -> None:
        """Wait for the end of that receive."""
        if self._thread.is_alive():
            self._thread.join()

    def starve(self, problem: Exception) -> None:
        """Called by ``start`` for a job that could not begin, since the system has nothing left for it: nothing more is
        taken for a while."""
        self._starved = problem

    def _run(self) -> None:
        while not self._stop.is_set():
            strangers = len(self._strangers)
            try:
                self._round()
                self._engine.reached(self._queue, "consume_failed")
                self._failures = 0
                self._proved = time.monotonic()
            except Unavailable as error:
                self._failures += 1
                self._engine.report(self._queue, error, "consume_failed")
                self._stop.wait(min(0.05 * 2 ** min(self._failures, 10), MAX_PAUSE_S))
            except Starved as error:
                self._failures += 1
                if self._failures == 1:
                    self._engine.report(self._queue, error, "start_failed")
                self._stop.wait(min(0.05 * 2 ** min(self._failures, 10), MAX_PAUSE_S))
            except Exception as error:
                # A fault of our own must not end the worker silently.
                self._failures += 1
                if self._causes.is_new(error):
                    logger.exception("the consumer of %s failed", self._queue, extra={"action": "consume_failed"})
                    self._engine.report(self._queue, error, "consume_failed")
                self._close()
                self._stop.wait(MAX_PAUSE_S)
            if len(self._strangers) == strangers or time.monotonic() > self._strangers_since + BURST_S:
                self._report_strangers()
        self._report_strangers()
        self._hand_back_asked()
        self._close()

    def _close(self) -> None:
        """Messages that were taken and not decided on go back."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()

    def _round(self) -> None:
        self._ask_again()
        receiver = self._receiver = self._receiver or self._open()
        free = self._slots.wait(TEND_S)
        if not free:
            receiver.tend()
            return
        if self._stop.is_set():
            return
        patience = min(receiver.patience, BURST_S) if self._strangers else receiver.patience
        deliveries = receiver.receive(min(free, MAX_BATCH), patience)
        self.ready.set()
        paused = bool(deliveries) and self._take(receiver, deliveries)
        starved, self._starved = self._starved, None
        if starved is not None:
            raise Starved(f"jobs cannot begin here and were handed back: {starved}") from starved
        self._wait_for_the_limit(receiver)
        while paused and not self._stop.wait(PAUSED_POLL_S):
            receiver.tend()
            paused = self._is_paused()
            self._proved = time.monotonic()

    def _open(self) -> Receiver:
        return self._engine.driver.receiver(self._queue, self._slots.size)

    def _take(self, receiver: Receiver, deliveries: Sequence[Delivery]) -> bool:
        """Claim what was received; whether the queue is paused."""
        ids = [delivery.job_id for delivery in deliveries if delivery.job_id is not None]
        with self._claiming:
            if self._stop.is_set():
                receiver.give_back(deliveries)
                return False
            request = new_request()
            try:
                claimed = self._claim(ids, request)
            except Unavailable:
                self._asked = _Asked(ids, request, time.monotonic() + self._lease_s)
                receiver.give_back(deliveries)
                raise
            self._begin(claimed)
        stay = {one.job_id: one.retry_ms for one in claimed.refused if one.stays}
        try:
            receiver.acknowledge([one for one in deliveries if one.job_id is not None and one.job_id not in stay])
            if strangers := [one for one in deliveries if one.job_id is None]:
                receiver.refuse(strangers)
            if stay:
                receiver.give_back([one for one in deliveries if one.job_id in stay])
                self._limited_until = time.monotonic() + max(stay.values()) / 1000
        finally:
            self._note_strangers(deliveries)
        refused = {one.why for one in claimed.refused}
        if Refusal.GONE in refused:
            gone = [one.job_id for one in claimed.refused if one.why is Refusal.GONE]
            logger.info(
                "messages for %d jobs that are gone were dropped", len(gone),
                extra={"action": "gone_dropped", "queue": self._queue, "job_ids": gone},
            )
        return Refusal.PAUSED in refused

    def _begin(self, claimed: Claimed) -> None:
        """Start what an answer has brought."""
        self._asked = None
        self._slots.take(len(claimed.claims))
        for one in claimed.claims:
            self._start(one)

    def _ask_again(self) -> None:
        """Before anything else is taken: what a claim took whose answer was lost is begun now. There is a free slot for
        each; the messages were given back, and are dropped when they come."""
        asked = self._asked
        if asked is None:
            return
        with self._claiming:
            if time.monotonic() > asked.until:
                self._asked = None
            elif not self._stop.is_set():
                self._begin(self._claim(asked.ids, asked.request))

    def _hand_back_asked(self) -> None:
        """At the end nothing begins any more: what such a claim took goes to others."""
        asked = self._asked
        if asked is None or time.monotonic() > asked.until:
            return
        try:
            claims = self._claim(asked.ids, asked.request).claims
            hand_back(self._engine, [Held(one.record.id, one.token) for one in claims])
        except Unavailable as error:
            self._engine.report(self._queue, error, "hand_back_failed")

    def _wait_for_the_limit(self, receiver: Receiver) -> None:
        """A limit that does not defer: nothing is taken until the next start may be."""
        while (left := self._limited_until - time.monotonic()) > 0 and not self._stop.wait(min(left, PAUSED_POLL_S)):
            receiver.tend()
            self._proved = time.monotonic()

    def _note_strangers(self, deliveries: Sequence[Delivery]) -> None:
        problems = [delivery.problem for delivery in deliveries if delivery.job_id is None]
        if problems and not self._strangers:
            self._strangers_since = time.monotonic()
        self._strangers += problems

    def _report_strangers(self) -> None:
        """One report for a burst of them."""
        problems, self._strangers = self._strangers, []
        if not problems:
            return
        count = len(problems)
        what = "a message that names no job was dropped" if count == 1 else (
            f"{count} messages that name no job were dropped, the first because"
        )
        self._engine.report(self._queue, InvalidPayload(f"{what}: {problems[0]}"), "stranger_dropped")
