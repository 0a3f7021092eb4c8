"""Unreachable servers: reported once, however many threads and queues keep trying, and again once they are back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, field

from stratix_kombu.errors import Unavailable

logger = logging.getLogger("stratix_kombu")

QUIET_S = 30.0
"""An outage is over when nothing has failed for this long, which is longer than any pause between two tries."""


@dataclass(slots=True)
class Outage:
    """One unreachable server."""

    what: str
    began: float
    tries: int = 0
    failing: dict[tuple[str, str], float] = field(default_factory=dict)
    """By action and queue: when it failed last. It is over when each has succeeded since, or failed long ago."""
    heard: set[Hashable] = field(default_factory=set)
    """Listeners that were notified."""


class Outages:
    """Those of one application, by server."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], Outage] = {}
        self._lock = threading.Lock()

    def failed(self, error: Unavailable, action: str, queue: str) -> Outage:
        """The outage that the error belongs to; ``tries`` is 1 if it is a new one."""
        now = time.monotonic()
        with self._lock:
            key = (error.kind, error.where)
            outage = self._open.get(key)
            if outage is None or now - max(outage.failing.values()) > QUIET_S:
                outage = self._open[key] = Outage(f"the {error.kind} {error.where}", now)
            outage.tries += 1
            outage.failing[action, queue] = now
        return outage

    def reached(self, action: str, queue: str) -> None:
        """It has succeeded."""
        if not self._open:
            return
        now = time.monotonic()
        over = []
        with self._lock:
            for key, outage in list(self._open.items()):
                if outage.failing.pop((action, queue), None) is None:
                    continue
                if all(now - last > QUIET_S for last in outage.failing.values()):
                    del self._open[key]
                    over.append(outage)
        for outage in over:
            logger.warning(
                "%s is back after %.1f s, %d tries",
                outage.what,
                now - outage.began,
                outage.tries,
                extra={"action": "server_back"},
            )
