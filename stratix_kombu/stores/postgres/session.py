"""Transactions on a connection: what one writes is sent with its next question, or with its commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.stores.postgres.connection import Answer, Connection, Rows, Statement
from stratix_kombu.stores.postgres.errors import AGAIN, PRESUMED, READ_ONLY, Refused, emptied, said_of, unavailable
from stratix_kombu.stores.postgres.options import PostgresOptions
from stratix_kombu.stores.sql.columns import TEXTS, UPDATE_GIVEN
from stratix_kombu.stores.sql.database import Read

COMMIT: Statement = ("COMMIT", ())
SOME_CAME = "(EXISTS (SELECT 1 FROM incoming) OR EXISTS (SELECT 1 FROM completions))"
"""Whether users' transactions have added or completed jobs."""
GUARD = (
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint "
    f"/ CASE WHEN writes = $1 AND NOT {SOME_CAME} THEN 1 ELSE 0 END "
    "FROM counters ORDER BY era DESC LIMIT 1"
)
"""The server's time; refused (a division by zero) where another process has written, or a user's transaction has
added or completed."""
OF_JOBS = "UPDATE jobs SET "
ROWS_AT_ONCE = (32, 8, 2)
"""So many rows are inserted by one statement: few sizes, since each is a statement of its own."""


class Undone(StoreUnavailable):
    """The server has undone the step, of which nothing else is wrong: it can be made again."""


class Session:
    """A transaction on a connection, as ``sql.database.Database``. ``begin``: its first statements. ``known``: how
    often was written when the last step ended, as far as this process knows; what it has read is taken to be as it was,
    and nothing is asked before something is not known. The server refuses the whole step where that was wrong."""

    def __init__(
        self, options: PostgresOptions, connection: Connection, begin: list[Statement], known: int | None = None
    ) -> None:
        self._options = options
        self._connection = connection
        self.presumes = known is not None
        self._guarded_at = len(begin)
        self._waiting = begin if known is None else [*begin, (GUARD, (known,))]
        """What is sent with the next question."""
        self.server_ms = 0
        """The server's time, as the guard has answered it."""
        self.is_asked = False
        """Whether anything was sent."""
        self._is_open = False
        self.has_written = False
        self._ahead: dict[Read, Rows] = {}

    def _ask(self, statement: Statement) -> Answer:
        return self.exchange([statement])[-1]

    def exchange(self, statements: Iterable[Statement]) -> list[Answer]:
        waiting, self._waiting = self._waiting, []
        is_first, self.is_asked, self._is_open = not self.is_asked, True, True
        try:
            answers = self._connection.exchange([*waiting, *statements])
        except Refused as refused:
            if refused.ends:
                self._connection.close()
                self._connection.is_read_only = refused.code == READ_ONLY
            if refused.code in AGAIN or (self.presumes and refused.code in PRESUMED):
                raise Undone(self._options.address, said_of(refused)) from refused
            raise unavailable(self._options, refused) from refused
        if self.presumes and is_first:
            self.server_ms = self._row(answers[self._guarded_at])[0]
        return answers

    def _row(self, answer: Answer) -> tuple[Any, ...]:
        """The row of counters, of which an answer tells."""
        if not answer.rows:
            raise emptied(self._options)
        return answer.rows[0]

    def confirm(self) -> None:
        """Have the server say that what was taken for granted is so, where nothing was sent yet."""
        if self.presumes and not self.is_asked:
            self.exchange(())

    def commit(self, *statements: Statement) -> None:
        self.exchange([*statements, COMMIT])
        self._is_open = False

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        if self._ahead and (sql, values) in self._ahead:
            return self._ahead.pop((sql, values))
        return self._ask((dollars(sql), values)).rows

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    def each(self, reads: Sequence[Read]) -> list[Rows]:
        """All of these questions, in one round trip."""
        left = [(dollars(sql), values) for sql, values in reads if (sql, values) not in self._ahead]
        answers = iter(self.exchange(left)[-len(left) :] if left else ())
        return [self._ahead.pop(read) if read in self._ahead else next(answers).rows for read in reads]

    def require(self, reads: Sequence[Read]) -> None:
        """Have the whole step refused where one of these questions is; they are sent with the next one."""
        self._waiting += [(dollars(sql), values) for sql, values in reads]

    def first(self, sql: str, reads: Sequence[Read]) -> tuple[Any, ...]:
        """The one row of the first question; the others are asked with it, and answered from memory when they are asked
        for the first time."""
        answers = self.exchange([(sql, ()), *((dollars(read), values) for read, values in reads)])
        answers = answers[-len(reads) - 1 :]
        self._ahead = {read: answer.rows for read, answer in zip(reads, answers[1:], strict=True)}
        return self._row(answers[0])

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
        if len(left) > 1 and sql.startswith(OF_JOBS) and sql != UPDATE_GIVEN:
            self._waiting.append((jobs_at_once(sql), [array_of(column) for column in zip(*left, strict=True)]))
            return
        for size in ROWS_AT_ONCE if sql.startswith("INSERT") and "ON CONFLICT" not in sql else ():
            while len(left) >= size:
                self._waiting.append((rows_at_once(sql, size), [value for row in left[:size] for value in row]))
                del left[:size]
        said = dollars(sql)
        self._waiting += [(said, row) for row in left]

    def era(self) -> int:
        """Who reads needs none."""
        return 0

    def end(self) -> None:
        """Undo what was not committed, without waiting for that."""
        self._waiting = []
        if self._is_open and not self._connection.closed:
            self._is_open = False
            self._connection.post("ROLLBACK")


@cache
def rows_at_once(sql: str, size: int) -> str:
    """The statement that inserts so many rows."""
    head, values, row = sql.partition(" VALUES ")
    return dollars(f"{head}{values}{', '.join([row] * size)}")


@cache
def jobs_at_once(sql: str) -> str:
    """The statement that changes many jobs as this one changes one: its values are arrays."""
    names = [part.partition(" = ")[0] for part in sql.removeprefix(OF_JOBS).removesuffix(" WHERE id = ?").split(", ")]
    kinds = ["text" if name in TEXTS else "bigint" for name in names] + ["text"]
    arrays = ", ".join(f"${at}::{kind}[]" for at, kind in enumerate(kinds, 1))
    # Joined by the place of the row, which is looked up by its id: so no plan reads the whole table, though plans are
    # made while it may be empty. Nobody else writes rows of the namespace meanwhile.
    row = "LATERAL (SELECT ctid AS at FROM jobs WHERE jobs.id = given.id OFFSET 0) AS there"
    return (
        f"UPDATE jobs SET {', '.join(f'{name} = new.{name}' for name in names)} FROM (SELECT given.*, there.at "
        f"FROM unnest({arrays}) AS given ({', '.join(names)}, id), {row}) AS new WHERE jobs.ctid = new.at"
    )


_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"'})


def array_of(values: Iterable[Any]) -> str:
    """As PostgreSQL writes an array of texts or numbers."""
    said = [
        "NULL" if one is None else f'"{one.translate(_QUOTED)}"' if isinstance(one, str) else f"{one:d}"
        for one in values
    ]
    return f"{{{','.join(said)}}}"


_known: dict[str, str] = {}


def dollars(sql: str) -> str:
    """A statement with its parameters as PostgreSQL writes them."""
    said = _known.get(sql)
    if said is None:
        parts = sql.split("?")
        said = parts[0] + "".join(f"${at}{part}" for at, part in enumerate(parts[1:], 1))
        _known[sql] = said
    return said
