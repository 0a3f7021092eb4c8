"""The connections of this process: as many as may be used at a time, the one that was used last first."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stratix_kombu import forks
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.stores.postgres.connection import Connection
from stratix_kombu.stores.postgres.options import PostgresOptions

IDLE_S = 300.0
"""A connection that was not used for so long is closed when another one comes back."""


class Pool:
    """Opens connections when they are needed. Nothing is done in between: no thread, no statement."""

    def __init__(self, options: PostgresOptions, open_one: Callable[[], Connection]) -> None:
        self._options = options
        self._open = open_one
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[Connection] = []
        self._used: set[Connection] = set()
        self._opening = 0

    def after_fork(self) -> None:
        for connection in (*self._idle, *self._used):
            connection.abandon()
        self._begin_anew()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One that nobody else uses meanwhile. Raises StoreUnavailable."""
        connection = self.take()
        try:
            yield connection
        finally:
            self.give_back(connection)

    def take(self) -> Connection:
        connection = self._idle_one()
        if connection is None:
            try:
                connection = self._open()
            finally:
                with self._changed:
                    self._opening -= 1
                    if connection is not None:
                        self._used.add(connection)
                    self._changed.notify()
        return connection

    def _idle_one(self) -> Connection | None:
        """None: a new one may be opened."""
        deadline = time.monotonic() + self._options.timeout_ms / 1000
        with self._changed:
            while True:
                while self._idle:
                    connection = self._idle.pop()
                    if connection.is_alive():
                        self._used.add(connection)
                        return connection
                    connection.close()
                if len(self._used) + self._opening < self._options.pool_size:
                    self._opening += 1
                    return None
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise StoreUnavailable(
                        self._options.address, f"all {self._options.pool_size} connections of this process are in use"
                    )

    def give_back(self, connection: Connection) -> None:
        with self._changed:
            if connection not in self._used:  # a forked child has given up its copy
                return
            self._used.discard(connection)
            if not connection.closed:
                self._idle.append(connection)
            if self._idle and time.monotonic() - self._idle[0].used_at > IDLE_S and len(self._idle) > 1:
                self._idle.pop(0).close()
            self._changed.notify()

    def close(self) -> None:
        """Close those that nobody uses; a later use opens new ones."""
        with self._changed:
            for connection in self._idle:
                connection.close()
            self._idle.clear()
