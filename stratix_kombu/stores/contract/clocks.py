"""Which clock of a namespace leads, and how long it may rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

MARGIN_MS = 500
"""How long a clock keeps leading after the instant at which it should have asked again."""


@dataclass(frozen=True, slots=True)
class Lead:
    """The answer to a clock that asks to lead."""

    leads: bool
    """Otherwise another clock leads, and the other fields are meaningless."""
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
    """Any number of clocks may run; one of them checks what is due, the others only ask whether it still leads.
    Correctness does not depend on it: each step is atomic, and finds nothing to do where another clock was first. So
    two clocks that lead for a while, because one of them was suspended and resumes, do no harm."""

    @abstractmethod
    def lead(self, clock: str, rest_ms: int, *, yields: bool = False) -> Lead:
        """Lead, if no other clock does, and report what is due in the whole namespace.

        The clock leads until ``MARGIN_MS`` after the next thing is due, or after ``rest_ms`` where that is sooner; when
        something is due now, for twice that time. It asks again until then. With ``yields`` it keeps leading until
        another clock asks, which then leads instead."""

    @abstractmethod
    def rest(self, clock: str, for_ms: int) -> None:
        """Return after ``for_ms``; sooner if meanwhile a delayed job or a slot of a schedule comes that is due before
        what ``lead`` answered last, or if the clock resigns. It may return without a reason. For the clock that leads;
        several threads of one process may rest as different clocks."""

    @abstractmethod
    def resign(self, clock: str) -> None:
        """The clock leads no longer, if it did, and does not rest."""
