"""The driver and the store of an application."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from stratix_kombu.calls import Calls
from stratix_kombu.drivers.contract import QueueDriver, TransportDriver
from stratix_kombu.drivers.own import check_instance, close_instance
from stratix_kombu.errors import ConfigurationError, StratixError, Unavailable
from stratix_kombu.lifecycle.dispatch import dispatch_change
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.stores.contract import Store
from stratix_kombu.worker.coroutines import LoopExecutor

logger = logging.getLogger("stratix_kombu")


class Servers:
    """``transport`` is the engine of a driver that carries messages; None for one that has queues of its own."""

    def __init__(self, driver: QueueDriver, store: Store, timezone: str | None) -> None:
        self.store = store
        self._driver = driver
        self.transport = Engine(store, driver, timezone) if isinstance(driver, TransportDriver) else None
        if self.transport is not None and store.outbox is not None:
            store.outbox.on_arrival = partial(dispatch_change, self.transport)
        self.calls = self.transport.calls if self.transport else Calls()
        self._loop = LoopExecutor()
        """Awaits what the methods of a user's own driver return."""
        self._local_locks_logged = False

    @property
    def driver_name(self) -> str:
        return self._driver.get_name()

    @property
    def engine(self) -> Engine:
        """Store and driver. Raises ConfigurationError for a driver that has queues of its own."""
        if self.transport is None:
            raise ConfigurationError(f"the driver {self.driver_name!r} has queues of its own")
        return self.transport

    @property
    def store_of_locks(self) -> Store:
        """The store, for what must apply to all processes. Logs once that it does not if the driver has queues of its
        own and no store is named."""
        if self.transport is None and not self.store.shared and not self._local_locks_logged:
            self._local_locks_logged = True
            logger.warning(
                "locks, and schedules with 'once', apply within this process only: the driver %r has no "
                "store. Name one (store='redis://...') to share them between processes",
                self.driver_name,
                extra={"action": "local_locks"},
            )
        return self.store

    def describe(self) -> str:
        """Driver and store, without credentials."""
        return f"{self.driver_name} (store {self.store.address})"

    def check_health(self) -> dict[str, bool]:
        """Whether each of them answers; never raises."""
        try:
            self.store.ping()
            store = True
        except StratixError:
            store = False
        return {"driver": bool(self._loop.finish(self._driver.check_health())), "store": store}

    def start(self) -> None:
        """Reach both. Raises StoreUnavailable, DriverUnavailable."""
        if self.store.ready_check:
            self.store.ping()
        self._loop.finish(self._driver.init())

    def make_queue(self, name: str, options: Mapping[str, Any], started: bool) -> Any:
        """The queue that the driver creates; None if it is one of ours. While the broker is unreachable it is created
        later, unless the application is ``started``. Raises Unavailable, ConfigurationError."""
        try:
            queue = self._loop.finish(self._driver.create_queue(name, options))
        except Unavailable as error:
            if self.transport is None or started:
                raise
            self.transport.report(name, error, "create_queue_failed")
            return None
        if queue is not None:
            check_instance(queue, name, self.driver_name)
        elif self.transport is None:
            raise ConfigurationError(
                f"the driver {self.driver_name!r} made no queue: its create_queue must return one, "
                "or it must be a TransportDriver"
            )
        return queue

    def close_queue(self, queue: Any, patience: float | None) -> Any:
        """Close a queue that the driver has created; return its result."""
        return self._loop.finish(close_instance(queue, patience), patience)

    def close(self) -> None:
        self._loop.finish(self._driver.close())
        self._loop.stop()
        self.store.close()
        self.calls.close()
