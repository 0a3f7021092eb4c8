"""How many more jobs a worker may take."""

from __future__ import annotations

import threading


class Slots:
    """A counter one thread waits on. Taking is the consumer's alone; any thread gives back."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._changed = threading.Condition(threading.Lock())
        self._waiting = False

    def wait(self, timeout: float) -> int:
        """Free slots, once there is one; 0 after ``timeout`` seconds without."""
        with self._changed:
            if not self._free:
                self._waiting = True
                self._changed.wait(timeout)
                self._waiting = False
            return self._free

    def occupy(self, count: int) -> None:
        with self._changed:
            self._free -= count

    def give(self) -> None:
        with self._changed:
            self._free += 1
            if self._waiting:
                self._changed.notify()

    @property
    def used(self) -> int:
        return self.size - self._free

    def wake(self) -> None:
        """End a wait early."""
        with self._changed:
            self._changed.notify()
