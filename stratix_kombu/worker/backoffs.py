"""The custom back-offs that the worker of one queue may call in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from stratix_kombu.model.backoff import Backoff

logger = logging.getLogger("stratix_kombu.queue")

MOST_SAID = 1000


class Backoffs:
    """By name or dotted path: those that the queue was made with, and those that were given with jobs here."""

    def __init__(self, queue: str, declared: Mapping[str, Callable[[int], Any]], default: Backoff | None) -> None:
        self._queue = queue
        self.functions: dict[str, Callable[[int], Any]] = dict(declared)
        if default is not None and default.function is not None:
            self.functions[default.custom] = default.function
        self._declared = frozenset(self.functions)
        self._said: set[str] = set()

    def remember(self, backoff: Backoff, shared: bool, handled: bool) -> None:
        """A job was given this custom back-off. Its function may be called here; log once if other processes (if jobs
        are ``shared`` with some), or the handlers of this one (if jobs are ``handled`` here), do not know it."""
        if backoff.type != "custom" or backoff.custom in self._declared:
            return
        if backoff.function is not None:
            self.functions[backoff.custom] = backoff.function
            if shared:
                self._say(
                    backoff.custom, "is known to this process only: workers in other processes wait one second instead"
                )
        elif handled and backoff.custom not in self.functions:
            self._say(backoff.custom, "is not known to this queue: its worker waits one second instead")

    def _say(self, name: str, problem: str) -> None:
        if name in self._said or len(self._said) >= MOST_SAID:
            return
        self._said.add(name)
        logger.warning(
            "queue %s: the custom back-off %r %s. Create the queue with create_queue(%r, backoffs=[function]), or "
            "backoffs={'name': function}",
            self._queue,
            name,
            problem,
            self._queue,
            extra={"action": "backoff_unknown", "queue": self._queue},
        )
