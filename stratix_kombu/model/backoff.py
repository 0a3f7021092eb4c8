"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass

MAX_DELAY_MS = 365 * 24 * 3600 * 1000
"""No computed back-off is longer than a year: an exponential must not overflow."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """``fixed``, ``exponential`` (delay x 2^(attempt - 1)) or ``custom`` by name, with ``jitter`` 0..1.

    With jitter j the delay is drawn evenly from [(1 - j) x delay, delay].
    """

    type: str = "fixed"
    delay_ms: int = 0
    jitter: float = 0.0
    custom: str = ""
    """Dotted path ``module:function`` or the name registered on the queue."""


def retry_delay(backoff: Backoff, attempts_made: int, random_01: float | None = None) -> int:
    """Milliseconds to wait after the ``attempts_made``-th attempt failed (1 = the first).

    >>> retry_delay(Backoff("exponential", 1000), 3)
    4000
    """
    delay = backoff.delay_ms
    if backoff.type == "exponential":
        delay = delay * 2 ** min(max(attempts_made - 1, 0), 60)
    delay = min(delay, MAX_DELAY_MS)
    if backoff.jitter:
        draw = random.random() if random_01 is None else random_01
        delay = round(delay * (1 - backoff.jitter * draw))
    return delay
