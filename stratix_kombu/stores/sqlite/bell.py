"""Waiting for what other processes write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from stratix_kombu import forks

POLL_S, QUIET_POLL_S = 0.01, 0.018
"""How often is looked whether another process has written, while somebody waits for that; and when nobody has written
for ``QUIET_S``."""
QUIET_S = 1.0


class Bell:
    """Rings after each transaction: of this process at once, of others when it is looked for. One of those who wait
    looks, for all of them, as long as it waits. ``version`` is another number when another connection has written."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._condition = threading.Condition()
        self._number = 0
        self._seen = -1
        self._looks = False
        self._rang_at = 0.0

    def after_fork(self) -> None:
        self._begin_anew()

    def ring(self) -> None:
        with self._condition:
            self._ring()

    def _ring(self) -> None:
        self._number += 1
        self._rang_at = time.monotonic()
        self._condition.notify_all()

    def changes(self) -> int:
        """A number that is another one after each transaction."""
        self._look()
        return self._number

    def _look(self) -> None:
        version = self._version()
        with self._condition:
            if version != self._seen:
                self._seen = version
                self._ring()

    def wait(self, seen: int, timeout: float) -> None:
        """Return when ``changes`` is another number than ``seen``, or after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        with self._condition:
            while self._looks and self._number == seen and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)
            if self._number != seen or time.monotonic() >= deadline:
                return
            self._looks = True
        try:
            self._keep_looking(seen, deadline)
        finally:
            with self._condition:
                self._looks = False
                self._condition.notify()

    def _keep_looking(self, seen: int, deadline: float) -> None:
        while (left := deadline - time.monotonic()) > 0:
            with self._condition:
                if self._number == seen:
                    is_quiet = time.monotonic() - self._rang_at > QUIET_S
                    self._condition.wait(min(left, QUIET_POLL_S if is_quiet else POLL_S))
                if self._number != seen:
                    return
            self._look()
