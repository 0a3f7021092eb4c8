"""Jobs that are added within transactions of the user's own, by each library and by SQL."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from stratix_kombu import Application, ConfigurationError, create_app
from stratix_kombu.errors import DependencyNotFound
from tests.faults.worker_processes import ROOT
from tests.postgres_server import database_of
from tests.waiting import until

WAIT_S = 20


@pytest.fixture
def app(postgres_database: str) -> Iterator[Application]:
    """Runs jobs of the queue "mail"; its idle worker is woken, or it would take them after seconds only."""
    app = create_app({"store": f"{postgres_database}?migrate=auto", "namespace": "tx"})
    app.queue.create_queue("mail").process("send", lambda job: job.data)
    app.start()
    yield app
    app.close()


@pytest.fixture
def connection(app: Application, postgres_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE orders (id int)")
        connection.commit()
        yield connection
        connection.rollback()


def _queue(app: Application) -> Any:
    return app.queue.get_queue("mail")


def _sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_with_psycopg_it_is_there_when_the_transaction_is_committed(
    app: Application, connection: psycopg.Connection
) -> None:
    queue = _queue(app)
    connection.execute("INSERT INTO orders VALUES (1)")
    job = queue.add("send", {"to": "é\u0000"}, connection=connection, priority=2)
    assert queue.get_job(job.id) is None
    with pytest.raises(ConfigurationError, match="wait for it after that"):
        job.wait_until_finished(timeout=1)
    connection.commit()
    assert job.wait_until_finished(timeout=WAIT_S) == {"to": "é\u0000"}
    found = queue.get_job(job.id)
    assert (found.name, found.data, found.opts["priority"], found.state) == ("send", {"to": "é\u0000"}, 2, "completed")


def test_it_never_was_if_the_transaction_or_its_savepoint_is_rolled_back(
    app: Application, connection: psycopg.Connection
) -> None:
    queue = _queue(app)
    gone = queue.add("send", 1, connection=connection)
    connection.rollback()
    with connection.transaction():
        kept = queue.add("send", 2, connection=connection)
        with connection.transaction(force_rollback=True):
            undone = queue.add("send", 3, connection=connection)
    assert kept.wait_until_finished(timeout=WAIT_S) == 2
    assert [queue.get_job(one.id) for one in (gone, undone)] == [None, None]


def test_by_a_connection_that_commits_each_statement_it_is_there_at_once(
    app: Application, connection: psycopg.Connection, postgres_database: str
) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as autocommit:
        job = _queue(app).add("send", 4, connection=autocommit)
        assert job.wait_until_finished(timeout=WAIT_S) == 4


def test_many_at_once_with_dependencies_delays_and_all_options(
    app: Application, connection: psycopg.Connection
) -> None:
    queue = _queue(app)
    queue.pause()
    one, two, late = queue.add_bulk(
        [
            {"name": "send", "data": 1, "opts": {"job_id": "one", "deduplication": {"id": "d"}, "attempts": 3}},
            {"name": "send", "data": 2, "opts": {"dependencies": ["one"], "remove_on_complete": {"age": 60}}},
            {"name": "send", "opts": {"delay": 3_600_000, "limiter": {"max": 1, "duration": 1000}, "backoff": 500}},
        ],
        connection=connection,
    )
    assert [job.state for job in (one, two, late)] == ["waiting", "blocked", "delayed"]
    queue.add("send", job_id="one", connection=connection)  # a duplicate, which changes nothing
    other = queue.add("send", deduplication={"id": "d"}, connection=connection)
    connection.commit()
    assert [job.refresh().state for job in (one, two, late)] == ["waiting", "blocked", "delayed"]
    assert one.opts["attempts"] == 3
    assert late.opts["backoff"]
    assert queue.get_job(other.id) is None
    with pytest.raises(DependencyNotFound):
        queue.add("send", dependencies=["nobody"], connection=connection)
    queue.resume()
    assert two.wait_until_finished(timeout=WAIT_S) == 2


@pytest.mark.parametrize("kind", [Session, None])
def test_with_sqlalchemy(app: Application, connection: psycopg.Connection, postgres_database: str, kind: Any) -> None:
    queue, engine = _queue(app), create_engine(_sqlalchemy(postgres_database))
    with kind(engine) if kind else engine.connect() as session:
        session.execute(text("INSERT INTO orders VALUES (2)"))
        with session.begin_nested():
            job = queue.add("send", 5, connection=session)
        assert queue.get_job(job.id) is None
        with pytest.raises(ConfigurationError, match="wait for it after that"):
            job.wait_until_finished(timeout=1)
        session.commit()
        assert job.wait_until_finished(timeout=WAIT_S) == 5
        gone = queue.add("send", 6, connection=session)
        session.rollback()
        again = queue.add("send", 7, connection=session)
        session.commit()
        assert again.wait_until_finished(timeout=WAIT_S) == 7
        assert queue.get_job(gone.id) is None
    engine.dispose()


def test_with_asyncio(app: Application, connection: psycopg.Connection, postgres_database: str) -> None:
    queue = _queue(app)

    async def main() -> list[Any]:
        engine = create_async_engine(_sqlalchemy(postgres_database))
        async with AsyncSession(engine) as session:
            first = await queue.aio.add("send", 8, connection=session)
            with pytest.raises(ConfigurationError, match="wait for it after that"):
                await first.aio.wait_until_finished(timeout=1)
            await session.commit()
        async with await psycopg.AsyncConnection.connect(postgres_database) as plain:
            (second,) = await queue.aio.add_bulk([{"name": "send", "data": 9}], connection=plain)
            gone = queue.get_job(second.id)
        by_thread = await queue.aio.add("send", 10, connection=connection)
        connection.commit()
        results = [await one.aio.wait_until_finished(timeout=WAIT_S) for one in (first, second, by_thread)]
        await engine.dispose()
        return [gone, *results]

    assert asyncio.run(main()) == [None, 8, 9, 10]


DJANGO = """
import json, sys
from urllib.parse import urlsplit
import django
from django.conf import settings
url = urlsplit(sys.argv[1])
database = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username, "HOST": url.hostname,
            "PORT": url.port}
