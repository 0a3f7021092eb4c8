"""One empty store of each kind, to be compared."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.memory import MemoryStore
from stratix_kombu.stores.postgres import open_postgres_store
from stratix_kombu.stores.postgres.store import PostgresStore
from stratix_kombu.stores.sqlite import SqliteStore, open_sqlite_store
from tests.conformance.asked_twice import open_asking_twice


def run_model(
    machine: type[RuleBasedStateMachine], opened: Callable[[], list[Store]], examples: int, steps: int
) -> None:
    """Random steps on those stores, which are the same in each run."""
    chosen = settings(stateful_step_count=steps, max_examples=examples, deadline=None, derandomize=True, database=None)
    run_state_machine_as_test(
        type(machine.__name__, (machine,), {"opened": staticmethod(opened)}),
        settings=settings(chosen, suppress_health_check=list(HealthCheck)),
    )


def one_of_each(redis_url: str, folder: Path) -> list[Store]:
    """The memory store, which is the specification, Redis asking each question twice, and SQLite."""
    name = uuid.uuid4().hex[:10]
    return [MemoryStore(), open_asking_twice(redis_url, name), empty_file(folder, name)]


def with_postgres(url: str) -> list[Store]:
    """The memory store and PostgreSQL, whose rules are those of SQLite: in fewer runs."""
    return [MemoryStore(), empty_schema(url)]


def empty_file(folder: Path, name: str) -> SqliteStore:
    """A copy of a file that has its tables already."""
    if not (folder / "empty.db").exists():
        made = _opened(folder / "empty.db")
        made.ping()
        made.close()
    shutil.copyfile(folder / "empty.db", folder / f"{name}.db")
    return _opened(folder / f"{name}.db")


def empty_schema(url: str) -> PostgresStore:
    """The same namespace of a database again, with nothing in it: its tables are made once."""
    store = open_postgres_store({"url": f"{url}?migrate=auto"}, namespace="compared")
    store.ping()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_EMPTY)
    return store


_EMPTY = """
DO $$
DECLARE one text;
BEGIN
  SET LOCAL search_path = stratix_compared;
  FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = 'stratix_compared' AND tablename <> 'schema_version'
  LOOP
    EXECUTE format('DELETE FROM %I', one);
  END LOOP;
  INSERT INTO counters (era) VALUES (0);
  INSERT INTO leader (one) VALUES (1);
END $$
"""


def _opened(file: Path) -> SqliteStore:
    # What is on the disk does not matter here.
    return open_sqlite_store({"url": f"sqlite:///{file}?synchronous=off"}, namespace="compared")
