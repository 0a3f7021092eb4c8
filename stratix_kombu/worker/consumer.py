"""The consumer takes no more jobs than there are free slots. A permit from the broker says that the queue has work; the
store says which jobs are next, or why there are none and when to ask again.

While the queue has work for all workers (``Taken.left``), jobs are taken with the permits that are available, or
without any: so lost permits cost nothing. Where no permits have to be fetched for that, results are stored with the
same call. While the queue is closed (paused, limited or crowded), only those permits are received
that the next opening is likely to need, since other workers may use the rest."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from stratix_kombu.drivers.contract import Delivery, Receiver
from stratix_kombu.drivers.own import check_receiver
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.claim import complete_and_take
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.outcomes import hand_back
from stratix_kombu.model.claims import Bounds, Taken
from stratix_kombu.model.names import new_request
from stratix_kombu.model.pauses import LONGEST_S, pause_s
from stratix_kombu.model.record import Change, Completion, Held
from stratix_kombu.model.state import Refusal
from stratix_kombu.worker import pace
from stratix_kombu.worker.asked import Asked, Starved
from stratix_kombu.worker.heartbeat import Heartbeat
from stratix_kombu.worker.holdings import Holdings
from stratix_kombu.worker.natives import Natives
from stratix_kombu.worker.runner import Runner
from stratix_kombu.worker.settler import Settler
from stratix_kombu.worker.slots import Slots
from stratix_kombu.worker.strangers import BURST_S, Strangers
from stratix_kombu.worker.watch import Sleeper, Watch

logger = logging.getLogger("stratix_kombu.worker")

REST_AFTER_S = 30.0
"""How long there is nothing to do before a queue is waited for together with others."""


class Consumer:
    """One thread with one receiver. It stops taking while the store or the broker is unreachable, and resumes by
    itself."""

    def __init__(
        self,
        engine: Engine,
        queue: str,
        bounds: Bounds,
        *,
        slots: Slots,
        holdings: Holdings,
        runner: Runner,
        heartbeat: Heartbeat,
        settler: Settler,
        watch: Watch,
        natives: Natives | None = None,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._bounds = bounds
        self._slots = slots
        self._holdings = holdings
        self._runner = runner
        self._heartbeat = heartbeat
        self._settler = settler
        self._watch = watch
        self._natives = natives
        self._sleeper = Sleeper(queue, self._wake)
        self._rests = False
        """Whether it can be waited for together with others."""
        self._busy_at = 0.0
        """When there was something to do last, on the clock of ``time.monotonic``."""
        self._brought: list[Delivery] = []
        """What has woken it."""
        self._joins = engine.delivers and (slots.size == 1 or engine.store.serial)
        """Whether results are stored with the next take: one slot has nothing to do meanwhile. With more, both calls
        are under way at once, which was measured to be 1.2 to 1.6 times as fast where the store allows that."""
        self._taken = pace.UNKNOWN
        """The last answer of the store; when it was asked, and when that came, on the clock of ``time.monotonic``."""
        self._asked_at = self._taken_at = 0.0
        self._stored = 0
        """The number of claims that had ended when the store was last asked."""
        self._asked: Asked | None = None
        self._receiver: Receiver | None = None
        self._stop = threading.Event()
        self._taking = threading.Lock()
        self._failures = 0
        self._causes = Causes()
        self._strangers = Strangers(engine, queue)
        self._proved = time.monotonic()
        self._thread: threading.Thread | None = None
        """None while it rests."""

    @property
    def idle_ms(self) -> int:
        """Time since it was last active: it asked the broker or the store, or it has no free slot and its connection
        works."""
        if self._thread is None:
            return self._watch.idle_ms(self._queue)
        return int((time.monotonic() - self._proved) * 1000)

    def start(self) -> None:
        """At rest, where the driver can wait for many queues. Raises RuntimeError if the system has no thread left."""
        # What waits for many queues looks for permits only.
        self._rests = self._natives is None and self._watch.add(self._sleeper, new=True)
        if not self._rests:
            self._wake([])

    def _wake(self, deliveries: list[Delivery]) -> bool:
        """Something has arrived, or should be looked for; False if it is too late for that."""
        with self._taking:
            if self._stop.is_set():
                return False
            self._settler.start()
            thread = threading.Thread(target=self._run, name=f"stratix-{self._queue}-consumer", daemon=True)
            self._brought, self._busy_at, self._proved = deliveries, time.monotonic(), time.monotonic()
            thread.start()
            self._thread = thread
        return True

    def stop(self) -> None:
        """Take nothing from now on. Messages that a receive in progress still brings are given back."""
        self._stop.set()
        self._watch.remove(self._queue)
        self._slots.wake()
        self._holdings.wake()
        if self._receiver is not None:
            self._receiver.interrupt()
        with self._taking:
            pass

    def join(self) -> None:
        """Wait for the end of that receive."""
        if self._thread is not None:
            self._thread.join()
        self._watch.leave(self._queue)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._round()
                self._engine.reached(self._queue, "consume_failed")
                self._failures = 0
                self._proved = time.monotonic()
                if self._is_idle() and self._rest():
                    return
            except (Unavailable, Starved) as error:
                self._failures += 1
                if isinstance(error, Unavailable):
                    self._engine.report(self._queue, error, "consume_failed")
                elif self._failures == 1:
                    self._engine.report(self._queue, error, "start_failed")
                self._pause(pause_s(self._failures, 0.05))
            except Exception as error:
                # A bug of ours must not end the worker silently.
                self._failures += 1
                if self._causes.is_new(error):
                    logger.exception("the consumer of %s failed", self._queue, extra={"action": "consume_failed"})
                    self._engine.report(self._queue, error, "consume_failed")
                self._close()
                self._pause(LONGEST_S)
            self._strangers.report_burst()
        self._settler.lend(False)
        self._strangers.report()
        self._hand_back_asked()
        if self._brought:
            self._opened().adopt(self._brought)
        self._close()

    def _pause(self, seconds: float) -> None:
        """Nothing is taken for a while, so no result may wait for the next take."""
        self._settler.lend(False)
        self._stop.wait(seconds)

    def _is_idle(self) -> bool:
        """Nothing is held, nothing has arrived for a while, and the store has nothing either."""
        taken = self._taken
        empty = taken.why in (None, Refusal.EMPTY) and not (taken.left or taken.until_ms)
        held = self._slots.used or len(self._holdings) or self._asked is not None or self._strangers
        return empty and not held and time.monotonic() > self._busy_at + REST_AFTER_S

    def _rest(self) -> bool:
        """Have the queue waited for together with others, and end this thread; False if that cannot be."""
        if not self._rests:
            return False
        self._close()
        with self._taking:
            try:
                if self._stop.is_set() or not self._watch.add(self._sleeper):
                    return False
            except RuntimeError:
                return False
            self._settler.rest()
            self._runner.rest()
            self._thread = None
        return True

    def _close(self) -> None:
        """Messages that were received and not acknowledged go back."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()

    # -- one round: permits, then jobs ------------------------------------------------------------

    def _round(self) -> None:
        self._settler.check()
        self._ask_again()
        receiver = self._opened()
        gather_s = min(self._taken_at - self._asked_at, pace.GATHER_S) if self._settler.lends else 0.0
        free = min(self._slots.wait(pace.TEND_S, gather_s), self._settler.room(self._slots.size), pace.MAX_BATCH)
        if not free:
            receiver.tend()
        if not free or self._stop.is_set():
            return
        permits = self._permits(receiver, free)
        if permits is not None:
            self._take(receiver, permits, free)

    def _opened(self) -> Receiver:
        if self._receiver is None:
            made = self._engine.driver.receiver(self._queue, self._slots.size)
            self._receiver = check_receiver(made, self._queue)
        return self._receiver

    def _permits(self, receiver: Receiver, free: int) -> list[Delivery] | None:
        """Wait until it is worth asking the store for jobs; the permits that have come. None: it is not."""
        why = self._taken.why
        if why is Refusal.PAUSED:
            return self._after_the_pause(receiver)
        if why is Refusal.LIMITED:
            return self._when_it_opens(receiver)
        if why is Refusal.CROWDED:
            return self._when_there_is_room(receiver)
        if self._taken.left:
            return self._at_hand(receiver, free)
        patience = min(receiver.patience, BURST_S) if self._strangers else receiver.patience
        opens_s = self._opens_s()
        permits = self._received(receiver, free, patience if opens_s is None else min(patience, max(opens_s, 0.001)))
        opens_s = self._opens_s()
        return permits if permits or (opens_s is not None and opens_s <= 0) else None

    def _opens_s(self) -> float | None:
        """In how many seconds the store may have a job that it did not have last time."""
        until_ms = self._taken.until_ms
        return self._taken_at + until_ms / 1000 - time.monotonic() if until_ms else None

    def _after_the_pause(self, receiver: Receiver) -> list[Delivery] | None:
        self._stop.wait(pace.PAUSED_POLL_S)
        receiver.tend()
        if self._stop.is_set() or self._heartbeat.is_paused(self._queue):
            return None
        self._taken = pace.UNKNOWN
        return None

    def _when_it_opens(self, receiver: Receiver) -> list[Delivery] | None:
        """A little before, permits are received for as many jobs as could start last time."""
        left = self._opens_s() or 0.0
        if left > pace.AT_HAND_S:
            self._stop.wait(min(left - pace.AT_HAND_S, pace.LIMITED_POLL_S))
            receiver.tend()
            if left > pace.LIMITED_POLL_S:
                self._look_whether_it_was_changed()
            return None
        permits = self._at_hand(receiver, max(len(self._taken.claims), 1))
        self._stop.wait(max(self._opens_s() or 0.0, 0.001))
        return permits

    def _look_whether_it_was_changed(self) -> None:
        ttl_ms = self._engine.store.queries.limit_ttl(self._queue, self._bounds.limit)
        if ttl_ms < (self._opens_s() or 0.0) * 1000:
            self._taken = pace.UNKNOWN

    def _when_there_is_room(self, receiver: Receiver) -> list[Delivery] | None:
        """A job of ours has finished, or perhaps one of another worker."""
        before = self._holdings.stored
        if before == self._stored:
            self._holdings.wait_for_more_stored(before, pace.CROWDED_POLL_S)
            receiver.tend()
        ended = self._holdings.stored - self._stored
        if self._stop.is_set():
            return None
        return self._at_hand(receiver, min(ended, pace.MAX_BATCH)) if ended else []

    def _at_hand(self, receiver: Receiver, limit: int) -> list[Delivery]:
        """The permits that are available at once, up to the number of jobs. They are not needed, but taken so that the
        broker's queue stays as long as the backlog. A store that is also the broker drops them itself."""
        return [] if self._engine.delivers and self._natives is None else self._received(receiver, limit, 0.0)

    def _received(self, receiver: Receiver, limit: int, timeout: float) -> list[Delivery]:
        """The permits among the deliveries; foreign messages are rejected."""
        deliveries, self._brought = self._brought, []
        if deliveries:
            receiver.adopt(deliveries)
        else:
            deliveries = receiver.receive(limit, timeout)
        if deliveries:
            self._busy_at = time.monotonic()
        strangers = [delivery for delivery in deliveries if delivery.job_id is None]
        if strangers and self._natives is not None:
            tasks, strangers = self._natives.split(strangers)
            if tasks:
                self._begin_tasks(receiver, tasks, self._natives)
        if strangers:
            self._strangers.note(strangers)
            receiver.refuse(strangers)
        return [delivery for delivery in deliveries if delivery.job_id is not None]

    def _begin_tasks(self, receiver: Receiver, tasks: Sequence[Delivery], natives: Natives) -> None:
        """There is a free slot for each."""
        with self._taking:
            if self._stop.is_set():
                receiver.give_back(tasks)
                return
            attempts, why = natives.begin(tasks)
            problem = self._runner.begin(attempts)
        receiver.acknowledge(tasks)
        if why is not None:
            self._taken, self._taken_at = Taken(why=why), time.monotonic()
        if problem is not None:
            raise Starved(f"tasks cannot begin here and were handed back: {problem}") from problem

    def _take(self, receiver: Receiver, permits: Sequence[Delivery], free: int) -> None:
        """Take jobs from the store and start them. The permits are used up, whatever the store answers."""
        free = min(free, self._slots.size - self._slots.used)  # tasks may have come with the permits
        if not free:
            return
        # If the store had work, or may have, all free slots are filled; otherwise a permit is for one job.
        of_one_each = permits and self._taken.why in (None, Refusal.EMPTY)
        want = min(len(permits), free) if of_one_each else free
        with self._taking:
            if self._stop.is_set():
                receiver.give_back(permits)
                return
            request, ended = new_request(), self._settler.lent()
            try:
                change, taken = self._ask(want, request, len(permits), ended)
            except BaseException as error:
                self._settler.lost(ended)
                if isinstance(error, Unavailable):
                    self._asked = Asked(want, request, time.monotonic() + self._heartbeat.lease_ms / 1000)
                    receiver.give_back(permits)
                raise
            problem = self._begin(taken)
        receiver.acknowledge(permits)
        self._settler.stored(ended, change)
        if problem is not None:
            raise Starved(f"jobs cannot be started here and were handed back: {problem}") from problem

    def _ask(self, want: int, request: str, permits: int = 0, ended: Sequence[Completion] = ()) -> tuple[Change, Taken]:
        self._stored, self._asked_at = self._holdings.stored + len(ended), time.monotonic()
        engine, queue, bounds = self._engine, self._queue, self._bounds
        who, lease_ms = self._heartbeat.id, self._heartbeat.lease_ms
        return complete_and_take(
            engine, ended, queue, who, lease_ms, want, bounds=bounds, permits=permits, request=request
        )

    def _begin(self, taken: Taken) -> Exception | None:
        """Start the jobs of an answer; return why some could not be started."""
        self._asked = None
        self._taken, self._taken_at = taken, time.monotonic()
        self._settler.lend(self._joins and taken.left and not self._engine.middleware.take)
        if taken.claims:
            self._busy_at = time.monotonic()
        return self._runner.begin_all(taken.claims)

    # -- a take whose answer was lost -------------------------------------------------------------

    def _ask_again(self) -> None:
        """Before anything else is taken, start the jobs of a take whose answer was lost. There is a free slot for
        each."""
        natives, asked, problem = self._natives, self._asked, None
        with self._taking:
            if self._stop.is_set():
                return
            if natives is not None:
                problem = self._runner.begin(natives.again())
            if asked is not None and time.monotonic() <= asked.until:
                problem = self._begin(self._ask(asked.want, asked.request)[1]) or problem
            self._asked = None
        if problem is not None:
            raise Starved(f"jobs cannot be started here and were handed back: {problem}") from problem

    def _hand_back_asked(self) -> None:
        """While stopping nothing is started any more: jobs of such a take go to other workers."""
        asked = self._asked
        try:
            if self._natives is not None:
                self._natives.hand_back()
            if asked is None or time.monotonic() > asked.until:
                return
            claims = self._ask(asked.want, asked.request)[1].claims
            hand_back(self._engine, [Held(claim.record.id, claim.token) for claim in claims])
        except Unavailable as error:
            self._engine.report(self._queue, error, "hand_back_failed")
