"""The database as the rules use it: one transaction at a time in a process, under the lock of its namespace; readers
beside it; and a bell.

What is known from one step to the next is true as long as nobody else has written, which the row of counters tells: it
is read when the lock is held. A step that can be made again takes that for granted where it was so the last time: see
``Session``. So a process that nobody else writes beside makes most steps in one round trip.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from stratix_kombu import forks
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.record import Change
from stratix_kombu.stores.postgres.bell import Bell
from stratix_kombu.stores.postgres.connection import Connection, Statement
from stratix_kombu.stores.postgres.errors import MISSING, UNIQUE, Refused
from stratix_kombu.stores.postgres.migrate import check, lock_of
from stratix_kombu.stores.postgres.options import PostgresOptions
from stratix_kombu.stores.postgres.pool import Pool
from stratix_kombu.stores.postgres.session import SOME_CAME, Session, Undone
from stratix_kombu.stores.sql.database import COUNTERS, Counters, Read

BEGIN: Statement = ("BEGIN", ())
BEGIN_READING: Statement = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", ())
LOCK = "SELECT pg_advisory_xact_lock($1)"
READ = (
    f"SELECT {', '.join(COUNTERS)}, writes, era, {SOME_CAME}, "
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM counters ORDER BY era DESC LIMIT 1"
)
WRITE = (
    f"UPDATE counters SET {', '.join(f'{name} = ${at}' for at, name in enumerate([*COUNTERS, 'writes', 'era'], 1))} "
    f"WHERE era = ${len(COUNTERS) + 3}"
)
VERSION = (
    "SELECT writes + (SELECT coalesce(max(number), 0) FROM incoming) "
    "+ (SELECT coalesce(max(number), 0) FROM completions) FROM counters ORDER BY era DESC LIMIT 1"
)
EXPECTED_S = 60.0
"""So long after this process has added by a user's transaction it looks whether the job has come before it reads."""
FRESH_S = 1.0
"""So long after the server was heard of its time, and what is known, may be taken for granted."""
ERA = 64
"""After so many transactions the row of counters has another era."""


class Listener(Protocol):
    """Is told of each transaction."""

    def begin(self, same: bool) -> None:
        """It has begun; ``same``: nobody has written since the last one was committed."""

    def flush(self) -> object:
        """It is about to be committed."""


