"""The tables of the SQL stores are the same ones: one rule book writes them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg

from tests.conformance.opened import empty_file, empty_schema

MEANINGS = {"INTEGER": "number", "bigint": "number", "TEXT": "text", "text": "text"}
MEANINGS |= {"REAL": "fraction", "double precision": "fraction"}
ONLY_SQLITE = {"namespace"}
"""A file says whose it is."""
ONLY_POSTGRES = {"incoming", "completions", "overtaken"}
"""Jobs of users' transactions, and those that they complete."""
OWN_OF_SQLITE = {("counters", "one"): ("number", True)}
OWN_OF_POSTGRES = {("counters", "era"): ("number", True), ("counters", "writes"): ("number", True)}
Columns = dict[tuple[str, str], tuple[str, bool]]
"""By table and name: what it means, and whether something is always there."""


def test_they_have_the_same_tables_and_columns(tmp_path: Path, postgres_database: str) -> None:
    of_sqlite, of_postgres = in_sqlite(tmp_path), in_postgres(postgres_database)
    assert tables(of_sqlite) - tables(of_postgres) == ONLY_SQLITE
    assert tables(of_postgres) - tables(of_sqlite) == ONLY_POSTGRES
    both = tables(of_sqlite) & tables(of_postgres)
    ours, theirs = ({key: value for key, value in one.items() if key[0] in both} for one in (of_sqlite, of_postgres))
    assert dict(ours.items() - theirs.items()) == OWN_OF_SQLITE
    assert dict(theirs.items() - ours.items()) == OWN_OF_POSTGRES


def test_texts_are_sorted_as_in_python(postgres_database: str) -> None:
    """In PostgreSQL a column says so, whatever its database sorts by; in SQLite all do."""
    empty_schema(postgres_database).close()
    with psycopg.connect(postgres_database) as connection:
        found = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'stratix_compared' "
            "AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
        ).fetchall()
    assert found == []


def tables(columns: Columns) -> set[str]:
    return {table for table, _ in columns} - {"schema_version"}


def in_sqlite(folder: Path) -> Columns:
    store = empty_file(folder, "tables")
    store.ping()
    with sqlite3.connect(next(folder.glob("*.db"))) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: Columns = {}
        for table in names:
            if table.startswith("sqlite_") or table == "schema_version":
                continue
            for _, column, kind, always, _, key in connection.execute(f"PRAGMA table_info({table})"):
                found[table, column] = (MEANINGS[kind], bool(always or key))
    connection.close()
    store.close()
    return found


def in_postgres(url: str) -> Columns:
    empty_schema(url).close()
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable = 'NO' FROM information_schema.columns "
            "WHERE table_schema = 'stratix_compared' AND table_name <> 'schema_version'"
        ).fetchall()
    return {(table, column): (MEANINGS[kind], always) for table, column, kind, always in rows}
