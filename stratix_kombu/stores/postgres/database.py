"""The database as the rules use it: one transaction at a time in a process, under the lock of its namespace; readers
beside it; and a bell.

What a step writes is sent with its next question, or with the commit. What is known from one step to the next is true
as long as nobody else has written, which the row of counters tells: it is read when the lock is held.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

from stratix_kombu import forks
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.record import Change
from stratix_kombu.stores.postgres.bell import Bell
from stratix_kombu.stores.postgres.connection import Answer, Connection, Rows, Statement
from stratix_kombu.stores.postgres.errors import AGAIN, MISSING, READ_ONLY, Refused, unavailable
from stratix_kombu.stores.postgres.migrate import check, lock_of
from stratix_kombu.stores.postgres.options import PostgresOptions
from stratix_kombu.stores.postgres.pool import Pool
from stratix_kombu.stores.sql.database import COUNTERS, Counters, Read

BEGIN: Statement = ("BEGIN", ())
BEGIN_READING: Statement = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())
COMMIT: Statement = ("COMMIT", ())
LOCK = "SELECT pg_advisory_xact_lock($1)"
READ = (
    f"SELECT {', '.join(COUNTERS)}, writes, era, EXISTS (SELECT 1 FROM incoming), "
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM counters ORDER BY era DESC LIMIT 1"
)
WRITE = (
    f"UPDATE counters SET {', '.join(f'{name} = ${at}' for at, name in enumerate([*COUNTERS, 'writes', 'era'], 1))} "
    f"WHERE era = ${len(COUNTERS) + 3}"
)
VERSION = "SELECT writes + (SELECT coalesce(max(number), 0) FROM incoming) FROM counters ORDER BY era DESC LIMIT 1"
EXPECTED_S = 60.0
"""So long after this process has added by a user's transaction it looks whether the job has come before it reads."""
ROWS_AT_ONCE = (32, 8, 2)
"""So many rows are inserted by one statement: few sizes, since each is a statement of its own."""
ERA = 64
"""After so many transactions the row of counters has another era."""


class InTheWay(StoreUnavailable):
    """Another transaction was: the step can be done again."""


class Listener(Protocol):
    """Is told of each transaction."""

    def begin(self, same: bool) -> None:
        """It has begun; ``same``: nobody has written since the last one was committed."""

    def flush(self) -> object:
        """It is about to be committed."""


class Session:
    """A transaction on a connection, as ``sql.database.Database``."""

    def __init__(self, options: PostgresOptions, connection: Connection, begin: list[Statement]) -> None:
        self._options = options
        self._connection = connection
        self._waiting = begin
        """What is sent with the next question."""
        self.has_written = False
        self._ahead: dict[Read, Rows] = {}

    def _ask(self, statement: Statement) -> Answer:
        return self.exchange([statement])[-1]

    def exchange(self, statements: Iterable[Statement]) -> list[Answer]:
        waiting, self._waiting = self._waiting, []
        try:
            return self._connection.exchange([*waiting, *statements])
        except Refused as refused:
            if refused.ends:
                self._connection.close()
                self._connection.is_read_only = refused.code == READ_ONLY
            if refused.code in AGAIN:
                raise InTheWay(self._options.address, refused.said) from refused
            raise unavailable(self._options, refused) from refused

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        if self._ahead and (sql, values) in self._ahead:
            return self._ahead.pop((sql, values))
        return self._ask((dollars(sql), values)).rows

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    def first(self, sql: str, reads: Sequence[Read]) -> tuple[Any, ...]:
        """The one row of the first question; the others are asked with it, and answered from memory when they are asked
        for the first time."""
        answers = self.exchange([(sql, ()), *((dollars(read), values) for read, values in reads)])
        answers = answers[-len(reads) - 1 :]
        self._ahead = {read: answer.rows for read, answer in zip(reads, answers[1:], strict=True)}
        return answers[0].rows[0]

    def forget(self) -> None:
        """What was asked ahead: it is about to become something else."""
        self._ahead.clear()

    def run(self, sql: str, *values: Any) -> int:
        self.has_written = True
        return self._ask((dollars(sql), values)).changed

    def put(self, sql: str, *values: Any) -> None:
        self.has_written = True
        self._waiting.append((dollars(sql), values))

    def many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        left = [*rows]
        self.has_written = self.has_written or bool(left)
        for size in ROWS_AT_ONCE if sql.startswith("INSERT") and "ON CONFLICT" not in sql else ():
            while len(left) >= size:
                self._waiting.append((rows_at_once(sql, size), [value for row in left[:size] for value in row]))
                del left[:size]
        said = dollars(sql)
        self._waiting += [(said, row) for row in left]

    def era(self) -> int:
        """Who reads needs none."""
        return 0

    def end(self, connection_is_good: bool = True) -> None:
        """Undo what was not committed, without waiting for that."""
        self._waiting = []
        if connection_is_good and not self._connection.closed:
            self._connection.post("ROLLBACK")


