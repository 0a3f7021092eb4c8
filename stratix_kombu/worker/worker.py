"""The worker of one queue in this process. A job's way through it: a receiver delivers a permit, the consumer takes
jobs from the store, the runner runs their handlers, and the settler stores their outcomes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.record import Claim, WorkerInfo
from stratix_kombu.worker.attempt import Attempt, Attempts, WorkerSettings
from stratix_kombu.worker.attempt_log import Running
from stratix_kombu.worker.consumer import Consumer
from stratix_kombu.worker.coroutines import LoopExecutor
from stratix_kombu.worker.handlers import Handlers
from stratix_kombu.worker.heartbeat import Heartbeat, Member
from stratix_kombu.worker.holdings import Holdings
from stratix_kombu.worker.natives import Natives, TaskHost
from stratix_kombu.worker.runner import Runner
from stratix_kombu.worker.settler import Settler
from stratix_kombu.worker.slots import Slots
from stratix_kombu.worker.watch import Watch

__all__ = ["Worker", "WorkerSettings"]

SETTLE_S = 10.0
"""How long stopping keeps trying to store outcomes while the store is unreachable."""


class Worker:
    """Takes jobs of one queue and runs their handlers, ``concurrency`` at a time."""

    def __init__(
        self,
        engine: Engine,
        queue: str,
        handlers: Handlers,
        settings: WorkerSettings,
        make_job: Callable[[Claim], Any],
        *,
        heartbeat: Heartbeat,
        watch: Watch,
        loop: LoopExecutor | None = None,
        tasks: TaskHost | None = None,
    ) -> None:
        self.id = heartbeat.id
        self.queue = queue
        self._slots = Slots(settings.concurrency)
        self._info = WorkerInfo(
            id=self.id, queue=queue, host=socket.gethostname(), pid=os.getpid(), concurrency=settings.concurrency
        )
        self._own_loop = loop is None
        self._loop = loop or LoopExecutor()
        self._holdings = Holdings()
        self._settler = Settler(engine, queue, self._holdings)
        attempts = Attempts(queue, handlers, settings, make_job)
        self._runner = Runner(
            engine,
            queue,
            attempts,
            settings,
            holdings=self._holdings,
            slots=self._slots,
            settler=self._settler,
            loop=self._loop,
        )
        self._heartbeat = heartbeat
        self._consumer = Consumer(
            engine,
            queue,
            settings.bounds,
            slots=self._slots,
            holdings=self._holdings,
            runner=self._runner,
            heartbeat=heartbeat,
            settler=self._settler,
            watch=watch,
            natives=Natives(engine, queue, settings.bounds, heartbeat, attempts, tasks) if tasks is not None else None,
        )
        self._unstuck = time.monotonic()
        """When a slot was last seen free, or in use for a job."""

    @property
    def info(self) -> WorkerInfo:
        """What others see of it, as it is now."""
        stuck = self._runner.stuck()
        if stuck < self._slots.size:
            self._unstuck = time.monotonic()
        # While no slot can run anything it takes nothing, even if its connection works.
        stuck_ms = int((time.monotonic() - self._unstuck) * 1000)
        return replace(self._info, idle_ms=max(self._consumer.idle_ms, stuck_ms), stuck=stuck)

    @property
    def active(self) -> int:
        """Jobs it holds: running, or with an outcome that is not stored yet."""
        return len(self._holdings)

    @property
    def running(self) -> list[Running]:
        """The jobs whose handler is running and whose attempt is not over."""
        return self._holdings.all_running()

    @property
    def attempts(self) -> list[Attempt]:
        """The attempts whose handler has not finished."""
        return self._runner.attempts

    def start(self) -> None:
        """Start taking jobs. Does not wait for the broker: the consumer keeps trying. Raises RuntimeError if the system
        cannot start a thread; then nothing is running."""
        try:
            runner = self._runner
            member = Member(lambda: self.info, self._holdings.to_renew, runner.lose, runner.cancel)
            self._heartbeat.join(self.queue, member)
            self._consumer.start()
        except RuntimeError:
            self.stop(0)
            raise

    def stop_taking(self) -> None:
        """Take nothing more; what runs goes on. Called before ``stop``."""
        self._consumer.stop()

    def hurry(self) -> None:
        """Have ``stop``, now or later, hand back at once what runs."""
        self._holdings.hurried = True
        self._holdings.wake()

    def stop(self, timeout: float | None = None) -> bool:
        """Take nothing more, wait for running jobs (up to ``timeout`` seconds; None = no limit), and hand back the rest
        at once; return whether all had finished."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.stop_taking()
        self._runner.drop_waiting()
        ended = self._holdings.wait_until_empty(None if deadline is None else max(deadline - time.monotonic(), 0))
        if not ended:
            self._runner.give_up()
        self._consumer.join()
        self._runner.stop()
        if self._own_loop:
            self._loop.stop()
        self._settler.stop(SETTLE_S)
        self._heartbeat.leave(self.queue)
        return ended
