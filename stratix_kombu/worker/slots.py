"""How many more jobs a worker may take."""

from __future__ import annotations

import threading


class Slots:
    """A counter one thread waits on. Taking is the consumer's alone; any thread gives back."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._changed = threading.Condition(threading.Lock())
        self._wanted = 0
        """How many free ones the thread waits for; 0 = it does not wait."""

    def wait(self, timeout: float, gather_s: float = 0.0) -> int:
        """Free slots, once there is one and then ``gather_s`` seconds have passed or all are free; 0 after ``timeout``
        seconds without."""
        with self._changed:
            self._wait_for(1, timeout)
            if self._free and gather_s > 0:
                self._wait_for(self.size, gather_s)
            return self._free

    def _wait_for(self, wanted: int, timeout: float) -> None:
        if self._free < wanted:
            self._wanted = wanted
            self._changed.wait(timeout)
            self._wanted = 0

    def occupy(self, count: int) -> None:
        with self._changed:
            self._free -= count

    def give(self) -> None:
        with self._changed:
            self._free += 1
            if 0 < self._wanted <= self._free:
                self._changed.notify()

    @property
    def used(self) -> int:
        return self.size - self._free

    def wake(self) -> None:
        """End a wait early."""
        with self._changed:
            self._changed.notify()