@cache
def rows_at_once(sql: str, size: int) -> str:
    """The statement that inserts so many rows."""
    head, values, row = sql.partition(" VALUES ")
    return dollars(f"{head}{values}{', '.join([row] * size)}")


_known: dict[str, str] = {}


def dollars(sql: str) -> str:
    """A statement with its parameters as PostgreSQL writes them."""
    said = _known.get(sql)
    if said is None:
        parts = sql.split("?")
        said = parts[0] + "".join(f"${at}{part}" for at, part in enumerate(parts[1:], 1))
        _known[sql] = said
    return said


class PostgresDatabase:
    """As ``sql.database.Transactions``."""

    def __init__(self, options: PostgresOptions) -> None:
        self.options = options
        self.listener: Listener | None = None
        self.take_in: Callable[[], Change] = Change
        """Called within a transaction when there are jobs that users' transactions have added."""
        self.on_arrival: Callable[[Change], object] = lambda change: None
        """Called after it, with what has become ready by that."""
        self._expected_until = 0.0
        self._checked = False
        self._key = lock_of(f"namespace:{options.schema}")
        self._begin_anew()
        self.pool = Pool(options, self._opened)
        self.bell = Bell(options, self._opened, self._version)
        forks.register(self)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._owner = 0
        self._arrived: Change | None = None
        self._known: int | None = None
        """``writes`` as this process has left it; None: what is known may be wrong."""
        self._writes = 0
        self._was_same = False
        self._asked = threading.local()
        self._time = (0, 0.0)
        """The server's clock, and ours at that instant."""
        self._session: Session | None = None

    def after_fork(self) -> None:
        self._begin_anew()

    def _opened(self) -> Connection:
        if not self._checked:
            check(self.options)
            self._checked = True
        return Connection(self.options)

    def close(self) -> None:
        self.bell.close()
        self.pool.close()

    # -- the clock ------------------------------------------------------------------------------

    def clock(self) -> int:
        """The server's, in milliseconds since the epoch, as far as it was seen last."""
        server_ms, ours = self._time
        return server_ms + int((time.monotonic() - ours) * 1000)

    def _saw(self, row: tuple[Any, ...]) -> Counters:
        self._time = row[-1], time.monotonic()
        return Counters(*row[: len(COUNTERS)])

    # -- transactions ---------------------------------------------------------------------------

    def __enter__(self) -> PostgresDatabase:
        if not self._lock.acquire(timeout=self.options.timeout_ms / 1000):
            raise StoreUnavailable(self.options.address, "another thread's step has not finished in time")
        try:
            some_came = False
            if not self._depth:
                some_came = self._begin()
                self._owner = threading.get_ident()
            self._depth += 1
        except BaseException:
            self._lock.release()
            raise
        if some_came:
            try:
                self._arrived = self.take_in()
            except BaseException as problem:
                self.__exit__(type(problem))
                raise
        return self

    def _begin(self) -> bool:
        """Whether jobs have come by users' transactions."""
        connection = self.pool.take()
        session = Session(self.options, connection, [BEGIN, *self._settings(connection), (LOCK, (self._key,))])
        self._connection, self._session = connection, session
        self.all, self.one, self.run, self.put, self.many = (
            session.all,
            session.one,
            session.run,
            session.put,
            session.many,
        )
        try:
            row = self._first(session)
            self._found, self._writes, self._era = self._saw(row), row[-4], row[-3]
            if row[-2]:
                session.forget()
            same, self._known = self._writes == self._known, None
            self._was_same = same
            if self.listener is not None:
                self.listener.begin(same)
        except BaseException:
            self._leave()
            raise
        return bool(row[-2])

    def _first(self, session: Session) -> tuple[Any, ...]:
        try:
            return session.first(READ, self._reads())
        except StoreUnavailable as problem:
            if isinstance(problem.__cause__, Refused) and problem.__cause__.code in MISSING:
                self._checked = False
                check(self.options)  # SchemaOutdated; where the tables are made when needed, the next step has them
            raise

    def ahead(self, reads: Iterable[Read], unless_same: Iterable[Read] = ()) -> None:
        if not self.is_within:
            self._asked.reads = [*reads], [*unless_same]

    def _reads(self) -> list[Read]:
        """What this thread has said; whether another process writes beside this one is taken to be as it was last."""
        reads, unless_same = getattr(self._asked, "reads", ((), ()))
        self._asked.reads = (), ()
        return [*reads] if self._was_same else [*reads, *unless_same]

    def _leave(self) -> None:
        """The transaction is over, or it is undone."""
        assert self._session is not None
        self._session.end()
        self._session = None
        self.pool.give_back(self._connection)
        if self._connection.is_read_only:  # so is the server of all others; another host may be the primary now
            self.pool.close()
            self.bell.connect_anew()

    @staticmethod
    def _settings(connection: Connection) -> list[Statement]:
        """Behind a pooler they are those of the transaction."""
        if not connection.pooled:
            return []
        said = ", ".join(f"set_config('{name}', ${at}, true)" for at, name in enumerate(connection.settings, 1))
        return [(f"SELECT {said}", list(connection.settings.values()))]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._depth -= 1
        arrived = None
        try:
            if not self._depth:
                arrived, self._arrived = self._arrived, None
                self._end(kind is None)
        finally:
            self._lock.release()
        if arrived is not None and kind is None:
            self.on_arrival(arrived)

    def _end(self, commit: bool) -> None:
        session = self._session
        assert session is not None
        try:
            if commit and self.listener is not None:
                self.listener.flush()
            if not commit:
                return
            if session.has_written:
                self._commit(session)
            self._known = self._writes
        finally:
            self._leave()

    def _commit(self, session: Session) -> None:
        writes = self._writes + 1
        session.exchange([(WRITE, (*self._found, writes, writes // ERA, self._era)), COMMIT])
        self._writes = writes
        self.bell.committed(self._connection)

    def counters(self) -> Counters:
        """As the transaction has found them, or as it has put them."""
        return self._found

    def count(self, counters: Counters) -> None:
        """Put the counters."""
        self._found = counters

    def era(self) -> int:
        return (self._writes + 1) // ERA

    @property
    def is_within(self) -> bool:
        """Whether this thread is in a transaction."""
        return self._depth > 0 and self._owner == threading.get_ident()

    # -- reading --------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[ReadingSession]:
        """What is read within is of one instant."""
        if self._expected_until > time.monotonic():
            self.let_in()
        with self.pool.connection() as connection:
            session = ReadingSession(self, connection, [BEGIN_READING, *self._settings(connection)])
            try:
                yield session
            finally:
                session.end()

    def expect(self) -> None:
        """A user's transaction of this process is about to add jobs."""
        self._expected_until = time.monotonic() + EXPECTED_S

    def let_in(self) -> None:
        """Take in what users' transactions have added, if there is anything."""
        with self.pool.connection() as connection:
            some_came = connection.exchange([(f"SELECT 1 FROM {self.options.quoted_schema}.incoming LIMIT 1", ())])
        if some_came[-1].rows:
            with self:
                pass

    def _version(self) -> int:
        """A number that is another one when somebody has written, or a user's transaction has added."""
        with self.reading() as db:
            return int((db.one(VERSION) or (0,))[0])

    def changes(self) -> int:
        return self.bell.changes()

    def ring(self) -> None:
        self.bell.ring()

    def wait(self, seen: int, timeout: float) -> None:
        self.bell.wait(seen, timeout)


class ReadingSession(Session):
    """Reads."""

    def __init__(self, database: PostgresDatabase, connection: Connection, begin: list[Statement]) -> None:
        super().__init__(database.options, connection, begin)
        self._database = database

    def counters(self) -> Counters:
        (row,) = self.exchange([(READ, ())])[-1].rows
        return self._database._saw(row)
