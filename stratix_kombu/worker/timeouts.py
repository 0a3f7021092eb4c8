"""Time-outs of handlers on threads: one thread for all jobs of a worker, started with the first that has one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("stratix_kombu.worker")


class Timeouts:
    """Calls a function when an attempt exceeds its timeout, unless the attempt has ended before."""

    def __init__(self, name: str) -> None:
        self._name = f"stratix-{name}-timeouts"
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ends: dict[str, tuple[float, Callable[[], None]]] = {}
        """By token: when, on the clock of ``time.monotonic``, and the function to call then."""
        self._wakes = 0.0
        """When the thread wakes next."""
        self._stopping = False

    def start(self) -> None:
        """Begin to watch, unless that was done. Raises RuntimeError if the system has no thread left."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            thread.start()
            self._thread = thread

    def add(self, token: str, seconds: float, end: Callable[[], None]) -> None:
        """Have ``end`` called in that many seconds; it does not block."""
        when = time.monotonic() + seconds
        with self._changed:
            self._ends[token] = (when, end)
            if when < self._wakes:
                self._changed.notify()

    def remove(self, token: str) -> None:
        """The attempt has ended."""
        with self._changed:
            self._ends.pop(token, None)

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                now = time.monotonic()
                over = [(token, end) for token, (when, end) in self._ends.items() if when <= now]
                for token, _ in over:
                    del self._ends[token]
                if not over:
                    first = min((when for when, _ in self._ends.values()), default=None)
                    self._wakes = float("inf") if first is None else first
                    # The longest wait that the system can do; a day or so later it looks again.
                    self._changed.wait(None if first is None else min(first - now, threading.TIMEOUT_MAX))
                    self._wakes = 0.0
            for token, end in over:
                try:
                    end()
                except Exception:
                    logger.exception("a time-out failed", extra={"action": "timeout_failed", "token": token})
