"""How often a piece of work is done again that a fault of the broker ended."""

from __future__ import annotations

from typing import Protocol


class Tries(Protocol):
    """Of one piece of work."""

    def pause_s(self, problem: BaseException) -> float | None:
        """It failed: seconds to wait before it is done again; None = no more."""


class Once:
    """Work is done once more, at once: its link may have been closed while it was idle."""

    def __init__(self) -> None:
        self._left = 1

    def pause_s(self, problem: BaseException) -> float | None:
        self._left -= 1
        return 0.0 if self._left >= 0 else None
