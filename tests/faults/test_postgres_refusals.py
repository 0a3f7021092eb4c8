"""The PostgreSQL store: what the server refuses where no step is at work, and what it says as it ends a connection."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stratix_kombu import create_app
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.stores.postgres.connection import Connection
from stratix_kombu.stores.postgres.store import PostgresStore
from stratix_kombu.testing.stores import audit
from tests.faults.postgres import QUEUE, TIMEOUT_MS, add, again, opened, there, transaction
from tests.faults.proxy import Proxy
from tests.waiting import WAIT_S, until

READY = b"Z\0\0\0\x05I"
"""What ends each answer of the server."""


@pytest.fixture
def store(postgres_database: str) -> Iterator[PostgresStore]:
    store = opened(postgres_database, timeout=TIMEOUT_MS)
    store.ping()
    yield store
    store.close()


def error(severity: str, code: str, said: str) -> bytes:
    """As the server says it."""
    fields = f"S{severity}\0V{severity}\0C{code}\0M{said}\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


@pytest.mark.parametrize("asked", [b"there-0", b"COMMIT"])
def test_a_connection_that_the_server_ends_behind_its_last_answer(postgres_database: str, asked: bytes) -> None:
    """All that was asked is answered, and then the server says that it ends the connection, in place of being ready."""
    proxy = Proxy(postgres_database)
    store = opened(proxy.url, timeout=TIMEOUT_MS)
    add(store, "before")
    proxy.cut_all()
    proxy.cut_replies_to(asked, -len(READY), last=error("FATAL", "57P01", "terminating connection"))
    with pytest.raises(StoreUnavailable, match=r"ended the connection \(terminating connection, SQLSTATE 57P01\)"):
        add(store, "there-0")
    assert proxy.cuts == 1
    assert there(store, "there-0") == [asked == b"COMMIT"]
    assert again(partial(add, store, "there-0", "there-1")) is None
    assert there(store, "there-0", "there-1") == [True, True]
    assert store.queries.status(QUEUE).counts["waiting"] == 3
    assert audit(store) == []
    store.close()
    proxy.close()


def test_an_answer_that_cannot_be_read_ends_the_connection(postgres_database: str) -> None:
    """As of something between that has mixed up two connections."""
    proxy = Proxy(postgres_database)
    store = opened(proxy.url, timeout=TIMEOUT_MS)
    add(store, "before")
    proxy.cut_all()
    proxy.cut_replies_to(b"COMMIT", 0, last=b"x" * 50)
    with pytest.raises(StoreUnavailable, match="lost synchronization with server"):
        add(store, "there-0")
    assert again(partial(add, store, "there-0", "there-1")) is None
    assert there(store, "there-0", "there-1") == [True, True]
    assert audit(store) == []
    store.close()
    proxy.close()


def test_who_waits_goes_on_to_listen_where_the_server_refuses_it_once(
    store: PostgresStore, postgres_database: str
) -> None:
    """As a standby does, and a server that has run out of something."""
    proxy = Proxy(postgres_database)
    waits = opened(proxy.url)
    waits.ping()
    proxy.cut_replies_to(b"LISTEN", 0, last=error("ERROR", "25006", "cannot execute LISTEN during recovery") + READY)
    bell = waits._database.bell
    rung = bell.changes()
    until(lambda: proxy.cuts and bell.changes() > rung, WAIT_S)  # it has looked, and begins again
    until(lambda: bell._connection is not None and bell.changes() > rung + 1, WAIT_S)
    rung = bell.changes()
    add(store, "heard")
    until(lambda: bell.changes() > rung, WAIT_S)
    waits.close()
    proxy.close()


def test_who_waits_goes_on_to_listen_after_a_bug_of_ours(
    store: PostgresStore, postgres_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    waits = opened(postgres_database)
    bell = waits._database.bell
    tries: list[object] = []
    begin = bell._listening

    def listening() -> Connection:
        tries.append(None)
        if len(tries) == 1:
            raise ZeroDivisionError
        return begin()

    monkeypatch.setattr(bell, "_listening", listening)
    bell.changes()
    until(lambda: bell._connection is not None, WAIT_S)
    assert [getattr(one, "action", "") for one in caplog.records] == ["listen_failed"]
    rung = bell.changes()
    add(store, "heard")
    until(lambda: bell.changes() > rung, WAIT_S)
    waits.close()


def test_reading_behind_ones_own_transaction_while_its_table_is_locked(
    store: PostgresStore, postgres_database: str
) -> None:
    """What it has added is taken in first, which is impossible then."""
    store._database.expect()
    with transaction(postgres_database) as other:
        other.execute("LOCK TABLE incoming IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable, match=r"locked for too long|has not finished in time"):
            there(store, "a")
    assert there(store, "a") == [False]


def test_tables_that_were_emptied_by_hand(store: PostgresStore, postgres_database: str) -> None:
    """As tests do that empty each table of a database."""
    for name in ("first", "second", "third"):  # whoever writes alone takes for granted what the table has
        add(store, name)
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        table = f"{store._database.options.quoted_schema}.counters"
        kept = connection.execute(f"SELECT * FROM {table}").fetchall()  # type: ignore[call-overload]
        connection.execute(f"TRUNCATE {table}")  # type: ignore[call-overload]
        asked = (
            lambda: add(store, "fourth"),
            lambda: store.transitions.take(QUEUE, "w", 30_000, 1),
            lambda: store.queries.status(QUEUE),
            lambda: store.queries.now(),
        )
        for ask in (*asked, *asked):
            with pytest.raises(StoreUnavailable, match="somebody has emptied its tables: restore them, or drop"):
                ask()
        places = ", ".join(["%s"] * len(kept[0]))
        for row in kept:
            connection.execute(f"INSERT INTO {table} VALUES ({places})", row)  # type: ignore[call-overload]
    assert again(partial(add, store, "fifth")) is None
    assert there(store, "first", "fifth") == [True, True]


def test_the_privileges_of_the_guide_are_enough(postgres_database: str) -> None:
    """For all that a program does, in transactions of its own as well."""
    text = Path("examples/guide/postgresql.md").read_text()
    grants = " ".join(next(part for part in text.split("`") if part.startswith("GRANT USAGE ON SCHEMA")).split())
    role, settings = f"web_{uuid.uuid4().hex[:8]}", {"namespace": "shop"}
    with create_app({**settings, "store": f"{postgres_database}?migrate=auto"}) as app:
        app.queue.get_queue("q").get_job_counts()
    with psycopg.connect(postgres_database, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")  # type: ignore[call-overload]
        owner.execute(grants.replace("TO web", f"TO {role}"))  # type: ignore[call-overload]
        url = re.sub("//[^@]*@", f"//{role}@", postgres_database)
        with create_app({**settings, "store": url}) as app, psycopg.connect(url) as own:
            queue: Any = app.queue.create_queue("q", dead_letter="letters")
            queue.process(lambda job: job.data)
            app.start()
            queue.add_repeatable_job("often", every=100, limit=1)
            parts = queue.add_bulk([{"name": "n", "data": number} for number in range(3)])
            jobs = [queue.add("n", 3, connection=own), queue.add("n", 4, dependencies=parts, delay=10)]
            own.commit()
            assert [job.wait_until_finished(timeout=WAIT_S) for job in jobs] == [3, 4]
            assert app.distributed_lock.acquire("one", 1000)
            until(lambda: queue.get_job_counts()["completed"] == 6, WAIT_S)
            jobs[0].remove()
            queue.clean(0)
            assert dict(app.queue.engine.faults) == {}
        owner.execute(f"DROP OWNED BY {role}")  # type: ignore[call-overload]
        owner.execute(f"DROP ROLE {role}")  # type: ignore[call-overload]
