"""Adding and completing jobs by a connection of the user's: of psycopg, of SQLAlchemy, of Django, or of any driver of
the DB-API.

Workers are woken by the commit, to which a notification belongs. Sessions of SQLAlchemy and connections of Django tell
when they have committed: then this process takes the jobs in, and nothing is notified within the user's transaction,
since a server commits notifying transactions one by one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet, ref

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from stratix_kombu.errors import ConfigurationError, DependencyNotFound, StoreUnavailable
from stratix_kombu.model.record import Change, Held, NewJob
from stratix_kombu.stores.contract import Outbox
from stratix_kombu.stores.postgres.arrivals import said_of
from stratix_kombu.stores.postgres.completions import check_completed, completion, lock
from stratix_kombu.stores.postgres.database import PostgresDatabase

logger = logging.getLogger("stratix_kombu.stores")

_INFO = "stratix_kombu"
"""Under which a session of SQLAlchemy knows that it has added jobs."""
_WHERE = "SELECT current_database()::text, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text"
"""Not the time as text, which is another one in each time zone and date style that a session may have set."""
Rows = Sequence[Sequence[Any]]
Execute = Callable[[str, Sequence[Any]], Rows]
"""Runs a statement whose parameters are ``%s``."""


class Users:
    """A user's connection. By default one of the DB-API."""

    notifies = True
    """Nobody tells when it has committed."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def execute(self, sql: str, values: Sequence[Any]) -> Rows:
        cursor = self.connection.cursor()
        try:
            cursor.execute(sql, tuple(values))
            return [tuple(row.values()) if isinstance(row, Mapping) else row for row in cursor.fetchall()]
        finally:
            cursor.close()

    def on_commit(self, arrive: Callable[[], None]) -> None:
        """Have this called after the commit, where ``notifies`` is false."""

    def is_open(self) -> bool:
        """Whether its transaction is under way."""
        return not getattr(self.connection, "autocommit", False)


class OfPsycopg(Users):
    def execute(self, sql: str, values: Sequence[Any]) -> Rows:
        return self.connection.cursor(row_factory=tuple_row).execute(sql, values).fetchall()  # type: ignore[no-any-return]

    def is_open(self) -> bool:
        return self.connection.info.transaction_status is not TransactionStatus.IDLE


class OfDjango(Users):
    notifies = False

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        if connection.vendor != "postgresql":
            raise ConfigurationError(f"connection: Django's database {connection.alias!r} is no PostgreSQL")

    def execute(self, sql: str, values: Sequence[Any]) -> Rows:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, tuple(values))
            return list(cursor.fetchall())

    def on_commit(self, arrive: Callable[[], None]) -> None:
        self.connection.on_commit(arrive)

    def is_open(self) -> bool:
        return bool(self.connection.in_atomic_block)


class OfSqlAlchemy(Users):
    """A connection of its core."""

    def execute(self, sql: str, values: Sequence[Any]) -> Rows:
        parts = sql.split("%s")
        text = parts[0] + "".join(f":v{at}{part}" for at, part in enumerate(parts[1:]))
        statement = sys.modules["sqlalchemy"].text(text)
        return self.connection.execute(statement, {f"v{at}": value for at, value in enumerate(values)}).fetchall()  # type: ignore[no-any-return]

    def is_open(self) -> bool:
        return bool(self.connection.in_transaction())


class OfSession(OfSqlAlchemy):
    """A session: it tells when its outermost transaction has ended."""

    notifies = False

    def on_commit(self, arrive: Callable[[], None]) -> None:
        info = self.connection.info
        if _INFO not in info:

            def ended(session: Any, transaction: Any) -> None:
                if transaction.parent is None and session.info.get(_INFO):
                    session.info[_INFO] = False
                    arrive()

            sys.modules["sqlalchemy"].event.listen(self.connection, "after_transaction_end", ended)
        info[_INFO] = True


def users(connection: Any) -> Users:
    """The connection by its kind. Raises ConfigurationError."""
    if isinstance(connection, psycopg.Connection):
        return OfPsycopg(connection)
    if hasattr(connection, "vendor") and hasattr(connection, "on_commit"):
        return OfDjango(connection)
    is_sqlalchemy = type(connection).__module__.startswith("sqlalchemy") or hasattr(connection, "in_nested_transaction")
    if is_sqlalchemy and hasattr(connection, "execute"):  # an engine, or what makes sessions, is in no transaction
        if hasattr(connection, "registry") and callable(connection):  # a scoped session stands for one
            connection = connection()
        return OfSession(connection) if hasattr(connection, "add_all") else OfSqlAlchemy(connection)
    if hasattr(connection, "cursor") and hasattr(connection, "commit"):
        return Users(connection)
    raise ConfigurationError(
        f"connection: a {type(connection).__name__} is not one of psycopg, a session or connection of SQLAlchemy, or a "
        "connection of Django"
    )


class PostgresOutbox(Outbox):
    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self._options = database.options
        self._known: WeakSet[Any] = WeakSet()
        """Connections that are known to be to this database."""

    @property
    def on_arrival(self) -> Callable[[Change], object]:
        return self._database.on_arrival

    @on_arrival.setter
    def on_arrival(self, listener: Callable[[Change], object]) -> None:
        self._database.on_arrival = listener

    def add(self, jobs: Sequence[NewJob], connection: Any) -> Callable[[], bool]:
        by = users(connection)
        self._check(by)
        self._check_dependencies(jobs, by.execute)
        by.execute(*self._statement(jobs, by.notifies))
        self._database.expect()
        by.on_commit(self._committed)
        return _is_open(by)

    async def add_async(self, jobs: Sequence[NewJob], connection: Any) -> Callable[[], bool]:
        if isinstance(connection, psycopg.AsyncConnection):
            return await self._add_by_psycopg(jobs, connection)
        return self.add(jobs, connection)

    def complete(self, held: Held, result: str, connection: Any) -> None:
        by = users(connection)
        self._check(by)
        locked = by.execute(*lock(self._database, held))
        check_completed(by.execute(*completion(self._database, held, result, locked, by.notifies)))
        self._database.expect()
        by.on_commit(self._committed)

    async def complete_async(self, held: Held, result: str, connection: Any) -> None:
        if not isinstance(connection, psycopg.AsyncConnection):
            return self.complete(held, result, connection)
        execute = await self._executing(connection)
        locked = await execute(*lock(self._database, held))
        check_completed(await execute(*completion(self._database, held, result, locked, True)))
        self._database.expect()
        return None

    def arrive(self) -> None:
        self._database.let_in()

    def _arrive(self) -> None:
        """After a commit: what was added is there already, and if this fails, another process takes it in."""
        try:
            self.arrive()
        except StoreUnavailable as problem:
            logger.debug("jobs that were committed are taken in later: %s", problem, extra={"action": "arrival_later"})

    def _committed(self) -> None:
        if _in_a_loop():  # which is not to wait
            threading.Thread(target=self._arrive, name="stratix-postgres-arrival", daemon=True).start()
        else:
            self._arrive()

    # -- adding ---------------------------------------------------------------------------------

    async def _add_by_psycopg(self, jobs: Sequence[NewJob], connection: Any) -> Callable[[], bool]:
        execute = await self._executing(connection)
        if unknown := self._dependencies(jobs):
            self._refuse_unknown(jobs, await execute(self._unknown(), [unknown]))
        await execute(*self._statement(jobs, True))
        self._database.expect()
        return _is_open(OfPsycopg(connection))

    async def _executing(self, connection: Any) -> Callable[..., Awaitable[Rows]]:
        """Runs statements by a connection of psycopg for asyncio, which is one to this database."""

        async def execute(sql: str, values: Sequence[Any] = ()) -> Rows:
            cursor = await connection.cursor(row_factory=tuple_row).execute(sql, values)
            return await cursor.fetchall()  # type: ignore[no-any-return]

        if connection not in self._known:
            self._compare(connection, await execute(_WHERE), bool((await execute(self._there()))[0][0]))
        return execute

    def _statement(self, jobs: Sequence[NewJob], notifies: bool) -> tuple[str, list[Any]]:
        sql = f"SELECT {self._options.quoted_schema}.add_1(CAST(%s AS json), CAST(%s AS boolean))"
        return sql, [json.dumps([said_of(job) for job in jobs]), notifies]

    # -- checks ---------------------------------------------------------------------------------

    def _check(self, by: Users) -> None:
        with suppress(TypeError):  # it cannot be remembered
            if by.connection in self._known:
                return
        self._compare(by.connection, by.execute(_WHERE, ()), bool(by.execute(self._there(), ())[0][0]))

    def _there(self) -> str:
        name = f"{self._options.quoted_schema}.add_1(json, boolean)".replace("'", "''")
        return f"SELECT to_regprocedure('{name}') IS NOT NULL"

    def _compare(self, connection: Any, where: Rows, is_there: bool) -> None:
        """Raises ConfigurationError if it is a connection to another database than the store's."""
        with self._database.reading() as db:
            own = db.all(_WHERE)
        if not is_there or [tuple(row) for row in where] != [tuple(row) for row in own]:
            raise ConfigurationError(
                f"connection: it is to the database {where[0][0]!r} of another server than the store's, or to another "
                f"database: the store is {self._options.address}, schema {self._options.schema!r}"
            )
        with suppress(TypeError):
            self._known.add(connection)

    def _check_dependencies(self, jobs: Sequence[NewJob], execute: Execute) -> None:
        if named := self._dependencies(jobs):
            self._refuse_unknown(jobs, execute(self._unknown(), [named]))

    @staticmethod
    def _dependencies(jobs: Sequence[NewJob]) -> str:
        """Those that are none of the jobs before, as JSON; '' if there are none."""
        before, named = set[str](), list[str]()
        for job in jobs:
            named += [one for one in job.dependencies if one not in before]
            before.add(job.id)
        return json.dumps(named) if named else ""

    def _unknown(self) -> str:
        schema = self._options.quoted_schema
        return (
            "SELECT value FROM json_array_elements_text(CAST(%s AS json)) "
            f"WHERE NOT EXISTS (SELECT 1 FROM {schema}.jobs WHERE id = value) "
            f"AND NOT EXISTS (SELECT 1 FROM {schema}.incoming WHERE id = value) LIMIT 1"
        )

    @staticmethod
    def _refuse_unknown(jobs: Sequence[NewJob], found: Rows) -> None:
        for (unknown,) in found:
            raise DependencyNotFound(next(job.id for job in jobs if unknown in job.dependencies), unknown)


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_open(by: Users) -> Callable[[], bool]:
    """Whether the transaction is under way, without keeping the connection."""
    kind = type(by)
    try:
        known = ref(by.connection)
    except TypeError:
        return lambda: False

    def is_open() -> bool:
        connection = known()
        return connection is not None and kind(connection).is_open()

    return is_open
