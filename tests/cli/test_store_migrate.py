"""``store migrate``: the tables of a PostgreSQL store, and two releases side by side."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from stratix_kombu.errors import ConfigurationError, StratixError
from stratix_kombu.model.record import Held, NewJob
from stratix_kombu.stores.postgres import migrate as scripts
from stratix_kombu.stores.registry import open_store
from tests.cli.conftest import call
from tests.waiting import WAIT_S, until

JOB = NewJob(id="a", queue="mail", name="send")


def _migrate(url: str, *options: str, code: int = 0) -> str:
    done = call("store", "migrate", "--store", url, *options)
    assert done.exit_code == code, done.output
    return str(done.output)


def test_tables_are_made_when_that_is_said_and_not_before(postgres_database: str) -> None:
    store = open_store(postgres_database, namespace="stratix")
    with pytest.raises(ConfigurationError, match="has no tables: run 'stratix-kombu store migrate'"):
        store.transitions.add([JOB])
    assert "version 0 -> " in _migrate(postgres_database)
    store.transitions.add([JOB])
    assert "is up to date" in _migrate(postgres_database)
    store.close()


def test_another_tool_runs_the_statements(postgres_database: str) -> None:
    """In its own transaction, and what it does behind them is where it was before."""
    script = _migrate("postgresql://nobody@127.0.0.1:1/none", "--sql", "--after", "0")
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE before ()")
        connection.execute(script.encode())
        connection.execute("CREATE TABLE behind ()")
        found = connection.execute("SELECT schemaname FROM pg_tables WHERE tablename IN ('before', 'behind')")
        assert found.fetchall() == [("public",), ("public",)]
    assert _migrate(postgres_database, "--sql").strip() == ""
    store = open_store(postgres_database, namespace="stratix")
    store.transitions.add([JOB])
    store.close()


@pytest.mark.parametrize("by", ["command", "auto", "another tool"])
def test_a_schema_belongs_to_one_namespace(postgres_database: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name may be given, and two applications would take each other's jobs."""
    url = f"{postgres_database}?schema=My-jobs"
    auto = url + "&migrate=auto"
    monkeypatch.setenv("STRATIX_NAMESPACE", "shop")
    if by == "command":
        _migrate(url)
    elif by == "another tool":
        with psycopg.connect(postgres_database) as connection:
            connection.execute(_migrate(url, "--sql", "--after", "0").encode())
    with closing(open_store(auto, namespace="shop")) as store:
        store.transitions.add([JOB])
    problem = "the schema 'My-jobs' holds the namespace 'shop': give 'blog' a schema of its own"
    for other in (url, auto):
        with closing(open_store(other, namespace="blog")) as store, pytest.raises(ConfigurationError, match=problem):
            store.transitions.add([JOB])
    monkeypatch.setenv("STRATIX_NAMESPACE", "blog")
    assert problem in _migrate(url, code=2)


def test_a_command_without_a_namespace_makes_tables_for_any(postgres_database: str) -> None:
    _migrate(f"{postgres_database}?schema=jobs")
    with closing(open_store(f"{postgres_database}?schema=jobs", namespace="shop")) as store:
        store.transitions.add([JOB])
    assert "is up to date" in _migrate(f"{postgres_database}?schema=jobs")


@pytest.mark.parametrize(
    "table", ["jobs (number int)", "schema_version (installed_rank int)", "schema_version (version text)"]
)
def test_tables_of_another_program_are_refused(postgres_database: str, table: str) -> None:
    """And they stay as they are: such as those of Flyway."""
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA theirs; CREATE TABLE theirs.{table}".encode())
        problem = "the schema 'theirs' has tables of another program"
        assert problem in _migrate(f"{postgres_database}?schema=theirs", code=2)
        url = f"{postgres_database}?schema=theirs&migrate=auto"
        with closing(open_store(url, namespace="stratix")) as store, pytest.raises(ConfigurationError, match=problem):
            store.transitions.add([JOB])
        there = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'theirs'")
        assert there.fetchone() == (1,)


def test_many_may_make_them_at_once(postgres_database: str) -> None:
    problems: list[BaseException] = []

    def use() -> None:
        store = open_store(f"{postgres_database}?migrate=auto", namespace="stratix")
        try:
            store.transitions.add([JOB])
        except StratixError as problem:
            problems.append(problem)
        store.close()

    threads = [threading.Thread(target=use) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert problems == []


def test_an_older_release_goes_on_with_the_tables_of_the_next_one(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _migrate(postgres_database)
    runs = open_store(postgres_database, namespace="stratix")
    runs.transitions.add([JOB])
    after = scripts.VERSION
    newer = [tmp_path / f"{version:04}_more.sql" for version in (after + 1, after + 2)]
    for version, file in enumerate(newer, after + 1):
        file.write_text(f"ALTER TABLE jobs ADD COLUMN more{version} text NOT NULL DEFAULT 'x';")
        with monkeypatch.context() as patched, psycopg.connect(postgres_database, autocommit=True) as connection:
            patched.setattr(scripts, "SCRIPTS", [*scripts.SCRIPTS, *newer])
            assert scripts.migrate(connection, "stratix", version) == (version - 1, version)
        (claim,) = runs.transitions.take("mail", "w", 60_000, 1).claims
        runs.transitions.hand_back([Held(claim.record.id, claim.token)])
        starts = open_store(postgres_database, namespace="stratix")
        if version == after + 1:
            assert starts.queries.get(["a"]) == runs.queries.get(["a"])
        else:
            with pytest.raises(ConfigurationError, match="was made by a newer release"):
                starts.ping()
        starts.close()
    runs.close()


def test_other_stores_need_no_call(tmp_path: Path) -> None:
    assert "there is nothing to do" in _migrate(f"{tmp_path}/jobs.db")


def test_who_waits_for_a_migration_sees_that_it_was_made(postgres_database: str) -> None:
    """Its connection has looked before, and remembers that there were no tables."""
    made: list[tuple[int, int]] = []
    with (
        psycopg.connect(postgres_database) as first,
        psycopg.connect(postgres_database, autocommit=True) as second,
        psycopg.connect(postgres_database, autocommit=True) as watcher,
    ):
        assert scripts.version_of(second, "shop") == 0
        first.execute("SELECT pg_advisory_xact_lock(%s)", [scripts.lock_of("migrate:shop")])
        # Few changes of the catalog: by many, the server would have it look again.
        first.execute("CREATE SCHEMA shop")
        first.execute("CREATE TABLE shop.schema_version (version integer)")
        first.execute("INSERT INTO shop.schema_version VALUES (%s)", [scripts.VERSION])
        waiting = threading.Thread(target=lambda: made.append(scripts.migrate(second, "shop")))
        waiting.start()
        until(lambda: watcher.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall(), WAIT_S)
        first.commit()
        waiting.join()
    assert made == [(scripts.VERSION, scripts.VERSION)]
