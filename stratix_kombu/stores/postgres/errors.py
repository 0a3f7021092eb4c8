"""What is wrong, in words that a user can do something about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import pq

from stratix_kombu.errors import ConfigurationError, StoreUnavailable
from stratix_kombu.stores.postgres.options import PostgresOptions

READ_ONLY = "25006"
_WORDS = {
    READ_ONLY: "it is read-only: a standby, or a server that was the primary before a failover",
    "53300": "it has no connection left (max_connections)",
    "53100": "its disk is full",
    "55P03": "another process has kept the namespace locked for too long",
    "57014": "it has not finished in time",
    "57P01": "it is being shut down, or an administrator has ended the connection",
    "57P02": "it is being shut down after a crash",
    "57P03": "it is starting up or shutting down",
    "25P03": "this process was stopped in the middle of a step, which is undone",
    **dict.fromkeys(("26000", "42P05"), "a pooler between keeps no prepared statements: leave out 'prepare=on'"),
    "28P01": "it refuses the password",
    "42501": "its role lacks a privilege",
}
_HINTS = {
    "certificate verify failed": ": its certificate is not signed by an authority in 'sslrootcert'",
    **dict.fromkeys(
        ("no encryption", "SSL off"),
        ": it takes encrypted connections only: add 'sslmode=require' or 'sslmode=verify-full' to the URL",
    ),
}
"""What is to be done, where the library's words do not say it."""
STOPPED = "25P03"
AGAIN = ("40001", "40P01", STOPPED)
"""Another transaction was in the way, or this process was stopped for so long that the server has undone the step: the
whole step is made again."""
UNIQUE = "23505"
UNKNOWN = ("25P02", "26000", "42P05")
"""The session is not in the state that it should be in: a pooler has given another one."""
MISSING = ("42P01", "3F000", "42703", "42883")
"""A table, a schema, a column or a function is not there."""
PRESUMED = ("22012", UNIQUE, *MISSING)
"""What a step took for granted was wrong."""
OF_VALUES = ("22", "23", "40", "55", "57")
"""Classes of refusals after which the statement can be sent as before."""


class SchemaOutdated(ConfigurationError):
    """The tables of the namespace are not there, or are those of an earlier release."""

    def __init__(self, where: str, schema: str, version: int, needed: int) -> None:
        self.where = where
        self.schema = schema
        self.version = version
        self.needed = needed
        there = f"has version {version} of its tables, and this release needs {needed}" if version else "has no tables"
        super().__init__(
            f"{where}: the schema {schema!r} {there}: run 'stratix-kombu store migrate' (or add '?migrate=auto' to the "
            "URL of the store: then its tables are made when they are needed)"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.where, self.schema, self.version, self.needed)


class Refused(Exception):
    """The server has refused a statement; its transaction is undone."""

    def __init__(self, result: pq.abc.PGresult, sql: str) -> None:
        self.code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
        self.said = said.decode(errors="replace").strip()
        severity = result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED)
        self.is_fatal = severity in (b"FATAL", b"PANIC")
        """The server ends the connection with it."""
        self.ends = self.code in (*UNKNOWN, READ_ONLY)
        """The connection is of no use any more: it was made to what was the primary then."""
        super().__init__(f"{self.said} ({self.code}) in {sql}")


def said_of(refused: Refused) -> str:
    words = _WORDS.get(refused.code)
    said = f"{refused.said}, SQLSTATE {refused.code}"
    return f"{words} ({said})" if words else said


def unavailable(options: PostgresOptions, refused: Refused) -> StoreUnavailable:
    return StoreUnavailable(options.address, said_of(refused))


def emptied(options: PostgresOptions) -> StoreUnavailable:
    """The row that a namespace always has is not there."""
    return StoreUnavailable(
        options.address,
        f"the table 'counters' of the schema {options.schema!r} is empty, so somebody has emptied its tables: restore "
        "them, or drop the schema and run 'stratix-kombu store migrate'",
    )


def lost(options: PostgresOptions, said: str) -> StoreUnavailable:
    """The connection has ended."""
    return StoreUnavailable(options.address, options.without_password(" ".join(said.split())))


@contextmanager
def reported_connect(options: PostgresOptions) -> Iterator[None]:
    """Errors of connecting as StoreUnavailable, without credentials."""
    try:
        yield
    except psycopg.Error as problem:
        said = str(problem)
        hint = next((hint for words, hint in _HINTS.items() if words in said), "")
        raise lost(options, f"{said}{hint}") from None
