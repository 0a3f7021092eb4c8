"""Runs the handlers of what a worker has taken."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence

from stratix_kombu import forks
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.outcomes import hand_back
from stratix_kombu.model.record import Claim, Failure
from stratix_kombu.worker.attempt import Attempt, Attempts, Outcome, WorkerSettings
from stratix_kombu.worker.attempt_log import some
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.endings import Endings
from stratix_kombu.worker.holdings import Holdings
from stratix_kombu.worker.sandbox.turns import Turns
from stratix_kombu.worker.settler import Settler
from stratix_kombu.worker.slots import Slots
from stratix_kombu.worker.threads import ThreadExecutor
from stratix_kombu.worker.timeouts import Timeouts

logger = logging.getLogger("stratix_kombu.worker")


class Runner:
    """Plain functions on threads, ``async def`` ones on the loop, sandboxed ones in children.

    A job's slot is free again as soon as its handler has returned; the outcome goes to the settler, and is stored
    together with others."""

    def __init__(
        self,
        engine: Engine,
        queue: str,
        attempts: Attempts,
        settings: WorkerSettings,
        *,
        holdings: Holdings,
        slots: Slots,
        settler: Settler,
        loop: LoopExecutor,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._attempts = attempts
        self._holdings = holdings
        self._slots = slots
        self._settler = settler
        self._loop = loop
        self._sandboxes = settings.sandboxes
        self._cancellations = engine.cancellations
        self.endings = Endings(engine, queue, holdings, loop)
        self._pid = os.getpid()
        self._opens: dict[str, float] = {}
        """By token: when a job that was granted early may start, on the clock of ``time.monotonic``."""
        self._begun: dict[str, Attempt] = {}
        """By token: the attempts whose handler has not finished."""
        self._turns = Turns(settings.sandboxes.size if settings.sandboxes else 0, settings.concurrency)
        self._timeouts = Timeouts(queue)
        self._threads = ThreadExecutor(queue, settings.concurrency, self._run)

    @property
    def attempts(self) -> list[Attempt]:
        """Those whose handler has not finished."""
        return list(self._begun.values())

    # -- from the claim to the outcome ------------------------------------------------------------

    def begin_all(self, claims: Sequence[Claim]) -> Exception | None:
        """Have the handlers of these called; why some could not begin."""
        return self.begin([self._attempts.of(claim) for claim in claims])

    def begin(self, attempts: Sequence[Attempt]) -> Exception | None:
        """The same for attempts. There is a slot for each."""
        self._slots.occupy(len(attempts))
        problems = [self._begin(attempt) for attempt in attempts]
        return next((problem for problem in problems if problem is not None), None)

    def _begin(self, attempt: Attempt) -> Exception | None:
        """If the system has no thread or descriptor left for it, the job is handed back, so that another worker or this
        one can start it later; returns the problem."""
        claim = attempt.claim
        self._holdings.add(claim, attempt.is_leased)
        self._begun[claim.token] = attempt
        if claim.wait_ms:
            self._opens[claim.token] = time.monotonic() + claim.wait_ms / 1000
        try:
            self._launch(attempt)
        except (RuntimeError, OSError, MemoryError) as problem:
            self._opens.pop(claim.token, None)
            self._begun.pop(claim.token, None)
            self._holdings.not_begun(claim.token)
            self.hand_back([claim.token])
            self._slots.give()
            return problem
        return None

    def _launch(self, attempt: Attempt) -> None:
        """Nothing of it is done when it raises."""
        if attempt.is_async:
            self._loop.submit(attempt, self._run_async)
            return
        self._threads.grow(self._slots.used)
        if attempt.is_sandboxed:
            runs, keeps_slot = self._turns.begin(attempt)
            if not keeps_slot:
                self._slots.give()
            if not runs:
                return
        elif attempt.needs_timeouts:
            self._timeouts.start()
        self._threads.submit(attempt)

    def _run(self, attempt: Attempt) -> None:
        """On a thread."""
        if attempt.claim.wait_ms:
            time.sleep(self._wait_s(attempt))
        self._ended(attempt, attempt.run_in_time(self._timeouts, self._time_out))

    async def _run_async(self, attempt: Attempt) -> None:
        """On the loop."""
        self._ended(attempt, await attempt.run_async(self._wait_s(attempt)))

    def _wait_s(self, attempt: Attempt) -> float:
        """How long the job's limit has it wait still. It holds its slot meanwhile, so nothing delays it then."""
        return max(self._opens.pop(attempt.token, 0.0) - time.monotonic(), 0.0)

    def cancel(self, token: str) -> None:
        """Somebody wants the job to end: see ``Endings.cancel``; an attempt that can be interrupted is."""
        attempt = self._begun.get(token)
        if attempt is not None:
            attempt.interrupt()
        self.endings.cancel(token)

    def lose(self, token: str) -> None:
        """The lease is over: see ``Endings.lose``."""
        attempt = self._begun.get(token)
        if attempt is not None:
            attempt.lost()
        self.endings.lose(token)

    def _time_out(self, attempt: Attempt) -> None:
        """The attempt fails now."""
        failure = self.endings.time_out(attempt)
        if failure is not None:
            self._settler.put(failure)

    def _ended(self, attempt: Attempt, outcome: Outcome | None) -> None:
        """None: its outcome is stored, or nobody wants it."""
        forks.end_if_forked(self._pid, int(isinstance(outcome, Failure)))
        self._begun.pop(attempt.token, None)
        late, lost = self.endings.ended(attempt.token)
        following, slot_is_free = self._turns.end() if attempt.is_sandboxed else (None, True)
        if lost or outcome is None:
            self._holdings.note_stored(attempt.token)
        elif not late:
            self._settler.put(outcome, slot_is_free)
        if following is not None:
            self._threads.submit(following)  # this thread is free for it
        if slot_is_free:
            self._slots.give()

    # -- the end of the worker --------------------------------------------------------------------

    def drop_waiting(self) -> None:
        """Hand back the jobs that wait for a child."""
        self.hand_back([one.token for one in self._turns.clear()])

    def give_up(self) -> None:
        """Hand back the jobs that are still running; handlers that can be stopped are stopped before the jobs start
        elsewhere. Outcomes of finished jobs are still stored."""
        running = self._holdings.give_up_all()
        for token in running:
            self._cancellations.ask(token)  # whatever their handlers do now must not count as a failure
        if self._sandboxes is not None:
            self._sandboxes.close()
        if running:
            extra = {"action": "handed_back", "queue": self._queue, "jobs": len(running)}
            jobs = some(list(running.values()))
            logger.info("handing back unfinished jobs, to be run by another worker: %s", jobs, extra=extra)
        abandoned = [self._begun[one].abandoned() for one in running if one in self._begun]
        failed = {one.token: one for one in abandoned if one is not None}
        for failure in failed.values():
            self._settler.put(failure)
        self.hand_back([one for one in running if one not in failed])
        for token in running:
            self._loop.cancel(token)

    def rest(self) -> None:
        """Nothing runs: end all threads until there are claims again."""
        self._threads.rest()
        self._timeouts.stop()
        self._timeouts = Timeouts(self._queue)

    def stop(self) -> None:
        """End idle threads."""
        self._threads.stop()
        self._timeouts.stop()

    def hand_back(self, tokens: Sequence[str]) -> None:
        """Give other workers what these claims hold."""
        if not tokens:
            return
        try:
            hand_back(self._engine, self._holdings.release(tokens))
        except Unavailable as error:
            self._engine.report(self._queue, error, "hand_back_failed")

    def stuck(self) -> int:
        """Slots held by handlers whose attempt is over."""
        return self._holdings.stuck(self._cancellations, self._turns.waiting())
