"""What a consumer remembers of a call whose answer was lost, and what it raises where jobs cannot begin."""

from __future__ import annotations

from dataclasses import dataclass


class Starved(Exception):
    """Jobs could not begin, for lack of a thread, say, and were handed back."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A take whose answer was lost: what it took would stay active until its lease ends."""

    want: int
    request: str
    until: float
    """When its lease has ended, on the clock of ``time.monotonic``."""
