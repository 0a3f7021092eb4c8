"""Runs the handlers of what a worker has taken."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from functools import partial

from stratix_kombu import forks
from stratix_kombu.errors import StaleClaim, Unavailable
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.hand_back import hand_back
from stratix_kombu.model.record import Claim, Failure
from stratix_kombu.worker.attempt import Attempts, Outcome, WorkerSettings
from stratix_kombu.worker.attempt_log import log_cancelled, some
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.holdings import Holdings
from stratix_kombu.worker.sandbox.turns import Turns
from stratix_kombu.worker.settler import Settler
from stratix_kombu.worker.slots import Slots
from stratix_kombu.worker.threads import ThreadExecutor
from stratix_kombu.worker.timeouts import Timeouts

logger = logging.getLogger("stratix_kombu.worker")


class Runner:
    """Plain functions on threads, ``async def`` ones on the loop, sandboxed ones in children.

    A job's slot is free again when its handler has ended; its outcome goes to the settler, and is stored meanwhile,
    together with others.
    """

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
        self._cancelled = settings.cancelled
        self._pid = os.getpid()
        self._opens: dict[str, float] = {}
        """By token: when a job may begin that was granted early, on the clock of ``time.monotonic``."""
        self._turns = Turns(settings.sandboxes.size if settings.sandboxes else 0, settings.concurrency)
        self._timeouts = Timeouts(queue)
        self._threads = ThreadExecutor(queue, settings.concurrency, self._run)

    # -- from the claim to the outcome ------------------------------------------------------------

    def begin(self, claim: Claim) -> Exception | None:
        """Have the handler called. If the system has no thread or descriptor left for it, the job is handed back, so
        that another worker or this one later can begin it; the problem."""
        self._holdings.add(claim)
        if claim.wait_ms:
            self._opens[claim.token] = time.monotonic() + claim.wait_ms / 1000
        try:
            self._launch(claim)
        except (RuntimeError, OSError, MemoryError) as problem:
            self._opens.pop(claim.token, None)
            self._holdings.not_begun(claim.token)
            self.hand_back([claim.token])
            self._slots.give()
            return problem
        return None

    def _launch(self, claim: Claim) -> None:
        """Nothing of it is done when it raises."""
        if self._attempts.is_async(claim):
            self._loop.submit(claim, self._run_async)
            return
        self._threads.grow(self._slots.used)
        if self._attempts.is_sandboxed(claim):
            runs, keeps_slot = self._turns.begin(claim)
            if not keeps_slot:
                self._slots.give()
            if not runs:
                return
        elif self._attempts.timeout_s(claim) is not None:
            self._timeouts.start()
        self._threads.submit(claim)

    def _run(self, claim: Claim) -> None:
        """On a thread."""
        if claim.wait_ms:
            time.sleep(self._wait_s(claim))
        outcome = self._attempts.run_in_time(claim, self._timeouts, partial(self._time_out, claim))
        self._ended(outcome, self._attempts.is_sandboxed(claim))

    async def _run_async(self, claim: Claim) -> None:
        """On the loop."""
        self._ended(await self._attempts.run_async(claim, self._wait_s(claim)))

    def _wait_s(self, claim: Claim) -> float:
        """How long the job's limit has it wait still. It holds its slot meanwhile, so nothing delays it then."""
        return max(self._opens.pop(claim.token, 0.0) - time.monotonic(), 0.0)

    def _ended(self, outcome: Outcome, sandboxed: bool = False) -> None:
        forks.end_if_forked(self._pid, int(isinstance(outcome, Failure)))
        late, lost = self._holdings.ended(outcome.token)
        self._cancelled.discard(outcome.token)
        if lost:
            self._holdings.stored_one(outcome.token)
        elif not late:
            self._settler.put(outcome)
        following, slot_is_free = self._turns.end() if sandboxed else (None, True)
        if following is not None:
            self._threads.submit(following)  # this thread is free for it
        if slot_is_free:
            self._slots.give()

    # -- what ends an attempt before its handler --------------------------------------------------

    def _time_out(self, claim: Claim) -> None:
        """The attempt fails now; the thread cannot be ended, and keeps its slot until it ends by itself."""
        if self._holdings.give_up(claim.token):
            self._cancelled.add(claim.token)
            self._settler.put(self._attempts.timed_out(claim))

    def lose(self, token: str) -> None:
        """The lease ran out while the handler runs. Its outcome is not offered to the store, which would refuse it."""
        running = self._holdings.lose(token)
        if running is not None:
            self._engine.report(self._queue, StaleClaim(running.job_id), "lease_lost")
            self._end(token)

    def cancel(self, token: str) -> None:
        """Somebody wants the job to end."""
        running = self._holdings.running(token)
        if running is not None and token not in self._cancelled:
            log_cancelled(running.job_id, running.name, self._queue)
            self._end(token)

    def _end(self, token: str) -> None:
        """Have the handler end, as far as it can be told."""
        self._cancelled.add(token)
        self._loop.cancel(token)

    # -- the end of the worker --------------------------------------------------------------------

    def drop_waiting(self) -> None:
        """Hand back what waits for a child."""
        self.hand_back([one.token for one in self._turns.clear()])

    def give_up(self) -> None:
        """What still runs is handed back; what can be ended is ended, before it begins somewhere else. The outcomes of
        what has ended are still being stored."""
        running = self._holdings.give_up_all()
        self._cancelled.update(running)  # what comes of their attempts now is no failure of theirs
        if self._sandboxes is not None:
            self._sandboxes.close()
        if running:
            extra = {"action": "handed_back", "queue": self._queue, "jobs": len(running)}
            jobs = some(list(running.values()))
            logger.info("handing back what has not ended, to be run by another worker: %s", jobs, extra=extra)
        self.hand_back([*running])
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
        return self._holdings.stuck(self._cancelled, self._turns.waiting())
