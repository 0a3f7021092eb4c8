"""A transaction that is open for long keeps the versions of rows that were replaced since. What a step reads does not
become more by that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Completion, Limit, NewJob
from stratix_kombu.stores.postgres import open_postgres_store
from stratix_kombu.stores.postgres.connection import Connection
from stratix_kombu.stores.postgres.session import GUARD
from stratix_kombu.stores.postgres.store import PostgresStore
from stratix_kombu.testing.stores import audit

QUEUE = "mail"
JOBS = 500
BLOCKS = 30
"""Of 8 kB, which a statement may look at. Were all versions looked at, it would be over 40, or one for each job."""
BOUNDS = Bounds(limit=Limit("api", 1_000_000, 1_000), group_concurrency=2)


@pytest.fixture
def store(postgres_database: str) -> Iterator[PostgresStore]:
    store = open_postgres_store({"url": f"{postgres_database}?migrate=auto"}, namespace="held")
    store.ping()
    yield store
    store.close()


def work(store: PostgresStore, number: int) -> None:
    """One job, of one of three groups."""
    store.transitions.add([NewJob(id=f"j{number}", queue=QUEUE, name="n", group=f"g{number % 3}")])
    taken = store.transitions.take(QUEUE, "w", 60_000, 1, BOUNDS, request=f"r{number}")
    store.transitions.complete([Completion(one.record.id, one.token, "1") for one in taken.claims])


def look(store: PostgresStore) -> None:
    """What workers and pages ask again and again."""
    assert store.work is not None
    store.work.wait([QUEUE], 0.0)
    store.work.count(QUEUE)
    store.events.tail(QUEUE)
    store.events.read(QUEUE, "0", limit=1)
    store.queries.status(QUEUE)
    store.queries.limit_ttl(QUEUE)


def test_what_is_read_for_a_job_does_not_grow_under_a_held_snapshot(
    store: PostgresStore, postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(postgres_database) as other:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1 FROM pg_class")
        for number in range(JOBS):
            work(store, number)
        asked: dict[str, Any] = {}
        send = Connection._send

        def noted(self: Connection, statements: Any) -> list[str]:
            statements = [*statements]
            asked.update(statements)
            return send(self, statements)

        monkeypatch.setattr(Connection, "_send", noted)
        store._database._known = None  # as if another process had written: nothing is known any more
        work(store, JOBS)
        look(store)
        monkeypatch.undo()
        read = {sql: blocks(postgres_database, sql, values) for sql, values in asked.items() if is_explained(sql)}
        assert {sql: count for sql, count in read.items() if count > BLOCKS} == {}
        for table in ("counters", "queues", "limits", "group_active", "group_places", "took"):
            assert [sql for sql in read if f" {table} " in sql], table
        other.rollback()
    assert audit(store) == []


def is_explained(sql: str) -> bool:
    """What can be done again. The guard is refused when it is, by what was written since."""
    again = sql.split()[0] in ("SELECT", "UPDATE", "DELETE") or "ON CONFLICT" in sql
    return again and sql != GUARD and not re.search(r"pg_\w+\(|set_config", sql)


def blocks(url: str, sql: str, values: Any) -> int:
    """How many the statement looks at, planned as by the store."""
    given = [int(value) if isinstance(value, bool) else value for value in values]
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path = stratix_held; SET enable_seqscan = off; SET jit = off")
        explained = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {re.sub(r'[$][0-9]+', '%s', sql)}"
        ((said,),) = connection.execute(explained.encode(), given).fetchall()
        connection.rollback()
    return int(said[0]["Plan"]["Shared Hit Blocks"]) + int(said[0]["Plan"]["Shared Read Blocks"])
