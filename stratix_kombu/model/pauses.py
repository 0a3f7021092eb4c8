"""How long to wait before something is tried again: one rule for all that talk to a server."""

from __future__ import annotations

LONGEST_S = 5.0


def pause_s(failures: int, first_s: float = 0.1, longest_s: float = LONGEST_S) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, up to ``longest_s``.

    >>> [pause_s(failures) for failures in (0, 1, 2, 10)]
    [0.1, 0.2, 0.4, 5.0]
    """
    return min(first_s * 2.0 ** min(failures, 10), longest_s)
