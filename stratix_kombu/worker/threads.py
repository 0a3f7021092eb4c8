"""Plain handlers run on threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from stratix_kombu.worker.attempt import Attempt


class ThreadExecutor:
    """Up to ``size`` daemon threads, started as they are needed.

    Handing jobs to threads limits a worker of short jobs, so this is one C-level queue without futures: a thread that
    finds the queue filled continues without being woken."""

    def __init__(self, name: str, size: int, run: Callable[[Attempt], None]) -> None:
        self._name = name
        self._size = size
        self._run = run
        self._queue: SimpleQueue[Attempt | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def grow(self, running: int) -> None:
        """Ensure a thread for each of ``running`` attempts. Raises RuntimeError if the system cannot start one."""
        if running > len(self._threads) and len(self._threads) < self._size:
            name = f"stratix-{self._name}-{len(self._threads) + 1}"
            thread = threading.Thread(target=self._work, args=(self._queue,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def submit(self, attempt: Attempt) -> None:
        """Run an attempt as soon as a thread is free."""
        self._queue.put(attempt)

    def stop(self) -> None:
        """Let idle threads end; busy ones end after their job."""
        for _ in self._threads:
            self._queue.put(None)

    def rest(self) -> None:
        """Nothing runs: let all threads end, until there are attempts again."""
        self.stop()
        self._queue, self._threads = SimpleQueue(), []

    def _work(self, queue: SimpleQueue[Attempt | None]) -> None:
        while (attempt := queue.get()) is not None:
            self._run(attempt)
