"""What ``check`` says of a PostgreSQL server: each finding is made true once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from click.testing import CliRunner

from stratix_kombu.cli import main
from stratix_kombu.errors import ConfigurationError, StoreUnavailable
from stratix_kombu.model.record import Failure, Held, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.stores.postgres import open_postgres_store
from stratix_kombu.stores.postgres.store import PostgresStore
from tests.postgres_server import PostgresServer
from tests.waiting import WAIT_S, until

if TYPE_CHECKING:
    from typing_extensions import LiteralString  # of 3.11's typing

SAFE = ("max_connections=40", "full_page_writes=off", "max_prepared_transactions=2")
"""Nothing of it is worth a warning."""
SURVEY = "stratix_kombu.stores.postgres.survey"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    server = PostgresServer(*SAFE)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def store(server: PostgresServer) -> Iterator[PostgresStore]:
    store = open_postgres_store({"url": f"{server.url}?migrate=auto"}, namespace="survey")
    yield store
    store.close()


def warnings(store: PostgresStore) -> tuple[str, ...]:
    """With new connections: these have the settings as they are now."""
    store.close()
    return store.survey().warnings


def test_nothing_is_said_of_a_server_that_is_as_it_should_be(store: PostgresStore, server: PostgresServer) -> None:
    survey = store.survey()
    assert survey.warnings == ()
    ((version,),) = server.execute("SHOW server_version")
    assert survey.server == f"PostgreSQL {version}"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fsync", "fsync is off: a power cut may lose jobs"),
        ("autovacuum", "autovacuum is off: what was deleted is never cleared away"),
        ("synchronous_commit", "synchronous_commit is off: what was added in the last moment"),
    ],
)
def test_a_setting_that_is_off(
    store: PostgresStore, server: PostgresServer, setting: LiteralString, words: str
) -> None:
    set_it(server, f"{setting} = off")
    try:
        until(lambda: warnings(store), WAIT_S)
        (said,) = warnings(store)
        assert said.startswith(words)
    finally:
        set_it(server, f"{setting} = on")
    until(lambda: not warnings(store), WAIT_S)


def set_it(server: PostgresServer, said: LiteralString) -> None:
    server.execute(f"ALTER SYSTEM SET {said}")
    server.execute("SELECT pg_reload_conf()")


def test_a_transaction_that_is_open_for_long(
    store: PostgresStore, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(server.url) as other:
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT 1 FROM pg_class")
        assert warnings(store) == ()
        monkeypatch.setattr(f"{SURVEY}.OLD_S", 0)
        pid = other.info.backend_pid
        assert [one for one in warnings(store) if f"the transaction of process {pid} has been open" in one]


def test_a_transaction_that_has_written_and_is_left_open(
    store: PostgresStore, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that completes a job: it holds no snapshot between its statements."""
    with psycopg.connect(server.url) as other:
        other.execute("SELECT pg_current_xact_id()")
        monkeypatch.setattr(f"{SURVEY}.OLD_S", 0)
        pid = other.info.backend_pid
        assert [one for one in warnings(store) if f"the transaction of process {pid} has been open" in one]


