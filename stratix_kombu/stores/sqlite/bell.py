"""Waiting for what other processes write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from stratix_kombu import forks

POLL_S = 0.01
"""How often is looked whether another process has written, while somebody waits for that."""


class Bell:
    """Rings after each transaction: of this process at once, of others when it is looked for. One of those who wait
    looks, for all of them. ``version`` is another number when another connection has written."""

    def __init__(self, version: Callable[[], int]) -> None:
        self._version = version
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._condition = threading.Condition()
        self._number = 0
        self._seen = -1
        self._looks = False

    def after_fork(self) -> None:
        self._begin_anew()

    def ring(self) -> None:
        with self._condition:
            self._number += 1
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
                self._number += 1
                self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> None:
        """Return when ``changes`` is another number than ``seen``, or after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            with self._condition:
                if self._number != seen:
                    return
                if self._looks:
                    self._condition.wait(left)
                    continue
                self._looks = True
            try:
                with self._condition:
                    if self._number == seen:
                        self._condition.wait(min(left, POLL_S))
                self._look()
            finally:
                with self._condition:
                    self._looks = False
                    self._condition.notify()
