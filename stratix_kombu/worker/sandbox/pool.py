"""The children of one queue in this process: kept warm, handed out first come first served."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from stratix_kombu.config.options import ProcessorOptions
from stratix_kombu.errors import JobCancelled
from stratix_kombu.model.middleware import Middleware
from stratix_kombu.worker.sandbox import family
from stratix_kombu.worker.sandbox.memory import MB
from stratix_kombu.worker.sandbox.process import Sandbox
from stratix_kombu.worker.sandbox.protocol import SandboxFailure, SandboxGone, SandboxStarved, frame_limit
from stratix_kombu.worker.sandbox.source import Source
from stratix_kombu.worker.sandbox.supervision import Supervision, Terms

CANCEL_POLL_S = 0.25
CLOSE_S = 5.0
STARVED_S = 1.0
MOST_LITTER = 100
"""A child that has adopted this many zombies is replaced: it does not reap them, since a handler may do that."""


class SandboxPool:
    """At most ``size`` children, started when they are needed. Each queue has its own, so none waits for another."""

    def __init__(
        self, queue: str, size: int, options: ProcessorOptions, max_payload_bytes: int, middleware: Middleware
    ) -> None:
        self.size = size
        self._queue = queue
        self._options = options
        self._max_payload_bytes = max_payload_bytes
        self._middleware = middleware
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._running = 0
        self._busy: set[Sandbox] = set()
        self._idle: list[Sandbox] = []
        self._closed = False
        self._others: dict[ProcessorOptions, SandboxPool] = {}

    @property
    def options(self) -> ProcessorOptions:
        """How long its jobs may take, and how much memory they may use."""
        return self._options

    def limited(self, options: ProcessorOptions) -> SandboxPool:
        """The children of this queue that have these limits. They are closed together with this pool."""
        if options == self._options:
            return self
        with self._changed:
            if options not in self._others:
                made = SandboxPool(self._queue, self.size, options, self._max_payload_bytes, self._middleware)
                made._closed = self._closed
                self._others[options] = made
            return self._others[options]

    def run(self, source: Source, job: Any, seconds: float | None, terms: Terms | None = None) -> str:
        """Run a job's handler in a child, for at most ``seconds``; its result as JSON. With ``terms``: a task.

        Waits for a free child. Raises SandboxFailure, RateLimited, and JobCancelled if the job is cancelled before it
        has started."""
        around = self._middleware.sandbox if terms is None else ()
        what = f"the result of job {job.name!r} in queue {self._queue!r}"
        while True:
            sandbox = self._take(job)
            try:
                supervision = Supervision(sandbox, job, self._options, seconds, terms)
                return supervision.run(source, around, what, self._max_payload_bytes)
            except SandboxGone:  # a new one cannot be
                continue
            except SandboxStarved:
                self._wait()
                raise
            finally:
                self._give(sandbox)

    def close(self) -> None:
        """Kill the children that run jobs, let the idle ones end, and wait until all have exited."""
        with self._changed:
            self._closed = True
            busy, idle, others = list(self._busy), list(self._idle), list(self._others.values())
            self._idle.clear()
            self._changed.notify_all()
        for other in others:
            other.close()
        for sandbox in busy:
            sandbox.strike()
        for sandbox in idle:
            sandbox.hang_up()
        for sandbox in idle:
            sandbox.dismiss()
        with self._changed:
            self._changed.wait_for(lambda: not self._running, CLOSE_S)

    def _take(self, job: Any) -> Sandbox:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not job.cancelled and not self._changed.wait_for(lambda: self._is_turn(ticket), CANCEL_POLL_S):
                    pass
                if job.cancelled:
                    raise JobCancelled(job.id)
                if self._closed:
                    raise SandboxFailure("the worker is being closed")
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            self._running += 1
        try:
            sandbox = self._warm() or Sandbox(
                self._queue, frame_limit(self._max_payload_bytes), self._options.max_memory_usage
            )
        except BaseException as problem:
            if isinstance(problem, SandboxStarved):
                self._wait()
            self._leave()
            raise
        with self._changed:
            self._busy.add(sandbox)
            if self._closed:
                sandbox.strike()
        return sandbox

    def _wait(self) -> None:
        """Wait a moment before the job goes back, since it will be taken again at once."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed, STARVED_S)

    def _is_turn(self, ticket: object) -> bool:
        return self._closed or (self._waiting[0] is ticket and self._running < self.size)

    def _warm(self) -> Sandbox | None:
        """The one that was used last, so that the others' memory can be swapped out."""
        while True:
            with self._changed:
                if not self._idle:
                    return None
                sandbox = self._idle.pop()
            if not sandbox.exited():
                return sandbox
            sandbox.kill()

    def _give(self, sandbox: Sandbox) -> None:
        fit = sandbox.fit and not self._hoards(sandbox) and family.litter(sandbox.pid) < MOST_LITTER
        if not fit:
            sandbox.kill()
        with self._changed:
            self._busy.discard(sandbox)
            if fit and not self._closed:
                self._idle.append(sandbox)
                fit = False
        if fit:
            sandbox.dismiss()
        self._leave()

    def _leave(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def _hoards(self, sandbox: Sandbox) -> bool:
        """Whether earlier jobs have left so much in memory that the next one would exceed the limit."""
        most = self._options.max_memory_usage * MB
        return bool(most) and sandbox.used > (sandbox.at_rest + most) / 2
