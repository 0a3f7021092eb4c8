"""Which clock of a namespace leads, and how long it may rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

MARGIN_MS = 500
"""How long after the instant at which it was to look again a clock goes on to lead."""


@dataclass(frozen=True, slots=True)
class Lead:
    """The answer to a clock that asks to lead."""

    leads: bool
    """Otherwise another clock does, and the rest says nothing."""
    next_ms: int | None = None
    """In how many milliseconds the next delayed job or slot comes of those that are not due yet; None = none is known.
    For a clock that does not lead: when the leader's time is over, unless it asks again."""
    promote: bool = False
    """Delayed jobs are due, or a step has left something over."""
    repeat: bool = False
    """Slots of schedules are due; not those of schedules that have an owner."""
    expire: bool = False
    """Finished jobs are older than their retention allows."""


class Clocks(ABC):
    """Any number of clocks may run; one of them looks what is due, the others only ask whether it still does.

    Leading protects no step: each is atomic, and finds nothing to do where another clock was first. So two that lead
    for a while, since one of them was stopped and goes on, do no harm.
    """

    @abstractmethod
    def lead(self, clock: str, rest_ms: int, *, yields: bool = False) -> Lead:
        """Lead, if no other clock does, and see what is due in the whole namespace.

        The clock leads until ``MARGIN_MS`` after the next thing is due, or after ``rest_ms`` where that is sooner; when
        something is due now, for twice that time. It asks again until then. With ``yields`` it goes on to lead, and
        the next clock that asks leads in its place.
        """

    @abstractmethod
    def rest(self, clock: str, for_ms: int) -> None:
        """Return after ``for_ms``; sooner if meanwhile a delayed job or a slot of a schedule comes that is due before
        what ``lead`` answered last, or if the clock resigns. It may return for no reason. For the clock that leads;
        several threads of one process may rest as different clocks."""

    @abstractmethod
    def resign(self, clock: str) -> None:
        """The clock leads no longer, if it did, and does not rest."""
