"""The PostgreSQL store: processes that are killed, connections that are cut, servers that are frozen, restarted,
read-only or full, and transactions that are in the way."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from stratix_kombu import create_app
from stratix_kombu.errors import ConfigurationError, StoreUnavailable
from stratix_kombu.model.record import Completion, NewJob
from stratix_kombu.stores.postgres import open_postgres_store
from stratix_kombu.stores.postgres.connection import Connection
from stratix_kombu.stores.postgres.errors import SchemaOutdated
from stratix_kombu.stores.postgres.migrate import lock_of
from stratix_kombu.stores.postgres.session import Session
from stratix_kombu.stores.postgres.store import PostgresStore
from stratix_kombu.stores.sql.database import Read
from stratix_kombu.testing.forking import Child
from stratix_kombu.testing.stores import audit
from tests.faults.postgres import (
    LEASE_MS,
    NAMESPACE,
    QUEUE,
    SCHEMA,
    TIMEOUT_MS,
    add,
    again,
    execute,
    opened,
    there,
    transaction,
)
from tests.postgres_server import UNSAFE, PostgresServer
from tests.waiting import WAIT_S, until

if TYPE_CHECKING:
    from typing_extensions import LiteralString  # of 3.11's typing


@pytest.fixture
def store(postgres_database: str) -> Iterator[PostgresStore]:
    store = opened(postgres_database, timeout=TIMEOUT_MS)
    store.ping()
    yield store
    store.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of one's own, which may be frozen and restarted."""
    server = PostgresServer(*UNSAFE)
    server.start()
    yield server
    server.remove()


# -- killed ---------------------------------------------------------------------------------------


def work_until_killed(url: str, name: str, messages: int) -> None:
    """Add, take, complete and add edges, and die by SIGKILL at that message to the server, wherever it is."""
    left = messages
    exchange = Session.exchange

    def counted(self: Session, statements: Any) -> Any:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return exchange(self, statements)

    Session.exchange = counted  # type: ignore[method-assign]
    store = opened(url)
    for turn in range(1_000):
        first, second = f"{name}-{turn}-a", f"{name}-{turn}-b"
        add(store, first)
        store.transitions.add([NewJob(id=second, queue=QUEUE, name="n", dependencies=(first,))])
        claims = store.transitions.take(QUEUE, name, LEASE_MS, 3, request=f"{name}-{turn}").claims
        store.transitions.complete([Completion(one.record.id, one.token, "1") for one in claims[1:]])
        store.transitions.promote()


def killed_one(url: str, name: str, messages: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work_until_killed(url, name, messages)
        finally:
            os._exit(1)
    return pid


def test_processes_killed_at_any_message_leave_whole_steps(store: PostgresStore, postgres_database: str) -> None:
    """Four at a time, each at another message."""
    for first in (2, 6, 10, 14, 18, 22):
        pids = [killed_one(postgres_database, f"p{first + n}", first + n) for n in range(4)]
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [-signal.SIGKILL] * 4
    assert again(lambda: audit(store)) == []
    while again(store.transitions.release).more:
        pass
    rest = store.transitions.take(QUEUE, "last", LEASE_MS, 1_000).claims
    assert not store.transitions.complete([Completion(one.record.id, one.token, "1") for one in rest]).stale
    assert audit(store) == []


def test_connections_that_are_cut_at_random(store: PostgresStore, postgres_database: str) -> None:
    """Each step is done once or not at all, and is asked for again with the same ids."""
    cut = threading.Event()

    def cut_them() -> None:
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            while not cut.wait(0.1):
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    thread = threading.Thread(target=cut_them)
    thread.start()
    done: set[str] = set()
    try:
        for turn in range(12):
            again(partial(add, store, f"a{turn}", f"b{turn}"))
            taken = again(partial(store.transitions.take, QUEUE, "w", LEASE_MS, 2, request=f"r{turn}"))
            ends = [Completion(one.record.id, one.token, "1") for one in taken.claims]
            assert again(partial(store.transitions.complete, ends)).stale == ()
            done.update(one.job_id for one in ends)
    finally:
        cut.set()
        thread.join()
    assert done == {f"{letter}{turn}" for letter in "ab" for turn in range(12)}
    assert again(lambda: store.queries.status(QUEUE)).counts["completed"] == 24
    assert audit(store) == []


# -- in the way -----------------------------------------------------------------------------------


def test_a_lock_that_is_held_for_too_long(store: PostgresStore, postgres_database: str) -> None:
    add(store, "before")
    with transaction(postgres_database) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (lock_of(f"namespace:{SCHEMA}"),))
        with pytest.raises(StoreUnavailable, match=r"locked for too long|has not finished in time"):
            add(store, "meanwhile")
        assert there(store, "before", "meanwhile") == [True, False]
    add(store, "after")
    assert there(store, "before", "meanwhile", "after") == [True, False, True]