class PostgresDatabase:
    """As ``sql.database.Transactions``."""

    def __init__(self, options: PostgresOptions) -> None:
        self.options = options
        self.listener: Listener | None = None
        self.take_in: Callable[[], Change] = Change
        """Called within a transaction when there are jobs that users' transactions have added or completed."""
        self.on_arrival: Callable[[Change], object] = lambda change: None
        """Called after it, with what has become ready by that."""
        self._expected_until = 0.0
        self._checked = False
        self._some_came = f"SELECT {SOME_CAME}".replace("FROM ", f"FROM {options.quoted_schema}.")
        self._key = lock_of(f"namespace:{options.schema}")
        self._begin_anew()
        self.pool = Pool(options, self._opened)
        self.bell = Bell(options, self._opened, self._version)
        forks.register(self)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()
        self._turn = threading.Lock()
        """Of the thread that has the lock next: who has just given it back does not get it before that."""
        self._depth = 0
        self._owner = 0
        self._arrived: Change | None = None
        self._known: int | None = None
        """``writes`` as this process has left it; None: what is known may be wrong."""
        self._writes = 0
        self._was_same = False
        self.this_thread = threading.local()
        """``reads``: what its next step asks first. ``doubts``: its next step takes nothing for granted, since its last
        one was wrong; by steps of other threads, what is known may look right again before that."""
        self._surprised_at = 0.0
        """When a job was there that was taken to be new, on the clock of ``time.monotonic``."""
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
        if not self._acquire():
            self.this_thread.__dict__.clear()
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

    def _acquire(self) -> bool:
        """Whether it is this thread's turn, in time."""
        if self.is_within:
            return self._lock.acquire()
        deadline = time.monotonic() + self.options.timeout_ms / 1000
        if not self._turn.acquire(timeout=self.options.timeout_ms / 1000):
            return False
        try:
            return self._lock.acquire(timeout=max(deadline - time.monotonic(), 0))
        finally:
            self._turn.release()

    def _begin(self) -> bool:
        """Whether users' transactions have added or completed jobs."""
        asked, doubts = (self.this_thread.__dict__.pop(name, None) for name in ("reads", "doubts"))
        connection = self.pool.take()
        presumed = self._known if asked is not None and not doubts and self._may_presume() else None
        begin = [BEGIN, *self._settings(connection), (LOCK, (self._key,))]
        session = Session(self.options, connection, begin, presumed)
        self._connection, self._session = connection, session
        self.all, self.one, self.run, self.put, self.many = (
            session.all,
            session.one,
            session.run,
            session.put,
            session.many,
        )
        self.each, self.require = session.each, session.require
        try:
            some_came = False if presumed is not None else self._read(session, *(asked or ((), ())))
            self._known = None
            if self.listener is not None:
                self.listener.begin(self._was_same)
        except BaseException:
            self._leave()
            raise
        return some_came

    def _may_presume(self) -> bool:
        """Whether nobody else has written lately."""
        return self._known is not None and self._was_same and time.monotonic() - self._time[1] < FRESH_S

    def _read(self, session: Session, reads: Sequence[Read], unless_same: Sequence[Read]) -> bool:
        """Have the lock and read the counters; whether another process writes beside this one is taken to be as it was
        last."""
        row = self._first(session, [*reads] if self._was_same else [*reads, *unless_same])
        self._found, self._writes, self._era = self._saw(row), row[-4], row[-3]
        self._was_same = self._writes == self._known
        if row[-2]:
            session.forget()
        return bool(row[-2])

    def _first(self, session: Session, reads: list[Read]) -> tuple[Any, ...]:
        try:
            return session.first(READ, reads)
        except StoreUnavailable as problem:
            if isinstance(problem.__cause__, Refused) and problem.__cause__.code in MISSING:
                self._checked = False
                check(self.options)  # SchemaOutdated; where the tables are made when needed, the next step has them
            raise

    def ahead(self, reads: Iterable[Read], unless_same: Iterable[Read] = ()) -> None:
        if not self.is_within:
            self.this_thread.reads = [*reads], [*unless_same]

    @property
    def presumes(self) -> bool:
        """Whether a step may take jobs to be new: it is made again if they are there."""
        session = self._session
        return session is not None and session.presumes and time.monotonic() - self._surprised_at > FRESH_S

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
                self._end(kind)
        finally:
            self._lock.release()
        if arrived is not None and kind is None:
            self.on_arrival(arrived)

    def _end(self, kind: type[BaseException] | None) -> None:
        session, commit = self._session, kind is None
        assert session is not None
        try:
            if commit and self.listener is not None:
                self.listener.flush()
            if commit and session.has_written:
                self._commit(session)
            elif kind is None or issubclass(kind, Exception):
                session.confirm()
            if commit:
                self._known = self._writes
        except Undone as problem:
            if isinstance(problem.__cause__, Refused) and problem.__cause__.code == UNIQUE:
                self._surprised_at = time.monotonic()
            raise
        finally:
            if session.server_ms:
                self._time = session.server_ms, time.monotonic()
            self._leave()

    def _commit(self, session: Session) -> None:
        writes, era = self._writes + 1, self.era()
        session.commit((WRITE, (*self._found, writes, era, self._era)))
        self._writes, self._era = writes, era
        self.bell.committed(self._connection)

    def counters(self) -> Counters:
        """As the transaction has found them, or as it has put them."""
        return self._found

    def count(self, counters: Counters) -> None:
        """Put the counters: they are written with what else is, or alone."""
        assert self._session is not None
        self._session.has_written = True
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
        """A user's transaction of this process is about to add or complete jobs."""
        self._expected_until = time.monotonic() + EXPECTED_S

    def let_in(self) -> None:
        """Take in what users' transactions have added and completed, if there is anything."""
        with self.pool.connection() as connection:
            has_come = connection.answer(self._some_came).rows[0][0]
        if has_come:
            with self:
                pass

    def _version(self) -> int:
        """A number that is another one when somebody has written, or a user's transaction has added or completed."""
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
        return self._database._saw(self.first(READ, ()))
