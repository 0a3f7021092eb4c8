"""PostgreSQL with several hosts in the URL, where the first one dies or becomes read-only; with certificates; and
processes that stop in the middle of a step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from stratix_kombu import create_app
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.record import NewJob
from stratix_kombu.stores.postgres import open_postgres_store
from stratix_kombu.stores.postgres.store import PostgresStore
from stratix_kombu.testing.stores import audit
from tests.certificates import Certificates, make_certificates
from tests.postgres_server import UNSAFE, USER, PostgresServer
from tests.processes import lives
from tests.waiting import WAIT_S, until

QUEUE = "mail"


def opened(url: str, **options: Any) -> PostgresStore:
    return open_postgres_store({"url": url, "migrate": "auto", **options}, namespace="failover")


def add(store: PostgresStore, *ids: str) -> None:
    store.transitions.add([NewJob(id=one, queue=QUEUE, name="n") for one in ids])


# -- several hosts --------------------------------------------------------------------------------


class Pair:
    """A primary, and a standby that has all that was acknowledged."""

    def __init__(self) -> None:
        self.primary = PostgresServer(*UNSAFE)
        self.standby = self.primary.standby()
        self.url = f"postgresql://{USER}@127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}/postgres"

    def start(self) -> None:
        self.primary.start()
        self.standby.start()
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        until(lambda: self.primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"), WAIT_S)

    def fail_over(self) -> None:
        self.primary.kill()
        # Not waited for within the statement: what is replayed before may have to wait for its end.
        self.standby.execute("SELECT pg_promote(false)")

    def remove(self) -> None:
        self.standby.remove()
        self.primary.remove()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    try:
        pair.start()
        yield pair
    finally:
        pair.remove()


def test_nothing_acknowledged_is_lost_when_the_first_of_two_hosts_dies(pair: Pair) -> None:
    """While jobs are added and run: these go on with the second, each job is run, and workers are woken there."""
    added: list[str] = []
    ran: list[str] = []
    enough, stop = threading.Event(), threading.Event()
    with create_app({"store": {"url": pair.url, "migrate": "auto", "timeout": 2000}, "namespace": "failover"}) as app:
        queue: Any = app.queue.create_queue(QUEUE, concurrency=4)
        queue.process(lambda job: ran.append(job.id))
        app.start()

        def go_on_adding() -> None:
            while not stop.is_set():
                with suppress(StoreUnavailable):
                    added.append(queue.add("n").id)
                if len(added) == 50:
                    enough.set()

        thread = threading.Thread(target=go_on_adding)
        thread.start()
        try:
            assert enough.wait(60)
            pair.fail_over()
            before = len(added)
            until(lambda: len(added) > before + 50, 60.0)
        finally:
            stop.set()
            thread.join()
        until(lambda: set(added) <= set(ran), 60.0)
        until(lambda: not queue.get_jobs(["waiting", "active"]), 60.0)
        assert queue.get_job_counts()["completed"] >= len(added)
        assert audit(app.queue.store) == []


def test_of_two_hosts_the_one_that_can_be_written_is_used() -> None:
    """The first one becomes read-only and goes on, as before a planned switch: connections to it are given up, also
    that which listens."""
    first, second = PostgresServer(*UNSAFE), PostgresServer(*UNSAFE)
    try:
        first.start()
        second.start()
        url = f"postgresql://{USER}@127.0.0.1:{first.port},127.0.0.1:{second.port}/postgres"
        store, other = opened(url), opened(second.url)
        other.ping()
        add(store, "before")
        store._database.changes()  # it listens from now on
        with store._database.reading(), store._database.reading():
            pass  # there are several connections to the first one
        until(lambda: store._database.bell._connection is not None, WAIT_S)
        first.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        first.execute("SELECT pg_reload_conf()")
        until(lambda: refuses(store), WAIT_S)
        add(store, "after")  # of all connections one has failed
        assert [one is not None for one in other.queries.get(["before", "after"])] == [False, True]
        seen = store._database.changes()
        until(lambda: listens_to(store) == second.port, WAIT_S)
        add(other, "elsewhere")
        store._database.wait(seen, 20.0)
        assert store._database.changes() != seen
        store.close()
        other.close()
    finally:
        first.remove()
        second.remove()


def refuses(store: PostgresStore) -> bool:
    """A setting arrives at sessions a little later."""
    try:
        add(store, "meanwhile")
    except StoreUnavailable as problem:
        return "it is read-only" in str(problem)
    return False


def listens_to(store: PostgresStore) -> int:
    connection = store._database.bell._connection
    return 0 if connection is None or connection.closed else connection._psycopg.info.port


def test_connections_that_have_ended_meanwhile_are_not_used_again(postgres_database: str) -> None:
    """Also those that have only read, whose last answer nobody has looked at."""
    store = opened(postgres_database)
    add(store, "a")
    with store._database.reading() as one, store._database.reading() as two:
        assert [db.one("SELECT count(*) FROM jobs") for db in (one, two)] == [(1,), (1,)]
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
        until(lambda: not any(lives(pid) for pid, _ in ended), WAIT_S)  # their ends of the connections are closed
        assert store.queries.get(["a"])[0] is not None
        add(store, "b")
        assert store.queries.get(["b"])[0] is not None
    store.close()


# -- certificates ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    return make_certificates(folder)


@pytest.fixture(scope="module")
def encrypted(certificates: Certificates) -> Iterator[PostgresServer]:
    """A server that only takes encrypted connections, with a password."""
    server = PostgresServer(*UNSAFE, "password_encryption=scram-sha-256")
    try:
        for name in ("cert", "key"):
            server.keep_file(f"server.{name}", Path(getattr(certificates, name)).read_text())
        server.start()
        server.execute(f"ALTER ROLE {USER} PASSWORD 's3cr/t'")
        server.stop()
        server.keep_file("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n")
        server.configure("ssl=on", "ssl_cert_file=../server.cert", "ssl_key_file=../server.key")
        server.url = server.url.replace("@", ":s3cr%2Ft@")
        server.start()
        yield server
    finally:
        server.remove()


def test_a_server_with_a_certificate(encrypted: PostgresServer, certificates: Certificates) -> None:
    store = opened(f"{encrypted.url}?sslmode=verify-full&sslrootcert={certificates.ca}")
    add(store, "a")
    assert store.queries.get(["a"])[0] is not None
    with store._database.reading() as db:
        assert db.all("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]
    store.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sslmode=verify-full&sslrootcert={stranger}", "is not signed by an authority in 'sslrootcert'"),
        ("sslmode=verify-full&sslrootcert=/nowhere.pem", "root certificate file .* does not exist"),
        ("sslmode=disable", "add 'sslmode=require'"),
    ],
)
def test_what_is_to_be_done_is_said_and_no_password(
    encrypted: PostgresServer, certificates: Certificates, query: str, words: str
) -> None:
    store = opened(f"{encrypted.url}?{query.format(stranger=certificates.stranger)}")
    with pytest.raises(StoreUnavailable, match=words) as raised:
        store.ping()
    assert not any(secret in str(raised.value) for secret in ("s3cr", "%2Ft"))


def test_a_certificate_for_another_host(encrypted: PostgresServer, certificates: Certificates) -> None:
    url = encrypted.url.replace("127.0.0.1", "localhost")
    with pytest.raises(StoreUnavailable, match=r'does not match host name "localhost"'):
        opened(f"{url}?sslmode=verify-full&sslrootcert={certificates.ca}").ping()


# -- stopped --------------------------------------------------------------------------------------


def test_a_process_that_stops_in_the_middle_of_a_step_keeps_nobody_waiting(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratix_kombu.stores.postgres.connection.IDLE_MS", 300)
    pid = os.fork()
    if pid == 0:
        try:
            stopped = opened(postgres_database, timeout=300)
            with stopped._database:
                os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            os._exit(1)
    try:
        os.waitpid(pid, os.WUNTRACED)
        store = opened(postgres_database)
        add(store, "a")
        assert store.queries.get(["a"])[0] is not None
        store.close()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