def test_a_deadlock_is_resolved_by_doing_the_step_again(server: PostgresServer) -> None:
    """Of two that wait for each other the store's is the one that the server ends."""
    opened(server.url).ping()
    server.execute("ALTER DATABASE postgres SET deadlock_timeout = '50ms'")
    store = opened(server.url, schema="stratix_faults")
    add(store, "before")
    locked = threading.Event()
    tries: list[Session] = []

    def get_in_the_way() -> None:
        with transaction(server.url) as other:
            other.execute("SET LOCAL deadlock_timeout = '60s'")
            other.execute("SELECT 1 FROM queues FOR UPDATE")
            locked.set()
            until(lambda: tries, WAIT_S)
            other.execute("SELECT pg_advisory_xact_lock(%s)", (lock_of(f"namespace:{SCHEMA}"),))

    begin = store._database._first

    def first(session: Session, reads: list[Read]) -> Any:
        found = begin(session, reads)
        tries.append(session)
        if len(tries) == 1:  # it has the lock, and will want the row
            until(lambda: _waits_for_a_lock(server), WAIT_S)
        return found

    store._database._first = first  # type: ignore[method-assign]
    thread = threading.Thread(target=get_in_the_way)
    thread.start()
    locked.wait(10)
    add(store, "once")
    thread.join()
    server.execute("ALTER DATABASE postgres RESET deadlock_timeout")
    assert len(tries) == 2
    assert there(store, "before", "once") == [True, True]
    assert [one.job_id for one in store.events.read(QUEUE, "0")].count("once") == 1
    store.close()


def _waits_for_a_lock(server: PostgresServer) -> bool:
    return bool(server.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))


def test_all_connections_are_in_use(postgres_database: str) -> None:
    store = opened(postgres_database, timeout=TIMEOUT_MS, pool_size=2)
    add(store, "a")
    reading, words = store._database.reading, "all 2 connections of this process are in use"
    with reading(), reading(), pytest.raises(StoreUnavailable, match=words):
        store.queries.get(["a"])
    assert there(store, "a") == [True]
    store.close()


# -- servers --------------------------------------------------------------------------------------


def test_a_server_that_is_restarted(server: PostgresServer) -> None:
    store = opened(server.url)
    again(lambda: add(store, "before"))
    server.restart()
    again(lambda: add(store, "after"))
    assert there(store, "before", "after") == [True, True]
    assert audit(store) == []
    store.close()


def test_a_server_that_is_away(server: PostgresServer) -> None:
    store = opened(server.url, timeout=TIMEOUT_MS)
    again(lambda: add(store, "a"))
    server.stop()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as raised:
                store.transitions.take(QUEUE, "w", LEASE_MS, 1)
            assert server.url.rpartition("@")[2].rpartition("/")[0] in str(raised.value)
    finally:
        server.start()
    again(lambda: add(store, "b"))
    store.close()


def test_a_server_that_is_frozen(server: PostgresServer) -> None:
    """Nobody waits for it longer than a step may take; it answers again later."""
    store = opened(server.url, timeout=TIMEOUT_MS)
    again(lambda: add(store, "a"))
    server.freeze()
    try:
        with pytest.raises(StoreUnavailable, match="has not answered in time"):
            add(store, "c")
    finally:
        server.thaw()
    again(lambda: add(store, "c"))
    assert there(store, "a", "c") == [True, True]
    store.close()


def test_a_server_that_has_become_read_only(store: PostgresStore, postgres_database: str) -> None:
    """As a primary after a failover is."""
    add(store, "before")
    store.close()
    database = postgres_database.rpartition("/")[2]
    only: LiteralString = "ALTER DATABASE {} SET default_transaction_read_only = {}"
    execute(postgres_database, only.format(database, "on"))
    with pytest.raises(StoreUnavailable, match="read-only"):
        add(store, "meanwhile")
    with psycopg.connect(postgres_database, autocommit=True, options="-c default_transaction_read_only=off") as other:
        other.execute(only.format(database, "off"))
    add(store, "after")
    assert there(store, "before", "meanwhile", "after") == [True, False, True]


