"""How long to wait for a server, and before something is tried again: one rule for all that talk to one."""

from __future__ import annotations

LONGEST_S = 5.0
STOOD_STILL_S = 0.5


def pause_s(failures: int, first_s: float = 0.1, longest_s: float = LONGEST_S) -> float:
    """Seconds to wait after so many failures in a row: twice as long each time, up to ``longest_s``.

    >>> [pause_s(failures) for failures in (0, 1, 2, 10)]
    [0.1, 0.2, 0.4, 5.0]
    """
    return min(first_s * 2.0 ** min(failures, 10), longest_s)


def stood_still(waited_s: float, patience_s: float) -> bool:
    """Whether a wait that should have ended after ``patience_s`` was so much longer that this process was stopped, or
    the whole machine: it says nothing about the server, whose answer may be on its way.

    >>> stood_still(1.01, patience_s=1.0), stood_still(7.0, patience_s=1.0)
    (False, True)
    """
    return waited_s > patience_s + STOOD_STILL_S
