"""The file as the rules use it: one transaction at a time in a process, readers beside it, and a bell.

Forks. SQLite keeps for the whole process which of its connections hold which locks on a file; a child inherits that,
but not the locks. So nothing is under way while this process forks, and the child closes what it has inherited before
it opens anything: then SQLite knows nothing of the file any more. Without a transaction that does nothing to the file,
and the parent's locks are not the child's to give up.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from stratix_kombu import forks
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.stores.sql.database import Counters, Database, Read
from stratix_kombu.stores.sqlite.bell import Bell
from stratix_kombu.stores.sqlite.connection import Connection, identity, reported, unavailable
from stratix_kombu.stores.sqlite.migrate import migrate
from stratix_kombu.stores.sqlite.options import SqliteOptions

MARGIN_S = 1.0
"""So much longer than a step may take a fork waits for it."""


class Listener(Protocol):
    """Hears of each transaction."""

    def begin(self, same: bool) -> None:
        """It has begun; ``same``: nobody has written since the last one was committed."""

    def flush(self) -> object:
        """It is about to be committed."""


class SqliteDatabase:
    """As ``sql.database.Transactions``. A connection for transactions, one for readers, one that looks for changes."""

    all: Callable[..., list[tuple[Any, ...]]]
    one: Callable[..., tuple[Any, ...] | None]
    run: Callable[..., int]
    put: Callable[..., None]
    many: Callable[[str, Iterable[tuple[Any, ...]]], None]
    counters: Callable[[], Counters]
    count: Callable[[Counters], None]
    era: Callable[[], int]
    """Those of the connection for transactions, from when the first one begins."""

    def __init__(self, options: SqliteOptions, namespace: str | None) -> None:
        self.options = options
        self._namespace = namespace
        self.listener: Listener | None = None
        self._writer: Connection | None = None
        self._reader: Connection | None = None
        self._probe: Connection | None = None
        self._known: tuple[int, Connection | None] = (0, None)
        """How often others had written when the last step was committed, as the connection says it that made it."""
        self._lost: tuple[int, int] | None = None
        """The file that was reported as gone."""
        self._spoiled = False
        self._begin_anew()
        self.bell = Bell(self._version)
        forks.register(self)
        forks.hold_while_forking(self)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._reading = threading.RLock()
        self._looking = threading.RLock()
        self._depth = 0
        self._rests = False

    # -- forks ----------------------------------------------------------------------------------

    def before_fork(self) -> None:
        deadline = time.monotonic() + self.options.timeout_ms / 1000 + MARGIN_S
        locks = (self._lock, self._reading, self._looking)
        held = [lock for lock in locks if lock.acquire(timeout=max(deadline - time.monotonic(), 0.01))]
        self._rests = len(held) == len(locks)
        self._held = held

    def after_fork_in_parent(self) -> None:
        self._rests = False
        for lock in self._held:
            lock.release()

    def after_fork(self) -> None:
        inherited = [one for one in (self._writer, self._reader, self._probe) if one is not None]
        if self._rests or all(one.is_at_rest for one in inherited):
            for connection in inherited:
                connection.close()
        else:
            self._spoiled = True
            for connection in inherited:
                connection.leave()
        self._writer = self._reader = self._probe = None
        self._begin_anew()

    # -- connections ----------------------------------------------------------------------------

    def _opened(self, held: Connection | None) -> Connection:
        """The connection that is held, or a new one to the file that is there, with its tables. Raises
        ConfigurationError, and StoreUnavailable, once, if the file was removed or replaced: what is written into it
        would be lost with it."""
        if held is not None:
            if held.file == identity(self.options.path):
                return held
            held.leave()
            if held.file != self._lost:
                self._lost = held.file
                raise StoreUnavailable(self.options.address, "its file was removed or replaced while it was open")
        if self._spoiled:
            raise StoreUnavailable(
                self.options.address, "this process was forked in the middle of a step: start a new process instead"
            )
        connection = Connection(self.options)
        try:
            migrate(connection, self.options, self._namespace)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        with self._lock, self._reading, self._looking:
            for connection in (self._writer, self._reader, self._probe):
                if connection is not None:
                    connection.close()
            self._writer = self._reader = self._probe = None

    # -- transactions ---------------------------------------------------------------------------

    def __enter__(self) -> SqliteDatabase:
        if not self._lock.acquire(timeout=self.options.timeout_ms / 1000):
            raise StoreUnavailable(self.options.address, "another thread's step has not finished in time")
        try:
            if not self._depth:
                self._begin()
            self._depth += 1
        except BaseException:
            self._lock.release()
            raise
        return self

    def _begin(self) -> None:
        held, self._writer = self._writer, None
        writer = self._writer = self._opened(held)
        self.all, self.one, self.run, self.put, self.many = writer.all, writer.one, writer.run, writer.put, writer.many
        self.era = writer.era
        self.counters, self.count = writer.counters, writer.count
        self._before = writer.changes
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as problem:
            raise self._failed(problem) from problem
        try:
            (version,) = writer.one("PRAGMA data_version") or (0,)
            same, self._known = (version, writer) == self._known, (0, None)
            if self.listener is not None:
                self.listener.begin(same)
            self._begun = version
        except BaseException:
            writer.roll_back()
            raise

    def _failed(self, problem: sqlite3.Error) -> StoreUnavailable:
        """What was wrong. If it was not a lock, the next step begins with a new connection: the file may be writable
        again, which one that was opened when it was not does not see."""
        if self._writer is not None:
            self._writer.roll_back()
            if not self._writer.is_locked(problem):
                self._writer.close()
                self._writer = None
        return unavailable(self.options, problem)

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
            self._known = self._begun, writer
        except sqlite3.Error as problem:
            raise self._failed(problem) from problem
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
            held, self._reader = self._reader, None
            reader = self._reader = self._opened(held)
            with reported(self.options):
                reader.execute("BEGIN")
            try:
                yield reader
            finally:
                reader.roll_back()

    def _version(self) -> int:
        """A number that is another one when another connection has written."""
        with self._looking:
            held, self._probe = self._probe, None
            probe = self._probe = self._opened(held)
            return int((probe.one("PRAGMA data_version") or (0,))[0])

    def ahead(self, reads: Iterable[Read], unless_same: Iterable[Read] = ()) -> None:
        """A question is a call of a function here."""

    @property
    def presumes(self) -> bool:
        """There is no need to."""
        return False

    def changes(self) -> int:
        return self.bell.changes()

    def ring(self) -> None:
        self.bell.ring()

    def wait(self, seen: int, timeout: float) -> None:
        self.bell.wait(seen, timeout)
