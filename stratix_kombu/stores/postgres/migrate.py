"""The tables of a namespace: numbered scripts, each applied in a transaction and written down in ``schema_version``.

A release works on its own version and on the one before and after it: so two releases may run side by side while one
replaces the other. A script therefore only adds, and what is no longer needed is removed by the one after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import psycopg

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.stores.postgres.errors import SchemaOutdated, reported_connect
from stratix_kombu.stores.postgres.options import DEFAULT_NAMESPACE, PostgresOptions, quoted

SCRIPTS = sorted((Path(__file__).parent / "migrations").glob("*.sql"))
VERSION = len(SCRIPTS)
OLDEST = 130_000
"""The first version of PostgreSQL that has what the scripts need."""

_THERE = (
    "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace AS schemas "
    "ON schemas.oid = relnamespace WHERE nspname = %s AND relname = 'schema_version')"
)
"""By the catalog's rows: ``to_regclass`` may answer from a cache that is older than the lock which was waited for."""
_UNBOUND = (
    "SELECT set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false)"
)
"""What a role may do in the time of a request says nothing of how long tables are made."""
_OWNED = "stratix_kombu: namespace "
_COMMENT = "SELECT obj_description(to_regclass(%s), 'pg_class')"
_ANOTHERS = (psycopg.errors.DuplicateTable, psycopg.errors.UndefinedColumn, psycopg.errors.DatatypeMismatch)
_VERSION = "SELECT coalesce(max(version), 0) FROM {}.schema_version"


def script(schema: str, after: int = 0, to: int = VERSION) -> str:
    """The statements that bring the tables of a schema from one version to another, for a tool of the user's own."""
    parts = [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};", f"SET LOCAL search_path = {quoted(schema)};", _MADE]
    for version, file in enumerate(SCRIPTS[after:to], after + 1):
        parts += [file.read_text(encoding="utf-8"), f"INSERT INTO schema_version (version) VALUES ({version});"]
    return "\n".join([*parts, "SET LOCAL search_path = DEFAULT;"])


_MADE = (
    "CREATE TABLE IF NOT EXISTS schema_version "
    "(version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());"
)


def _owner(options: PostgresOptions) -> str:
    """What is written down of whose tables these are; '' where that is not said: a command that is given nothing but
    the URL of a store is for whichever namespace uses them."""
    is_said = options.namespace != DEFAULT_NAMESPACE or options.schema == DEFAULT_NAMESPACE
    return f"{_OWNED}{options.namespace}" if is_said else ""


def owned(options: PostgresOptions) -> str:
    """The statement that writes it down."""
    said = _owner(options).replace("'", "''")
    return f"COMMENT ON TABLE {options.quoted_schema}.schema_version IS '{said}';" if said else ""


def check_owner(connection: psycopg.Connection, options: PostgresOptions) -> None:
    """Raises ConfigurationError if the tables are those of another namespace."""
    row = connection.execute(_COMMENT, (f"{options.quoted_schema}.schema_version",)).fetchone()
    said, owner = str(row[0] or "") if row else "", _owner(options)
    if owner and said.startswith(_OWNED) and said != owner:
        raise ConfigurationError(
            f"{options.address}: the schema {options.schema!r} holds the namespace "
            f"{said.removeprefix(_OWNED)!r}: give {options.namespace!r} a schema of its own"
        )


def check(options: PostgresOptions) -> None:
    """That the tables are there; they are made if that is wanted. Raises SchemaOutdated, ConfigurationError,
    StoreUnavailable."""
    with connected(options) as connection, reported_connect(options):
        check_owner(connection, options)
        there = version_of(connection, options.schema)
        if there > VERSION + 1:
            raise ConfigurationError(
                f"{options.address}: the schema {options.schema!r} was made by a newer release (its tables have "
                f"version {there}, and this one knows {VERSION}): install that release here, too"
            )
        if there >= VERSION:
            return
        if not options.migrate:
            raise SchemaOutdated(options.address, options.schema, there, VERSION)
        migrate(connection, options.schema)
        connection.execute(owned(options).encode())


def migrate(connection: psycopg.Connection, schema: str, to: int = VERSION) -> tuple[int, int]:
    """Bring the tables of a schema up to date; the versions before and after. Raises ConfigurationError for a schema
    with tables of another program."""
    connection.execute(_UNBOUND)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock_of(f"migrate:{schema}"),))
        there = version_of(connection, schema)
        if there < to:
            with _refusing_anothers(schema):
                connection.execute(script(schema, there, to).encode())
    return there, max(there, to)


def version_of(connection: psycopg.Connection, schema: str) -> int:
    """0: there are no tables. Raises ConfigurationError for a schema with tables of another program."""
    if connection.execute(_THERE, (schema,)).fetchone() != (True,):
        return 0
    with _refusing_anothers(schema):
        row = connection.execute(_VERSION.format(quoted(schema)).encode()).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def _refusing_anothers(schema: str) -> Iterator[None]:
    """Raises ConfigurationError for a table that was not made by these scripts."""
    try:
        yield
    except _ANOTHERS as problem:
        raise ConfigurationError(
            f"the schema {schema!r} has tables of another program ({problem.diag.message_primary}): give the jobs a "
            "schema of their own, by '?schema=' in the URL of the store"
        ) from problem


def connected(options: PostgresOptions) -> psycopg.Connection:
    """A connection to a database that can be used. Raises ConfigurationError, StoreUnavailable."""
    with reported_connect(options):
        connection = psycopg.connect(**options.connect, autocommit=True)
    problem = ""
    if connection.info.server_version < OLDEST:
        problem = f"is PostgreSQL {connection.info.server_version // 10_000}, and 13 or newer is needed"
    elif connection.info.parameter_status("server_encoding") != "UTF8":
        encoding = connection.info.parameter_status("server_encoding")
        problem = f"keeps texts as {encoding}, and a database with the encoding UTF8 is needed"
    if problem:
        connection.close()
        raise ConfigurationError(f"{options.address} {problem}")
    return connection


def lock_of(name: str) -> int:
    """The number of an advisory lock."""
    return int.from_bytes(sha256(f"stratix_kombu:{name}".encode()).digest()[:8], "big", signed=True)
