"""Successes that children of a pool store while they go on: all of them, and slowly."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from stratix_kombu.celery import later
from stratix_kombu.model.record import Change, Completion


def store_successes() -> None:
    """From now on, in this process and its children."""
    complete = later.Later._complete

    def slowly(self: later.Later, completions: Sequence[Completion]) -> Change:
        time.sleep(0.05)
        return complete(self, completions)

    later.FOLLOWS = math.inf
    later.Later._complete = slowly  # type: ignore[assignment, method-assign]
