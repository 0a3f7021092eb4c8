"""Polling with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_S = 60
"""For what another process or a server does: they may be slow to start, or have to wait for their turn."""


def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Return once the condition is true; AssertionError after ``timeout`` seconds."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < timeout, "the condition did not become true in time"
        time.sleep(min(max(0.01, waited / 20), 0.1))  # to look costs others of their time