def test_a_prepared_transaction_that_nobody_ends(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_postgres_store({"url": f"{server.url}?migrate=auto"}, namespace="prepared")
    store.transitions.add([NewJob(id="prepared", queue="q", name="n")])
    (claim,) = store.transitions.take("q", "w", 1, 1).claims
    assert store.outbox is not None
    with closing(psycopg.connect(server.url)) as other:
        other.tpc_begin("left over")
        with monkeypatch.context() as patched:
            patched.setattr("stratix_kombu.stores.postgres.outbox.OfPsycopg.notifies", False)  # as SQLAlchemy's
            store.outbox.complete(Held("prepared", claim.token), "1", other)
        other.tpc_prepare()
    assert warnings(store) == ()
    monkeypatch.setattr(f"{SURVEY}.OLD_S", -1)
    assert [one for one in warnings(store) if "the transaction 'left over' has been prepared for 0 minutes" in one]
    assert store.transitions.fail([Failure("prepared", claim.token, "oh", "", 0)]).stale == ("prepared",)
    assert store.transitions.recover(1).affected == ()
    server.execute("COMMIT PREPARED 'left over'")
    store.ping()
    assert store.queries.states(["prepared"]) == [State.COMPLETED]
    store.close()


def test_dead_rows_that_are_not_cleared_away(
    store: PostgresStore, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.transitions.add([NewJob(id="once", queue="q", name="n")])
    with psycopg.connect(server.url, autocommit=True) as other:
        other.execute("UPDATE stratix_survey.jobs SET seq = seq + 1")
        other.execute("UPDATE stratix_survey.jobs SET seq = seq + 1")
    monkeypatch.setattr(f"{SURVEY}.MANY", 1)
    until(lambda: [one for one in warnings(store) if "the table 'jobs' has" in one], WAIT_S)
    (said,) = [one for one in warnings(store) if "'jobs'" in one]
    assert said == "the table 'jobs' has 2 dead rows and 1 others: autovacuum does not keep up"


def test_a_replication_slot_that_nobody_uses(store: PostgresStore, server: PostgresServer) -> None:
    server.execute("SELECT pg_create_physical_replication_slot('left_over', true)")
    try:
        assert warnings(store) == ("nobody uses the replication slot 'left_over', for which the server keeps its log",)
    finally:
        server.execute("SELECT pg_drop_replication_slot('left_over')")


def test_connections_that_will_not_do(server: PostgresServer) -> None:
    store = open_postgres_store({"url": f"{server.url}?migrate=auto", "pool_size": 50}, namespace="survey")
    (said,) = warnings(store)
    assert "more connections (max_connections), and each process may need 51 (pool_size)" in said
    store.close()


def test_what_a_role_without_privileges_is_told(store: PostgresStore, server: PostgresServer) -> None:
    """What it may not see is not warned of."""
    store.ping()
    server.execute("CREATE ROLE plain LOGIN")
    server.execute("GRANT USAGE ON SCHEMA stratix_survey TO plain")
    server.execute("GRANT ALL ON ALL TABLES IN SCHEMA stratix_survey TO plain")
    mine = open_postgres_store({"url": server.url.replace("owner@", "plain@")}, namespace="survey")
    assert mine.survey().warnings == ()
    mine.close()


def test_a_table_that_is_missing_and_a_server_that_is_read_only(server: PostgresServer) -> None:
    store = open_postgres_store({"url": server.url}, namespace="none")
    with pytest.raises(ConfigurationError, match="'stratix_none' has no tables: run 'stratix-kombu store migrate'"):
        store.survey()
    server.execute("CREATE ROLE reader LOGIN")
    server.execute("ALTER ROLE reader SET default_transaction_read_only = on")
    reader = open_postgres_store({"url": server.url.replace("owner@", "reader@")}, namespace="survey")
    with pytest.raises(StoreUnavailable, match="read-only"):
        reader.survey()


def test_the_command_says_it(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATIX_STORE", f"{server.url}?migrate=auto&pool_size=60")
    done = CliRunner().invoke(main, ["check", "--json"])
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [one for one in report["warnings"] if "each process may need 61 (pool_size)" in one]
    assert report["connections"][1]["about"].startswith("PostgreSQL ")


def test_limits_of_the_role_are_not_those_of_a_step(server: PostgresServer) -> None:
    """What a role's administrator sets for programs that forget their transactions does not end steps, and what is set
    for a step does not depend on the role."""
    server.execute("CREATE ROLE bound LOGIN SUPERUSER")
    for name in ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout"):
        server.execute(f"ALTER ROLE bound SET {name} = '500ms'")
    store = open_postgres_store({"url": f"{server.url.replace('owner@', 'bound@')}?migrate=auto"}, namespace="bound")
    store.transitions.add([NewJob(id="a", queue="q", name="n")])
    with store._database:  # a step that takes its time
        time.sleep(0.6)
        assert store._database.one("SELECT count(*) FROM (SELECT pg_sleep(0.6)) AS slept, jobs") == (1,)
    store.close()
