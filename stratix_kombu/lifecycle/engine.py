"""The store and the driver of one application, and where their faults are reported."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from stratix_kombu import forks
from stratix_kombu.calls import Calls
from stratix_kombu.drivers.contract import TransportDriver
from stratix_kombu.errors import ConfigurationError, Unavailable
from stratix_kombu.lifecycle.outages import Outage, Outages
from stratix_kombu.model.cancellation import Cancellations
from stratix_kombu.model.middleware import Middleware
from stratix_kombu.stores.contract import Store

logger = logging.getLogger("stratix_kombu")

ErrorListener = Callable[[str, BaseException], object]
"""Called with the queue's name (or '') and the error; False = there was no listener."""


class Engine(forks.OfOneProcess):
    """What every verb needs. Safe to share between threads."""

    only_handlers = False
    """For a whole process that imports a program for its handlers: nothing may be added or started."""

    def __init__(self, store: Store, driver: TransportDriver, timezone: str | None = None) -> None:
        self.store = store
        self.driver = driver
        self.timezone = timezone
        """The zone of cron rules that name none; None = UTC, because none is configured."""
        self.middleware = Middleware()
        """What the application has around its steps."""
        self.calls = Calls()
        """Runs what is called from coroutines."""
        self.faults: Counter[str] = Counter()
        """How often each kind of fault was reported in this process."""
        self.runtimes: dict[str, Any] = {}
        """By queue, of those made in this process: what handles on its jobs need."""
        self.cancellations = Cancellations()
        self._listeners: list[ErrorListener] = []
        self._lock = threading.Lock()
        self._outages = Outages()
        inline = driver.inline_queue()
        self.delivers = driver.delivers or (inline is not None and store.deliver_through(inline))
        """The store puts messages into the broker's queue itself."""
        forks.register(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._outages = Outages()

    def check_open(self, what: str) -> None:
        """Raise ConfigurationError if this process only imports handlers."""
        if self.only_handlers:
            raise ConfigurationError(
                f"a sandbox imports this module for its handlers, and it would {what}: put what only the "
                "main program should do under if __name__ == '__main__':"
            )

    def on_error(self, listener: ErrorListener) -> None:
        """Call ``listener`` for every fault of this process."""
        with self._lock:
            self._listeners.append(listener)

    def report(self, queue: str, error: BaseException, action: str) -> None:
        """Log a fault that lost nothing, count it, and emit ``error``. An unreachable server is logged once, and
        reported once to each listener, until it can be reached again: see ``reached``."""
        with self._lock:
            self.faults[action] += 1
            listeners = list(self._listeners)
        outage = self._outages.failed(error, action, queue) if isinstance(error, Unavailable) else None
        known = outage is not None and outage.tries > 1
        logger.log(
            logging.DEBUG if known else logging.WARNING,
            "%s (queue %s): %s",
            action.replace("_", " "),
            queue or "-",
            error,
            extra={"action": action, "queue": queue},
        )
        for listener in listeners:
            if outage is not None and not self._is_first(outage, listener):
                continue
            try:
                told = listener(queue, error)
            except Exception:
                logger.exception("a listener of 'error' raised", extra={"action": "listener_failed"})
                continue
            if outage is not None and told is False:
                outage.heard.discard(listener)

    def _is_first(self, outage: Outage, listener: ErrorListener) -> bool:
        """Whether a listener has not heard of an outage; it has, from now on."""
        with self._lock:
            if listener in outage.heard:
                return False
            outage.heard.add(listener)
            return True

    def reached(self, queue: str, action: str) -> None:
        """What may have been reported under this action has succeeded."""
        self._outages.reached(action, queue)
