"""Stores outcomes: those that have piled up during one round trip go together with the next.

While a queue has work for all workers, the consumer asks for more jobs whenever some have finished, and stores their
results in the same call: see ``Settler.lend``."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

from stratix_kombu.errors import StaleClaim, Unavailable
from stratix_kombu.lifecycle.again import completed, refused
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.outcomes import complete, fail, postpone
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.model.record import Change, Completion, Failure, Held
from stratix_kombu.worker import pace
from stratix_kombu.worker.attempt import LateFailure, Outcome, Postponed
from stratix_kombu.worker.attempt_log import log_failure, log_without_effect
from stratix_kombu.worker.holdings import Holdings

logger = logging.getLogger("stratix_kombu.worker")

MAX_BATCH = 200

Kind = TypeVar("Kind", Completion, Failure, Postponed)


class Settler:
    """A thread that completes and fails jobs in batches, and keeps trying while the store is unreachable."""

    def __init__(self, engine: Engine, queue: str, holdings: Holdings) -> None:
        self._engine = engine
        self._queue = queue
        self._holdings = holdings
        self._outcomes: SimpleQueue[Outcome | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._causes = Causes()
        self._asked: set[str] = set()
        """Tokens of completions sent with a call whose answer was lost."""
        self._lends = False
        self._lent: deque[Completion] = deque()
        """The completions that wait for the consumer."""
        self._hindrance: Unavailable | None = None
        """Why the store has refused outcomes since it accepted some last."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Unless it runs. Raises RuntimeError if the system has no thread left."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=f"stratix-{self._queue}-settler", daemon=True)
            thread.start()
            self._thread = thread

    def put(self, outcome: Outcome, frees_slot: bool = False) -> None:
        """Have an outcome stored. ``frees_slot``: a slot is given back right after that, which wakes the consumer."""
        if not (self._lends and frees_slot and isinstance(outcome, Completion)):
            self._outcomes.put(outcome)
            return
        self._lent.append(outcome)
        if not self._lends:  # since it was asked
            self.lend(False)

    def check(self) -> None:
        """Raise Unavailable while outcomes cannot be stored: what was started now could not end either, even if the
        store lets it start."""
        if self._hindrance is not None:
            raise self._hindrance

    def room(self, slots: int) -> int:
        """How many more jobs may be started. While all slots are in use, as many outcomes as there are slots may be
        unstored: their jobs run again if the store never answers. If there is no room, return 0 once half of those are
        stored, or after ``pace.TEND_S`` seconds."""
        stored = self._holdings.stored
        room = 2 * slots + len(self._lent) - len(self._holdings)
        if room <= 0:
            self._holdings.wait_for_more_stored(stored + slots // 2, pace.TEND_S)
        return max(room, 0)

    # -- with the consumer's calls ----------------------------------------------------------------

    @property
    def lends(self) -> bool:
        """Whether completions wait for the consumer."""
        return self._lends

    def lend(self, lends: bool) -> None:
        """Set whether the consumer stores completions with its next take, which must follow as soon as a slot is free.
        If not, waiting ones are stored at once."""
        self._lends = lends
        while not lends and (batch := self.lent()):
            for completion in batch:
                self._outcomes.put(completion)

    def lent(self) -> list[Completion]:
        """The completions to be stored with a call; then ``stored`` or ``lost`` is to be called."""
        batch: list[Completion] = []
        with suppress(IndexError):
            while len(batch) < MAX_BATCH:
                batch.append(self._lent.popleft())
        return batch

    def stored(self, completions: Sequence[Completion], change: Change) -> None:
        """What that call has answered."""
        self._tell(completions, change.stale)
        dispatch_change(self._engine, change)

    def lost(self, completions: Sequence[Completion]) -> None:
        """The call has failed, so they may have been stored or not."""
        self._asked.update(one.token for one in completions)
        for completion in completions:
            self._outcomes.put(completion)

    def rest(self) -> None:
        """No outcome is expected: end the thread until it is started again."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._outcomes.put(None)
            thread.join()

    def stop(self, timeout: float) -> None:
        """Store what is left, for at most ``timeout`` seconds while the store is unreachable."""
        if self._thread is not None:
            self._outcomes.put(None)
            self._thread.join(timeout)
        self._stopping.set()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._next_batch()
            completions = [one for one in batch if isinstance(one, Completion)]
            failures = [one for one in batch if isinstance(one, Failure)]
            postponed = [one for one in batch if isinstance(one, Postponed)]
            if completions:
                self._settle(completions, self._complete)
            if failures:
                self._settle(failures, self._fail)
            if postponed:
                self._settle(postponed, self._postpone)

    def _complete(self, completions: Sequence[Completion]) -> Change:
        return complete(self._engine, completions)

    def _fail(self, failures: Sequence[Failure]) -> Change:
        return fail(self._engine, [one.plain() if isinstance(one, LateFailure) else one for one in failures])

    def _postpone(self, postponed: Sequence[Postponed]) -> Change:
        held = [Held(one.job_id, one.token) for one in postponed]
        return postpone(self._engine, self._queue, held, max(one.hold_ms for one in postponed))

    def _next_batch(self) -> tuple[list[Outcome], bool]:
        batch: list[Outcome] = []
        one = self._outcomes.get()
        while one is not None:
            batch.append(one)
            if len(batch) == MAX_BATCH:
                return batch, True
            try:
                one = self._outcomes.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _settle(self, outcomes: Sequence[Kind], step: Callable[[Sequence[Kind]], Change]) -> None:
        problem = self._try(outcomes, step)
        if problem is None:
            return
        # A bug of ours. One outcome must not affect the others; its job gets another attempt
        # when its lease ends.
        if len(outcomes) > 1:
            alone = [self._try([outcome], step, again=True) for outcome in outcomes]
            failed = [one for one in alone if one is not None]
            problem = failed[0] if failed else problem
        if self._causes.is_new(problem):
            extra = {"action": "settle_failed", "queue": self._queue}
            logger.error("outcomes cannot be stored", exc_info=problem, extra=extra)
            self._engine.report(self._queue, problem, "settle_failed")

    def _try(
        self, outcomes: Sequence[Kind], step: Callable[[Sequence[Kind]], Change], again: bool = False
    ) -> Exception | None:
        """Repeat the step while the store is unreachable; return any other error that it raises."""
        tries = 0
        problem: Exception | None = None
        while not self._stopping.is_set():
            try:
                asked = again or tries > 0 or any(outcome.token in self._asked for outcome in outcomes)
                stale = refused(self._engine, step(outcomes).stale, asked)
                self._hindrance = None
                self._engine.reached(self._queue, "settle_failed")
            except Unavailable as error:
                tries += 1
                self._hindrance = error
                self._engine.report(self._queue, error, "settle_failed")
                self._stopping.wait(pause_s(tries))
                continue
            except Exception as error:
                problem, self._hindrance = error, None
                break
            self._tell(outcomes, stale)
            return None
        if problem is None or len(outcomes) == 1:
            self._tell(outcomes, ())
        return problem

    def _tell(self, outcomes: Sequence[Outcome], stale: Sequence[str]) -> None:
        """The outcomes are stored, or no longer needed; those in ``stale`` were rejected."""
        done = self._tell_late([one for one in outcomes if isinstance(one, LateFailure)], stale)
        for job_id in stale:
            if job_id not in done:
                self._engine.report(self._queue, StaleClaim(job_id), "stale_claim")
        tokens = [outcome.token for outcome in outcomes]
        self._asked.difference_update(tokens)
        self._holdings.note_stored(*tokens)

    def _tell_late(self, late: Sequence[LateFailure], stale: Sequence[str]) -> set[str]:
        """Log what these handlers have come to; those that had completed their jobs before."""
        rejected = [one.job_id for one in late if one.job_id in stale]
        done: set[str] = set()
        with suppress(Unavailable):
            done = completed(self._engine, rejected) if rejected else done
        for one in late:
            if one.job_id in done:
                log_without_effect(one.record, one, one.raised)
            elif not one.is_known:
                log_failure(one.record, one, one.raised)
        return done
