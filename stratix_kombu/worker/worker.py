"""The worker of one queue in this process."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from stratix_kombu import forks
from stratix_kombu.errors import StaleClaim, Unavailable
from stratix_kombu.lifecycle.claim import claim
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.hand_back import hand_back
from stratix_kombu.model.claims import Claimed
from stratix_kombu.model.record import Claim, Failure, Held, WorkerInfo
from stratix_kombu.worker.attempt import Attempts, Outcome, WorkerSettings
from stratix_kombu.worker.attempt_log import Running, log_cancelled, some
from stratix_kombu.worker.consumer import Consumer
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.handlers import Handlers
from stratix_kombu.worker.heartbeat import Heartbeat, Member
from stratix_kombu.worker.sandbox.turns import Turns
from stratix_kombu.worker.settler import Settler
from stratix_kombu.worker.slots import Slots
from stratix_kombu.worker.threads import ThreadExecutor
from stratix_kombu.worker.timeouts import Timeouts

__all__ = ["Worker", "WorkerSettings"]

logger = logging.getLogger("stratix_kombu.worker")

SETTLE_S = 10.0
"""How long a stop goes on trying to store outcomes while the store is away."""


class Worker:
    """Takes jobs of one queue and runs their handlers, ``concurrency`` at a time.

    A job's slot is free again when its handler has ended; its outcome is stored meanwhile, together with others.
    """

    def __init__(
        self, engine: Engine, queue: str, handlers: Handlers, settings: WorkerSettings,
        make_job: Callable[[Claim], Any], *, heartbeat: Heartbeat, loop: LoopExecutor | None = None,
    ) -> None:  # fmt: skip
        self.id = heartbeat.id
        self.queue = queue
        self._engine = engine
        self._held: dict[str, Held] = {}
        """By token: the claims whose outcome is not stored yet."""
        self._running: dict[str, Running] = {}
        """By token: the jobs whose handler has not ended."""
        self._opens: dict[str, float] = {}
        """By token: when a job may begin that was granted early, on the clock of ``time.monotonic``."""
        self._changed = threading.Condition()
        self._attempts = Attempts(queue, handlers, settings, make_job)
        self._slots = Slots(settings.concurrency)
        self._info = WorkerInfo(
            id=self.id, queue=queue, host=socket.gethostname(), pid=os.getpid(), concurrency=settings.concurrency
        )
        self._heartbeat = heartbeat
        self._lease_ms = heartbeat.lease_ms
        self._bounds = settings.bounds
        self._cancelled = settings.cancelled
        self._given_up: set[str] = set()
        """Tokens of attempts that have failed, were handed back or are lost while their handler goes on."""
        self._lost: set[str] = set()
        """Of those, the lost ones."""
        self._sandboxes = settings.sandboxes
        self._turns = Turns(settings.sandboxes.size if settings.sandboxes else 0, settings.concurrency)
        self._settler = Settler(engine, queue, self._settled)
        self._timeouts = Timeouts(queue)
        self._threads = ThreadExecutor(queue, settings.concurrency, self._run)
        self._own_loop = loop is None
        self._loop = loop or LoopExecutor()
        self._consumer = Consumer(
            engine, queue, self._slots, self._take, self._begin, partial(heartbeat.is_paused, queue),
            lease_s=self._lease_ms / 1000,
        )  # fmt: skip
        self._unstuck = time.monotonic()
        """When a slot was last seen free, or in use for a job."""

    @property
    def info(self) -> WorkerInfo:
        """What others see of it, as it is now."""
        waiting = self._turns.waiting()
        over = self._given_up | self._cancelled
        stuck = sum(token in over and token not in waiting for token in list(self._running))
        if stuck < self._slots.size:
            self._unstuck = time.monotonic()
        # While no slot can run anything it takes nothing, however sound its connection is.
        stuck_ms = int((time.monotonic() - self._unstuck) * 1000)
        return replace(self._info, idle_ms=max(self._consumer.idle_ms, stuck_ms), stuck=stuck)

    @property
    def active(self) -> int:
        """Jobs it holds: running, or with an outcome that is not stored yet."""
        return len(self._held)

    @property
    def running(self) -> list[Running]:
        """The jobs whose handler has not ended, and whose attempt is not over."""
        return [one for token, one in list(self._running.items()) if token not in self._given_up]

    def start(self) -> None:
        """Begin to take jobs. Does not wait for the broker: the consumer keeps trying. Raises RuntimeError if the
        system has no thread left; then nothing goes on."""
        try:
            self._heartbeat.join(
                self.queue, Member(lambda: self.info, self._to_renew, self._lose, self._cancel)
            )
            self._settler.start()
            self._consumer.start()
        except RuntimeError:
            self.stop(0)
            raise

    def stop(self, timeout: float | None = None) -> bool:
        """Take nothing more, wait for what runs (up to ``timeout`` seconds; None = without limit), and hand back the
        rest at once; whether everything had ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._consumer.stop()
        self._hand_back([one.token for one in self._turns.clear()])
        with self._changed:
            ended = self._changed.wait_for(
                lambda: not self._held, None if deadline is None else max(deadline - time.monotonic(), 0)
            )
        if not ended:
            self._give_up()
        self._consumer.join()
        self._threads.stop()
        self._timeouts.stop()
        if self._own_loop:
            self._loop.stop()
        self._settler.stop(SETTLE_S)
        self._heartbeat.leave(self.queue)
        return ended

    def _give_up(self) -> None:
        """What still runs is handed back; what can be ended is ended, before it begins somewhere else. The outcomes of
        what has ended are still being stored."""
        with self._changed:
            tokens = [token for token in self._running if token in self._held and token not in self._given_up]
            running = [self._running[token] for token in tokens]
            self._given_up.update(self._running)
        self._cancelled.update(tokens)  # what comes of their attempts now is no failure of theirs
        if self._sandboxes is not None:
            self._sandboxes.close()
        if tokens:
            extra = {"action": "handed_back", "queue": self.queue, "jobs": len(tokens)}
            logger.info("handing back what has not ended, to be run by another worker: %s", some(running), extra=extra)
        self._hand_back(tokens)
        for token in tokens:
            self._loop.cancel(token)

    def _hand_back(self, tokens: Sequence[str]) -> None:
        if not tokens:
            return
        rest = [self._held.pop(token) for token in tokens]
        try:
            hand_back(self._engine, rest)
        except Unavailable as error:
            self._engine.report(self.queue, error, "hand_back_failed")

    def _take(self, ids: Sequence[str], request: str) -> Claimed:
        return claim(self._engine, self.queue, ids, self.id, self._lease_ms, self._bounds, request=request)

    def _begin(self, claim: Claim) -> None:
        self._held[claim.token] = Held(claim.record.id, claim.token)
        self._running[claim.token] = Running(claim.record.id, claim.record.name, self.queue, time.monotonic())
        if claim.wait_ms:
            self._opens[claim.token] = time.monotonic() + claim.wait_ms / 1000
        try:
            self._launch(claim)
        except (RuntimeError, OSError, MemoryError) as problem:
            # The system has no thread or no descriptor left: another worker, or this one later, can begin the job.
            self._running.pop(claim.token)
            self._opens.pop(claim.token, None)
            self._hand_back([claim.token])
            self._slots.give()
            self._consumer.starve(problem)

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

    def _wait_s(self, claim: Claim) -> float:
        """How long the job's limit has it wait still. It holds its slot meanwhile, so nothing delays it then."""
        return max(self._opens.pop(claim.token, 0.0) - time.monotonic(), 0.0)

    def _run(self, claim: Claim) -> None:
        if claim.wait_ms:
            time.sleep(self._wait_s(claim))
        if self._attempts.is_sandboxed(claim):  # it ends in time by itself
            self._ended(self._attempts.run(claim), sandboxed=True)
            return
        seconds = self._attempts.timeout_s(claim)
        if seconds is None:
            self._ended(self._attempts.run(claim))
            return
        self._timeouts.add(claim.token, seconds, partial(self._time_out, claim))
        outcome = self._attempts.run(claim)
        self._timeouts.remove(claim.token)
        self._ended(outcome)

    def _time_out(self, claim: Claim) -> None:
        """The attempt fails now; the thread cannot be ended, and keeps its slot until it ends by itself."""
        with self._changed:
            if claim.token not in self._running or claim.token in self._lost:
                return
            self._given_up.add(claim.token)
        self._cancelled.add(claim.token)
        self._settler.put(self._attempts.timed_out(claim))

    async def _run_async(self, claim: Claim) -> None:
        self._ended(await self._attempts.run_async(claim, self._wait_s(claim)))

    def _ended(self, outcome: Outcome, sandboxed: bool = False) -> None:
        forks.end_if_forked(self._info.pid, int(isinstance(outcome, Failure)))
        with self._changed:
            self._running.pop(outcome.token, None)
            late, lost = outcome.token in self._given_up, outcome.token in self._lost
            self._given_up.discard(outcome.token)
            self._lost.discard(outcome.token)
        self._cancelled.discard(outcome.token)
        if lost:
            self._settled(outcome)
        elif not late:
            self._settler.put(outcome)
        following, slot_is_free = self._turns.end() if sandboxed else (None, True)
        if following is not None:
            self._threads.submit(following)  # this thread is free for it
        if slot_is_free:
            self._slots.give()

    def _settled(self, outcome: Outcome) -> None:
        self._held.pop(outcome.token, None)
        if not self._held:
            with self._changed:
                self._changed.notify_all()

    def _to_renew(self) -> list[Held]:
        return [one for one in list(self._held.values()) if one.token not in self._lost]

    def _lose(self, token: str) -> None:
        """The lease ran out while the handler runs. Its outcome is not offered to the store, which would refuse it."""
        with self._changed:
            running = self._running.get(token)
            if running is None or token not in self._held or token in self._given_up:
                return
            self._given_up.add(token)
            self._lost.add(token)
        self._engine.report(self.queue, StaleClaim(running.job_id), "lease_lost")
        self._end(token)

    def _cancel(self, token: str) -> None:
        """Somebody wants the job to end."""
        running = self._running.get(token)
        if running is not None and token not in self._cancelled:
            log_cancelled(running.job_id, running.name, self.queue)
            self._end(token)

    def _end(self, token: str) -> None:
        """Have the handler end, as far as it can be told."""
        self._cancelled.add(token)
        self._loop.cancel(token)