def test_a_role_without_a_connection_left(server: PostgresServer) -> None:
    server.execute("CREATE ROLE narrow LOGIN CONNECTION LIMIT 0")
    with pytest.raises(StoreUnavailable, match="too many connections"):
        opened(f"postgresql://narrow@127.0.0.1:{server.port}/postgres").ping()


# -- what is said ---------------------------------------------------------------------------------


def test_tables_that_are_not_there(postgres_database: str) -> None:
    store = open_postgres_store({"url": postgres_database}, namespace=NAMESPACE)
    with pytest.raises(SchemaOutdated, match="'stratix_faults' has no tables: run 'stratix-kombu store migrate'"):
        store.ping()
    made = opened(postgres_database)
    made.ping()
    store.ping()  # it looks again
    for one in (store, made):
        one.close()


def test_tables_of_a_much_newer_release(store: PostgresStore, postgres_database: str) -> None:
    execute(postgres_database, "INSERT INTO stratix_faults.schema_version (version) VALUES (1000)")
    with pytest.raises(ConfigurationError, match="newer release"):
        opened(postgres_database).ping()


@pytest.mark.parametrize("url", ["postgresql://user:s3cr%2Ft@127.0.0.1:1/db", "postgresql://u:s3cr%2Ft@[bad/db"])
def test_credentials_are_never_shown(url: str) -> None:
    with pytest.raises((StoreUnavailable, ConfigurationError)) as raised:
        opened(url, timeout=TIMEOUT_MS).ping()
    assert not any(secret in repr(raised.value) + str(raised.value.__cause__) for secret in ("s3cr", "%2Ft"))


# -- processes ------------------------------------------------------------------------------------


def test_a_worker_takes_what_another_process_adds(postgres_database: str) -> None:
    """And waits for it without a message: it is notified."""
    settings: Any = {"store": f"{postgres_database}?migrate=auto"}
    with create_app(settings) as app:
        app.queue.create_queue(QUEUE).process(lambda job: os.getpid())
        app.start()

        def add_there() -> Any:
            with create_app(settings) as other:
                return other.queue.get_queue(QUEUE).add("n").wait_until_finished(timeout=20)

        assert Child(add_there).answer() == os.getpid()
        (job,) = app.queue.get_queue(QUEUE).get_jobs("completed")
        assert job.return_value == os.getpid()


def test_workers_go_on_when_the_server_is_back(server: PostgresServer) -> None:
    settings: Any = {"store": f"{server.url}?migrate=auto", "namespace": "back"}
    with create_app(settings) as app:
        queue = app.queue.create_queue(QUEUE)
        queue.process(lambda job: "done")
        app.start()
        assert queue.add("n").wait_until_finished(timeout=20) == "done"
        heard: list[BaseException] = []
        queue.on("error", heard.append)
        server.stop()
        with pytest.raises(StoreUnavailable):
            queue.add("n")
        until(lambda: heard, WAIT_S)
        server.start()
        job = again(lambda: queue.add("n", None, {"job_id": "again"}))
        assert job.wait_until_finished(timeout=30) == "done"


def test_an_idle_bell_ends_its_thread_and_its_connection(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratix_kombu.stores.postgres.bell.LINGER_S", 0.05)
    bell = store._database.bell
    bell.wait(bell.changes(), 0.01)
    until(lambda: bell._thread is None and bell._connection is None, WAIT_S)
    bell.changes()  # it begins again
    until(lambda: bell._connection is not None, WAIT_S)


def test_behind_a_pooler_settings_are_those_of_transactions_and_nobody_listens(
    store: PostgresStore, postgres_database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Connection, "_is_pooled", lambda self: True)
    caplog.set_level("INFO", "stratix_kombu.stores")
    pooled = opened(postgres_database)
    add(pooled, "a")
    assert there(pooled, "a") == [True]
    with pooled._database.pool.connection() as connection:
        (answer,) = connection.exchange([("SHOW search_path", ())])
        assert SCHEMA not in answer.rows[0][0]
    assert pooled.transitions.take(QUEUE, "w", LEASE_MS, 1).claims
    assert pooled.work is not None
    added = threading.Timer(0.1, add, (store, "b"))
    added.start()
    assert pooled.work.wait([QUEUE], 20.0) == (QUEUE, 1)
    added.join()
    assert [one.getMessage().count("nobody can listen") for one in caplog.records].count(1) == 1
    pooled.close()
