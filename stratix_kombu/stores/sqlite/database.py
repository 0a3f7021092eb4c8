"""The file as the rules use it: one transaction at a time in a process, readers beside it, and a bell."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from stratix_kombu import forks
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.stores.sql.database import Database
from stratix_kombu.stores.sqlite.connection import Connection, identity, reported, unavailable
from stratix_kombu.stores.sqlite.migrate import migrate
from stratix_kombu.stores.sqlite.options import SqliteOptions

POLL_S = 0.01
"""How often is looked whether another process has written, while somebody waits for that."""


class Listener(Protocol):
    """Is told of each transaction."""

    def begin(self) -> None:
        """It has begun."""

    def flush(self) -> object:
        """It is about to be committed."""


class SqliteDatabase:
    """As ``sql.database.Transactions``. A connection for transactions, one for readers, one that looks for changes."""

    all: Callable[..., list[tuple[Any, ...]]]
    one: Callable[..., tuple[Any, ...] | None]
    run: Callable[..., int]
    many: Callable[[str, Iterable[tuple[Any, ...]]], None]
    """Those of the connection for transactions, from when the first one begins."""

    def __init__(self, options: SqliteOptions, namespace: str) -> None:
        self.options = options
        self._namespace = namespace
        self.listener: Listener | None = None
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._file: tuple[int, int] | None = None
        """Which file the connections have open."""
        self._begin_anew()
        self.bell = Bell(self)
        forks.register(self)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._reading = threading.RLock()
        self._depth = 0

    def after_fork(self) -> None:
        for connection in (self._writer, self._reader):
            if connection is not None:
                connection.leave()
        self._writer = self._reader = None
        self._begin_anew()

    # -- connections ----------------------------------------------------------------------------

    def connect(self) -> Connection:
        """A new connection to the file that the others have open, with its tables. Raises StoreUnavailable,
        ConfigurationError."""
        connection = Connection(self.options)
        try:
            self._file = self._file or identity(self.options.path)
            migrate(connection, self.options, self._namespace)
        except BaseException:
            connection.close()
            raise
        return connection

    def check_file(self) -> None:
        """Raise StoreUnavailable if the file was removed or replaced: what was written would be lost with it. The next
        use begins with the file that is there then."""
        if self._file is not None and identity(self.options.path) != self._file:
            self._drop()
            raise StoreUnavailable(self.options.address, "its file was removed or replaced while it was open")

    def _drop(self) -> None:
        for connection in (self._writer, self._reader):
            if connection is not None:
                connection.close()
        self._writer = self._reader = self._file = None
        self.bell.close()

    def close(self) -> None:
        with self._lock, self._reading:
            self._drop()

    # -- transactions ---------------------------------------------------------------------------

    def __enter__(self) -> SqliteDatabase:
        if not self._lock.acquire(timeout=self.options.timeout_ms / 1000):
            raise StoreUnavailable(self.options.address, "another thread's step has not ended in time")
        try:
            if not self._depth:
                self._begin()
            self._depth += 1
        except BaseException:
            self._lock.release()
            raise
        return self

    def _begin(self) -> None:
        self.check_file()
        if self._writer is None:
            self._writer = self.connect()
        writer = self._writer
        self.all, self.one, self.run, self.many = writer.all, writer.one, writer.run, writer.many
        self._before = writer.changes
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as problem:
            raise unavailable(self.options, problem) from problem
        try:
            if self.listener is not None:
                self.listener.begin()
        except BaseException:
            writer.roll_back()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._depth -= 1
        try:
            if not self._depth:
                self._end(kind is None)
        finally:
            self._lock.release()

    def _end(self, commit: bool) -> None:
        writer = self._writer
        assert writer is not None
        if not commit:
            writer.roll_back()
            return
        try:
            if self.listener is not None:
                self.listener.flush()
            writer.execute("COMMIT")
        except sqlite3.Error as problem:
            writer.roll_back()
            raise unavailable(self.options, problem) from problem
        except BaseException:
            writer.roll_back()
            raise
        if writer.changes != self._before:
            self.bell.ring()

    # -- reading --------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """What is read within is of one instant."""
        with self._reading:
            self.check_file()
            if self._reader is None:
                self._reader = self.connect()
            reader = self._reader
            with reported(self.options):
                reader.execute("BEGIN")
            try:
                yield reader
            finally:
                reader.roll_back()

    def changes(self) -> int:
        return self.bell.changes()

    def wait(self, seen: int, timeout: float) -> None:
        self.bell.wait(seen, timeout)


class Bell:
    """Rings after each transaction: of this process at once, of others when it is looked for. One of those who wait
    looks, for all of them."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database
        self._probe: Connection | None = None
        self._begin_anew()
        forks.register(self)

    def _begin_anew(self) -> None:
        self._condition = threading.Condition()
        self._number = 0
        self._version = -1
        self._looks = False

    def after_fork(self) -> None:
        if self._probe is not None:
            self._probe.leave()
        self._probe = None
        self._begin_anew()

    def ring(self) -> None:
        with self._condition:
            self._number += 1
            self._condition.notify_all()

    def changes(self) -> int:
        with self._condition:
            self._look()
            return self._number

    def _look(self) -> None:
        """Whether another connection has written: SQLite numbers what it sees of them."""
        if self._probe is None:
            self._probe = self._database.connect()
        (version,) = self._probe.one("PRAGMA data_version") or (0,)
        if version != self._version:
            self._version = version
            self._number += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._condition:
            while self._number == seen and (left := deadline - time.monotonic()) > 0:
                if self._looks:
                    self._condition.wait(left)
                    continue
                self._looks = True
                try:
                    self._condition.wait(min(left, POLL_S))
                    self._look()
                finally:
                    self._looks = False
                    self._condition.notify()

    def close(self) -> None:
        with self._condition:
            if self._probe is not None:
                self._probe.close()
            self._probe = None
