"""The clock that leads, in memory."""

from __future__ import annotations

import threading


class Leader:
    """Which clock leads, until when, and when it must ask again. All under the lock."""

    def __init__(self, lock: threading.RLock) -> None:
        self.clock = ""
        self.until_ms = 0
        self.yields = False
        self._rests_ms = 0
        self._woken = False
        self._bell = threading.Condition(lock)

    def is_led(self, clock: str, now: int) -> bool:
        """Whether another clock than this one leads, and does not yield."""
        return self.clock not in ("", clock) and self.until_ms > now and not self.yields

    def take(self, clock: str, until_ms: int, rests_ms: int, yields: bool) -> None:
        """The clock leads from now on."""
        self.clock, self.until_ms, self.yields = clock, until_ms, yields
        self._rests_ms, self._woken = rests_ms, False

    def rest(self, clock: str, for_s: float) -> None:
        """Wait, unless it is woken."""
        self._bell.wait_for(lambda: self._woken or self.clock != clock, for_s)

    def wake(self, at_ms: int) -> None:
        """Something is due at that instant: the clock wakes if it rests for longer."""
        if at_ms < self._rests_ms:
            self._rests_ms, self._woken = at_ms, True
            self._bell.notify_all()

    def resign(self, clock: str) -> None:
        """It leads no longer, if it did."""
        if self.clock == clock:
            self.clock, self.yields, self._rests_ms = "", False, 0
            self._bell.notify_all()
