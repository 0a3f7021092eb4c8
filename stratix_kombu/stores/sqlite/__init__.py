"""The SQLite store: one file of this host, which any number of its processes share. No server, and nothing to run."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stratix_kombu.stores.contract import Mail, Store, Survey
from stratix_kombu.stores.sql.clocks import SqlClocks
from stratix_kombu.stores.sql.contents import SqlContents
from stratix_kombu.stores.sql.events import SqlEventLog
from stratix_kombu.stores.sql.locks import SqlLocks
from stratix_kombu.stores.sql.mail import SqlMail
from stratix_kombu.stores.sql.queries import SqlQueries
from stratix_kombu.stores.sql.schedules import SqlSchedules
from stratix_kombu.stores.sql.space import SqlSpace
from stratix_kombu.stores.sql.transitions import SqlTransitions
from stratix_kombu.stores.sql.work import SqlWork
from stratix_kombu.stores.sqlite.connection import JOURNAL_BYTES
from stratix_kombu.stores.sqlite.database import SqliteDatabase
from stratix_kombu.stores.sqlite.options import SqliteOptions, read_options

FEW_BYTES = 200_000_000
LONG_BYTES = 4 * JOURNAL_BYTES


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


class SqliteStore(Store):
    """All parts work on one ``SqlSpace``; ``clock`` gives milliseconds since the epoch."""

    serial = True
    mail: Mail

    def __init__(self, options: SqliteOptions, namespace: str | None, clock: Callable[[], int] = _wall_clock) -> None:
        self.address = options.address
        self._database = SqliteDatabase(options, namespace)
        space = SqlSpace(self._database, clock)
        self._database.listener = space
        self.transitions = SqlTransitions(space)
        self.queries = SqlQueries(space)
        self.schedules = SqlSchedules(space, self.transitions)
        self.events = SqlEventLog(space)
        self.locks = SqlLocks(space)
        self.clocks = SqlClocks(space)
        self.contents = SqlContents(space)
        self.work = SqlWork(space)
        self.mail = SqlMail(space)

    def ping(self) -> None:
        """Also, that the file can be written."""
        with self._database:
            pass

    def survey(self) -> Survey:
        self.ping()
        return Survey(server=f"SQLite {sqlite3.sqlite_version}", warnings=tuple(self._warnings()))

    def _warnings(self) -> Iterator[str]:
        options = self._database.options
        if options.synchronous == "off":
            yield "synchronous is off: a power cut may spoil the file"
        free = shutil.disk_usage(os.path.dirname(options.path)).free
        if free < FEW_BYTES:
            yield f"its disk has {free / 1e6:,.0f} MB left"
        log = f"{options.path}-wal"
        if os.path.exists(log) and os.path.getsize(log) > LONG_BYTES:
            yield (
                f"{log} has {os.path.getsize(log) / 1e6:,.0f} MB: another program has been reading the file for long, "
                "and what is written meanwhile cannot be put into it"
            )

    def close(self) -> None:
        self._database.close()


def open_sqlite_store(options: Mapping[str, Any], *, namespace: str) -> SqliteStore:
    """The store of ``sqlite:///jobs.db``; the file is made with its first use. Raises ConfigurationError."""
    return SqliteStore(read_options(options), namespace)


def open_mail(url: str) -> Mail:
    """The messages in the file of a URL, whatever its namespace is called. Raises ConfigurationError."""
    return SqliteStore(read_options({"url": url}), None).mail
