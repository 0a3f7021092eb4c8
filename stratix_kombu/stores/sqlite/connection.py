"""One connection to the file, and what is wrong when it does not work."""

from __future__ import annotations

import ctypes
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from stratix_kombu.errors import ConfigurationError, StoreUnavailable
from stratix_kombu.stores.sql.database import COUNTERS, Counters
from stratix_kombu.stores.sqlite.options import SqliteOptions

JOURNAL_BYTES = 64 * 1024 * 1024
"""To so much the write-ahead log is cut when all of it is in the file."""
STATEMENTS_KEPT = 256
LOOKS_AGAIN_S = 0.01
_COUNTERS = f"SELECT {', '.join(COUNTERS)} FROM counters"
_COUNT = f"UPDATE counters SET {', '.join(f'{name} = ?' for name in COUNTERS)}"


@contextmanager
def reported(options: SqliteOptions) -> Iterator[None]:
    """Errors of SQLite as StoreUnavailable; as ConfigurationError for a file that is something else."""
    try:
        yield
    except sqlite3.Error as problem:
        if "not a database" in str(problem):
            raise ConfigurationError(f"{options.address} is no database of SQLite: give it another path") from problem
        raise unavailable(options, problem) from problem


def unavailable(options: SqliteOptions, problem: sqlite3.Error) -> StoreUnavailable:
    """What a user can do something about, by SQLite's own words."""
    said = str(problem)
    if Connection.is_locked(problem):
        said = f"another process has held its lock for longer than {options.timeout_ms} ms ({said})"
    elif "full" in said:
        said = f"the disk is full ({said})"
    elif "readonly" in said:
        said = f"it cannot be written: the file, its folder or the file system is read-only ({said})"
    return StoreUnavailable(options.address, said)


class Connection:
    """Raises ConfigurationError, StoreUnavailable; its methods StoreUnavailable. To be used by one thread at a time."""

    def __init__(self, options: SqliteOptions) -> None:
        self._options = options
        with reported(options):
            self._sqlite = sqlite3.connect(
                options.path,
                timeout=options.timeout_ms / 1000,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=STATEMENTS_KEPT,
            )
            try:
                self._prepare()
            except BaseException:
                self._sqlite.close()
                raise
        self.file = identity(options.path)
        """Which file it has open."""
        self.execute = self._sqlite.execute
        """As in sqlite3: the caller maps errors."""

    def _prepare(self) -> None:
        run = self._sqlite.execute
        until = time.monotonic() + self._options.timeout_ms / 1000
        while (mode := self._with_log()) is None:
            if time.monotonic() > until:
                raise sqlite3.OperationalError("database is locked")
            time.sleep(LOOKS_AGAIN_S)
        if mode != "wal":
            raise sqlite3.OperationalError(f"its file system has no write-ahead log (journal_mode is {mode})")
        run(f"PRAGMA synchronous = {self._options.synchronous}")
        run(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        run("PRAGMA temp_store = MEMORY")

    def _with_log(self) -> str | None:
        """The journal that the file has, a write-ahead log if it can have one. None while another process writes
        into a file that has none yet: SQLite does not wait for that one, whatever its timeout (it waits for us)."""
        run = self._sqlite.execute
        try:
            (mode,) = run("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                (mode,) = run("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as problem:
            if self.is_locked(problem):
                return None
            raise
        return str(mode)

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self.execute(sql, values).fetchall()
        except sqlite3.Error as problem:
            raise unavailable(self._options, problem) from problem

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        try:
            found: tuple[Any, ...] | None = self.execute(sql, values).fetchone()
        except sqlite3.Error as problem:
            raise unavailable(self._options, problem) from problem
        return found

    def run(self, sql: str, *values: Any) -> int:
        try:
            return self.execute(sql, values).rowcount
        except sqlite3.Error as problem:
            raise unavailable(self._options, problem) from problem

    def put(self, sql: str, *values: Any) -> None:
        self.run(sql, *values)

    def counters(self) -> Counters:
        return Counters(*(self.one(_COUNTERS) or ()))

    def count(self, counters: Counters) -> None:
        self.run(_COUNT, *counters)

    @staticmethod
    def era() -> int:
        """A row has one version."""
        return 0

    def many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        try:
            self._sqlite.executemany(sql, rows)
        except sqlite3.Error as problem:
            raise unavailable(self._options, problem) from problem

    @property
    def changes(self) -> int:
        """How many rows it has changed so far."""
        return self._sqlite.total_changes

    @staticmethod
    def is_locked(problem: sqlite3.Error) -> bool:
        """Whether another connection has kept this one from what it was to do."""
        return "locked" in str(problem) or "busy" in str(problem)

    def roll_back(self) -> None:
        """End the transaction, if there is one; what is wrong with that does not matter any more."""
        with suppress(sqlite3.Error):
            if self._sqlite.in_transaction:
                self._sqlite.execute("ROLLBACK")

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._sqlite.close()

    @property
    def is_at_rest(self) -> bool:
        """Whether it has no transaction."""
        return not self._sqlite.in_transaction

    def leave(self) -> None:
        """It must never be closed, not even when this process ends. Either it is another process's, which was in the
        middle of a step: that would be undone in the memory that both share. Or its file is gone: the log of the one
        that is there now would be deleted."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._sqlite))


def identity(path: str) -> tuple[int, int] | None:
    """The file's identity; None if it does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
