"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stratix_kombu.model.awaiting import call

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
    function: Callable[[int], Any] | None = field(default=None, compare=False, repr=False)
    """Of a custom one that was given as such, in this process: it is not kept with the job."""


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


def custom_delay(functions: Mapping[str, Callable[[int], Any]], name: str, attempts_made: int) -> int:
    """What a custom back-off says: milliseconds, below 0 for no further attempt. It may be ``async def``. Raises
    LookupError for one that is not registered, and what it raises."""
    if name not in functions:
        known = ", ".join(map(repr, functions)) or "none"
        raise LookupError(
            f"the queue of this worker does not have it (registered: {known}): call create_queue(..., backoffs=[...])"
        )
    return int(call(functions[name], attempts_made))
