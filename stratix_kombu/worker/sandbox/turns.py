"""Which sandboxed jobs of a worker run now, when it may run more jobs than it may have children."""

from __future__ import annotations

import threading
from collections import deque

from stratix_kombu.worker.attempt import Attempt


class Turns:
    """At most ``most`` jobs run; up to ``most_waiting`` others wait without a slot, so that jobs on threads can still
    run. The slot of a finished job passes to the job that has waited longest."""

    def __init__(self, most: int, most_waiting: int) -> None:
        self._free = most
        self._most_waiting = most_waiting
        self._waiting: deque[Attempt] = deque()
        self._keeping: set[str] = set()
        """Tokens of waiting jobs that keep their slots, because too many are waiting."""
        self._lock = threading.Lock()

    def begin(self, attempt: Attempt) -> tuple[bool, bool]:
        """Whether the job runs now, and whether it keeps its slot."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True, True
            keeps = len(self._waiting) >= self._most_waiting
            if keeps:
                self._keeping.add(attempt.token)
            self._waiting.append(attempt)
            return False, keeps

    def end(self) -> tuple[Attempt | None, bool]:
        """A job has finished: return the one that runs next, if there is one, and whether a slot is free."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return None, True
            attempt = self._waiting.popleft()
            frees = attempt.token in self._keeping
            self._keeping.discard(attempt.token)
            return attempt, frees

    def waiting(self) -> set[str]:
        """Tokens of those that wait."""
        with self._lock:
            return {one.token for one in self._waiting}

    def clear(self) -> list[Attempt]:
        """Forget those that wait."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
            return waiting
