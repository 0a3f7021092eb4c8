"""The clock: promotes what is due, repeats what is scheduled, recovers what was lost. Any number may run at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.causes import Causes
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.promote import promote
from stratix_kombu.lifecycle.recover import Redelivery, recover
from stratix_kombu.lifecycle.repeat import repeat

logger = logging.getLogger("stratix_kombu")
Result = TypeVar("Result")

MAX_SLEEP_MS = 250
"""Another process may have added something due sooner: never sleep longer than this."""
MAX_PAUSE_S = 5.0
"""Longest wait between tries while the store is away."""


def _sooner(first: int | None, second: int | None) -> int | None:
    return min((one for one in (first, second) if one is not None), default=None)


class Clock:
    """A daemon thread; every step it takes is a claim in the store."""

    def __init__(self, engine: Engine, *, stalled_check_ms: int, max_stalled: int, grace_ms: int) -> None:
        self._engine = engine
        self._stalled_check_s = stalled_check_ms / 1000
        self._max_stalled = max_stalled
        self._grace_ms = grace_ms
        self._redelivery = Redelivery(engine, grace_ms)
        self._wake = threading.Event()
        self._stopping = False
        self._causes = Causes()
        self._round = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="stratix-clock", daemon=True)

    @property
    def idle_ms(self) -> int:
        """How long ago it did last all that was to be done."""
        return int((time.monotonic() - self._round) * 1000)

    def start(self) -> None:
        self._engine.on_wake(self._wake.set)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        next_recovery = next_redelivery = 0.0
        failures = 0
        while not self._stopping:
            try:
                self._wake.clear()
                next_ms = _sooner(
                    self._try(lambda: promote(self._engine)), self._try(lambda: repeat(self._engine))
                )
                now = time.monotonic()
                if now >= next_recovery:
                    self._try(lambda: recover(self._engine, self._max_stalled))
                    next_recovery = now + self._stalled_check_s
                if now >= next_redelivery:
                    self._try(self._redelivery.look)
                    next_redelivery = now + self._grace_ms / 2000
                self._try(self._redelivery.go_on)
            except Exception as error:
                failures += 1
                if not isinstance(error, Unavailable):  # a fault of our own must not stop the clock
                    logger.exception("the clock failed", extra={"action": "clock_failed"})
                self._engine.report("", error, "clock_failed")
                self._wake.wait(min(0.1 * 2 ** min(failures, 10), MAX_PAUSE_S))
                continue
            failures = 0
            self._engine.reached("", "clock_failed")
            self._round = time.monotonic()
            sleep_ms = MAX_SLEEP_MS if next_ms is None else min(next_ms, MAX_SLEEP_MS)
            self._wake.wait(max(sleep_ms, 1) / 1000)

    def _try(self, step: Callable[[], Result]) -> Result | None:
        """A step that something in the store makes fail must not keep the others from being taken."""
        try:
            return step()
        except Unavailable:
            raise
        except Exception as error:
            if self._causes.is_new(error):
                self._engine.report("", error, "clock_failed")
            return None
