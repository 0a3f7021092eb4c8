"""Rate limits: an exact bound, and about one deferral a job.

What was started is the truth: a start is allowed only if the starts before it leave room. Slots only spread those who
have to come back: each refused job gets the next one in virtual time, so they do not return together. A slot is a hint
when to try, not a right to run. Starts are always a little later than their slots, so slots lie a little farther apart
than the limit says (``SLACK``), and who still comes too early waits for the room of one certain earlier start.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from typing import Protocol

from stratix_kombu.model.record import Limit

SLACK = 0.02


class Instants(Protocol):
    """Starts, or slots: when the next one may be, and that one was."""

    def free_at(self, limit: Limit, now: int, ahead: int = 0) -> int:
        """When there is room for one more, or for that many more before it."""

    def remember(self, instant: int, limit: Limit, now: int) -> None: ...


class Window:
    """The last ``max`` instants: the next one is a duration after the one ``max`` ago, so no window holds more."""

    def __init__(self) -> None:
        self._instants: list[int] = []

    def free_at(self, limit: Limit, now: int, ahead: int = 0) -> int:
        held = self._instants
        place = min(ahead, limit.max - 1) - limit.max
        return held[place] + limit.duration_ms if len(held) >= -place else 0

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        insort(self._instants, instant)
        del self._instants[: -limit.max]


class Bucket:
    """A token bucket as one number (GCRA): the instant at which it would be full again."""

    def __init__(self) -> None:
        self._full_at: float | None = None

    def free_at(self, limit: Limit, now: int, ahead: int = 0) -> int:
        step = 1000 / limit.refill_per_s
        return math.ceil(self._full(limit, now) - (limit.max - 1 - ahead) * step)

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        self._full_at = max(self._full(limit, now), instant) + 1000 / limit.refill_per_s

    def _full(self, limit: Limit, now: int) -> float:
        if self._full_at is None:
            missing = limit.max - (limit.max if limit.initial is None else limit.initial)
            self._full_at = now + missing * 1000 / limit.refill_per_s
        return self._full_at


class LimitLog:
    """The starts and the slots under one key."""

    def __init__(self, limit: Limit) -> None:
        kind: Callable[[], Instants] = Bucket if limit.refill_per_s else Window
        self._starts = kind()
        self._slots = kind()
        self._retries: list[int] = []
        """When those will try again who came to their slot too early."""

    def free_at(self, now: int, limit: Limit, reserved: bool) -> int:
        """0 if a start is allowed now, else the first instant at which the next one may be."""
        free = self._starts.free_at(limit, now)
        if not reserved:
            free = max(free, self._slots.free_at(limit, now))
        return 0 if free <= now else free

    def reserve(self, now: int, limit: Limit, reserved: bool) -> int:
        """Hand out the next slot; who had one already gets the room of the next start that is not spoken for."""
        if reserved:
            self._retries = [one for one in self._retries if one > now]
            slot = max(now + 1, self._starts.free_at(limit, now, len(self._retries)))
            self._retries.append(slot)
            return slot
        slot = max(now + 1, self._slots.free_at(limit, now) + _slack(limit), self._starts.free_at(limit, now))
        self._slots.remember(slot, limit, now)
        return slot

    def start(self, now: int, limit: Limit, reserved: bool) -> None:
        """Count a start."""
        self._starts.remember(now, limit, now)
        if not reserved:
            self._slots.remember(now, limit, now)


def _slack(limit: Limit) -> int:
    return math.ceil(SLACK * (1000 / limit.refill_per_s if limit.refill_per_s else limit.duration_ms))
