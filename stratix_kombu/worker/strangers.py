"""Messages of other programs: reported, with one report per burst."""

from __future__ import annotations

import time
from collections.abc import Sequence

from stratix_kombu.drivers.contract import Delivery
from stratix_kombu.errors import InvalidPayload
from stratix_kombu.lifecycle.engine import Engine

BURST_S = 1.0
"""Those that come one after the other are reported together at least this often."""


class Strangers:
    """Of one queue."""

    def __init__(self, engine: Engine, queue: str) -> None:
        self._engine = engine
        self._queue = queue
        self._problems: list[str] = []
        """What was wrong with each, since it was reported."""
        self._since = 0.0
        self._reported = 0
        """How many there were when it was looked last."""

    def __len__(self) -> int:
        return len(self._problems)

    def note(self, deliveries: Sequence[Delivery]) -> None:
        """These came."""
        if not self._problems:
            self._since = time.monotonic()
        self._problems += [delivery.problem for delivery in deliveries]

    def report_burst(self) -> None:
        """Report, if none came since this was called last, or if the burst lasts."""
        if len(self._problems) == self._reported or time.monotonic() > self._since + BURST_S:
            self.report()
        self._reported = len(self._problems)

    def report(self) -> None:
        """One report for all of them."""
        problems, self._problems = self._problems, []
        if not problems:
            return
        count = len(problems)
        what = (
            "a message that is not a permit was dropped"
            if count == 1
            else (f"{count} messages that are not permits were dropped, the first because")
        )
        self._engine.report(self._queue, InvalidPayload(f"{what}: {problems[0]}"), "stranger_dropped")