settings.configure(INSTALLED_APPS=["stratix_kombu.integrations.django"], DATABASES={"default": database},
                   STRATIX={"store": f"{sys.argv[1]}", "namespace": "tx"})
django.setup()
from django.db import connection, transaction
from stratix_kombu.integrations.django import app
queue = app.queue.get_queue("mail")
with transaction.atomic():
    first = queue.add("send", 11, connection=connection)
    before = queue.get_job(first.id)
    try:
        with transaction.atomic():
            undone = queue.add("send", 12, connection=connection)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
at_once = queue.add("send", 13, connection=connection)
results = [one.wait_until_finished(timeout=20) for one in (first, at_once)]
print(json.dumps([before, queue.get_job(undone.id), *results]))
app.close()
"""


def test_with_django(app: Application, connection: psycopg.Connection, postgres_database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DJANGO, postgres_database], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [None, None, 11, 13]


@pytest.mark.parametrize("setting", ["TimeZone TO 'Asia/Tokyo'", "DateStyle TO 'German'", "extra_float_digits TO -5"])
def test_a_session_may_have_settings_of_its_own(app: Application, connection: psycopg.Connection, setting: str) -> None:
    """Django, for one, sets the zone of its connections to that of the project."""
    connection.execute(f"SET {setting}".encode())
    job = _queue(app).add("send", connection=connection)
    connection.commit()
    assert app.queue.get_job(job.id)


def test_a_connection_to_another_database_is_refused(
    app: Application, connection: psycopg.Connection, postgres_url: str
) -> None:
    with database_of(postgres_url) as other, psycopg.connect(other) as wrong:
        with pytest.raises(ConfigurationError, match="another database") as refused:
            _queue(app).add("send", connection=wrong)
        assert "schema 'stratix_tx'" in str(refused.value)
        wrong.execute("SELECT 1")  # its transaction goes on
    with pytest.raises(ConfigurationError, match="a dict is not one of psycopg"):
        _queue(app).add("send", connection={})


def test_other_stores_cannot_do_it(connection: psycopg.Connection) -> None:
    with create_app({"driver": "memory"}) as app, pytest.raises(ConfigurationError, match="only a PostgreSQL store"):
        app.queue.get_queue("mail").add("send", connection=connection)


def test_what_many_transactions_commit_at_once_runs_once_and_nothing_else(
    app: Application, connection: psycopg.Connection, postgres_database: str
) -> None:
    """Rows whose transactions commit late have lower numbers than what was taken in before."""
    ran, committed = list[str](), set[str]()
    queue = app.queue.create_queue("many", concurrency=4)
    queue.process("note", lambda job: ran.append(job.id))
    held = queue.add("note", job_id="held", connection=connection)

    def commits(worker: int) -> None:
        chance = random.Random(worker)
        with psycopg.connect(postgres_database) as mine:
            for number in range(10):
                ids = [f"{worker}-{number}-{one}" for one in range(3)]
                queue.add_bulk([{"name": "note", "opts": {"job_id": one}} for one in ids], connection=mine)
                if chance.random() < 0.7:
                    mine.commit()
                    committed.update(ids)
                else:
                    mine.rollback()

    threads = [threading.Thread(target=commits, args=(worker,)) for worker in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    until(lambda: committed <= set(ran), WAIT_S)
    connection.commit()
    held.wait_until_finished(timeout=WAIT_S)
    assert sorted(ran) == sorted([*committed, "held"])


def test_where_a_broker_carries_messages_they_are_sent_when_the_job_arrives(
    connection: psycopg.Connection, postgres_database: str
) -> None:
    with create_app({"driver": "memory", "store": f"{postgres_database}?migrate=auto", "namespace": "other"}) as app:
        queue = app.queue.create_queue("carried")
        queue.process("send", lambda job: job.data)
        app.start()
        job = queue.add("send", 14, connection=connection)
        connection.commit()
        assert job.wait_until_finished(timeout=WAIT_S) == 14


def test_any_language_adds_by_sql(app: Application, connection: psycopg.Connection) -> None:
    sql = "SELECT stratix_tx.add_1(CAST(%s AS json))"
    jobs = [{"queue": "mail", "name": "send", "data": {"n": [1.5, "ü"]}, "options": {"attempts": 2}, "max_attempts": 2}]
    ((job_id,),) = connection.execute(sql, [json.dumps(jobs)]).fetchall()
    connection.execute('SELECT stratix_tx.add_1(\'{"queue": "mail", "name": "send", "id": "by-sql"}\')')
    connection.commit()
    queue = _queue(app)
    until(lambda: queue.get_job("by-sql"), WAIT_S)
    assert queue.get_job(job_id).wait_until_finished(timeout=WAIT_S) == {"n": [1.5, "ü"]}
    assert queue.get_job("by-sql").wait_until_finished(timeout=WAIT_S) is None


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"queue": "mail"}, "a job needs a name"),
        ({"name": "send"}, "a job needs a queue"),
        ({"queue": "a b", "name": "send"}, "a job needs a queue: a b"),
        ({"queue": "mail", "name": "send", "id": "a b"}, "no job can have the id a b"),
        ({"queue": "mail", "name": "send", "priority": 10}, "priorities are 0 to 9"),
        ({"queue": "mail", "name": "send", "delay": 5}, "a job has no delay"),
        ({"queue": "mail", "name": "send", "max_attempts": 0}, "max_attempts is at least 1"),
    ],
)
def test_what_cannot_be_a_job_is_refused_where_it_is_added(
    app: Application, connection: psycopg.Connection, said: dict[str, Any], problem: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem):
        connection.execute("SELECT stratix_tx.add_1(CAST(%s AS json))", [json.dumps(said)])


def test_what_turns_out_to_be_unusable_is_dropped_and_said(
    app: Application, connection: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    queue, sql = _queue(app), "SELECT stratix_tx.add_1(CAST(%s AS json))"
    app.queue.get_queue("other").add("send", job_id="taken")
    for said in ({"id": "taken"}, {"id": "odd", "limit": {"what": 1}}, {"id": "good"}):
        connection.execute(sql, [json.dumps({"queue": "mail", "name": "send", **said})])
    connection.commit()
    until(lambda: queue.get_job("good"), WAIT_S)
    assert queue.get_job("odd") is None
    dropped = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == "arrival_dropped"]
    assert [one.partition(",")[0] for one in dropped] == ["the job 'taken'", "the job 'odd'"]


class _OfDicts:
    """A connection of a driver whose rows are dictionaries, as some can be told."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def cursor(self) -> Any:
        return self._connection.cursor(row_factory=dict_row)

    def commit(self) -> None:
        self._connection.commit()


def test_rows_may_be_dictionaries(app: Application, connection: psycopg.Connection) -> None:
    first = _queue(app).add("send", 1, connection=_OfDicts(connection))
    second = _queue(app).add("send", 2, dependencies=[first], connection=_OfDicts(connection))
    with pytest.raises(DependencyNotFound):
        _queue(app).add("send", 3, dependencies=["nowhere"], connection=_OfDicts(connection))
    connection.commit()
    assert second.wait_until_finished(timeout=WAIT_S) == 2


def test_what_is_in_no_transaction_is_refused(app: Application, postgres_database: str) -> None:
    engine = create_engine(_sqlalchemy(postgres_database))
    for wrong in (engine, sessionmaker(engine)):
        with pytest.raises(ConfigurationError, match=f"connection: a {type(wrong).__name__} is not one of psycopg"):
            _queue(app).add("send", 1, connection=wrong)
    engine.dispose()
