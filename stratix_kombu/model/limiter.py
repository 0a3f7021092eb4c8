"""Window limits: an exact bound, and about one deferral a job."""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field


@dataclass(slots=True)
class WindowLog:
    """The last ``max`` starts, and the last ``max`` instants handed out as slots (or used without one).

    The starts are the truth: a start at t is allowed only if the one ``max`` ago is at least a duration old, so no
    window ever holds more than ``max``. Slots only spread those who have to come back: each refused job gets the
    next one in virtual time, so they do not return together. A slot is a hint when to try, not a right to run.
    """

    starts: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)

    def try_at(self, now: int, max_starts: int, duration: int, reserved: bool) -> int:
        """0 if a start at ``now`` is allowed, else the first instant at which the next one may be."""
        free = _free_at(self.starts, max_starts, duration)
        if not reserved:
            free = max(free, _free_at(self.slots, max_starts, duration))
        return 0 if free <= now else free

    def reserve(self, now: int, max_starts: int, duration: int) -> int:
        """Hand out the next slot."""
        slot = max(
            now + 1, _free_at(self.slots, max_starts, duration), _free_at(self.starts, max_starts, duration)
        )
        _remember(self.slots, slot, max_starts)
        return slot

    def start(self, now: int, max_starts: int, reserved: bool) -> None:
        """Count a start."""
        _remember(self.starts, now, max_starts)
        if not reserved:
            _remember(self.slots, now, max_starts)


def _free_at(instants: list[int], max_starts: int, duration: int) -> int:
    return instants[-max_starts] + duration if len(instants) >= max_starts else 0


def _remember(instants: list[int], instant: int, max_starts: int) -> None:
    insort(instants, instant)
    del instants[:-max_starts]
