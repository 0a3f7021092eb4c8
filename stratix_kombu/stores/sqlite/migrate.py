"""The tables of a file: made, and brought up to date, when it is opened.

Numbered scripts are applied in one transaction each, and written down in ``schema_version``. A release works on its own
version and on the one before and after it: so two releases may run side by side while one replaces the other. A script
therefore only adds, and what is no longer needed is removed by the one after it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.stores.sqlite.connection import Connection, reported
from stratix_kombu.stores.sqlite.options import SqliteOptions

SCRIPTS = sorted((Path(__file__).parent / "migrations").glob("*.sql"))
VERSION = len(SCRIPTS)


def migrate(connection: Connection, options: SqliteOptions, namespace: str | None) -> None:
    """Bring the file up to date. Raises ConfigurationError if another namespace has it, or a release that is too new;
    StoreUnavailable."""
    with reported(options):
        if _is_current(connection, namespace):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            _bring_up(connection, options, namespace)
            connection.execute("COMMIT")
        finally:
            connection.roll_back()


def _is_current(connection: Connection, namespace: str | None) -> bool:
    """Whether nothing is to be done; then nobody is waited for."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('schema_version', 'namespace')")
    if tables.fetchone()[0] < 2:
        return False
    there = connection.execute("SELECT (SELECT max(version) FROM schema_version), (SELECT name FROM namespace)")
    version, owner = there.fetchone()
    return version == VERSION and namespace in (None, owner)


def _bring_up(connection: Connection, options: SqliteOptions, namespace: str | None) -> None:
    run = connection.execute
    _refuse_anothers(connection, options)
    run("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)")
    run("CREATE TABLE IF NOT EXISTS namespace (name TEXT NOT NULL)")
    (there,) = run("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    if there > VERSION + 1:
        raise ConfigurationError(
            f"{options.address} was written by a newer release (its tables have version {there}, and this one knows "
            f"{VERSION}): install that release here, too"
        )
    owner = run("SELECT name FROM namespace").fetchone()
    if namespace is None:
        pass
    elif owner is None:
        run("INSERT INTO namespace (name) VALUES (?)", (namespace,))
    elif owner[0] != namespace:
        raise ConfigurationError(
            f"{options.address} holds the namespace {owner[0]!r}: give {namespace!r} a file of its own"
        )
    for version, script in enumerate(SCRIPTS[there:], there + 1):
        for statement in statements(script.read_text(encoding="utf-8")):
            run(statement)
        run("INSERT INTO schema_version (version, applied_at) VALUES (?, datetime('now'))", (version,))


def _refuse_anothers(connection: Connection, options: SqliteOptions) -> None:
    """Raises ConfigurationError if there are tables that are named as ours and were not made by these scripts."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    ours = {"schema_version", *re.findall(r"CREATE TABLE (\w+)", SCRIPTS[0].read_text(encoding="utf-8"))}
    if "namespace" not in there and (same := sorted(there & ours)):
        raise ConfigurationError(
            f"{options.address} has tables of another program ({', '.join(same)}): give the jobs a file of their own"
        )


def statements(script: str) -> Iterator[str]:
    """One by one: sqlite3 would end the transaction before a whole script."""
    said = ""
    for line in script.splitlines(keepends=True):
        said += line
        if sqlite3.complete_statement(said):
            yield said
            said = ""
