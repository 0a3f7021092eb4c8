"""Handlers that complete their jobs within transactions of the user's own, by each library."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from stratix_kombu import Application, ConfigurationError, Job, create_app
from stratix_kombu.worker.endings import Endings
from stratix_kombu.worker.sandbox.job import SandboxJob
from tests.faults.worker_processes import ROOT
from tests.pages import SNIPPETS
from tests.postgres_server import database_of
from tests.waiting import until

WAIT_S = 20


@pytest.fixture
def url(postgres_database: str) -> str:
    """Of a database with a table of the user's."""
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE orders (id int)")
    return postgres_database


@pytest.fixture
def app(url: str) -> Iterator[Application]:
    app = create_app({"store": f"{url}?migrate=auto", "namespace": "tx"})
    yield app
    app.close()


def _run(app: Application, handler: Any) -> Job:
    """A job that ran."""
    queue: Any = app.queue.create_queue("orders")
    queue.process("charge", handler)
    app.start()
    job: Job = queue.add("charge")
    job.wait_until_finished(timeout=WAIT_S)
    return job.refresh()


def _orders(url: str) -> int:
    with psycopg.connect(url) as connection:
        return len(connection.execute("SELECT 1 FROM orders").fetchall())


def _completed(app: Application) -> int:
    return [event.name for event in app.queue.get_queue("orders").get_events()].count("completed")


def _sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_with_psycopg_what_the_handler_returns_after_the_commit_is_ignored(app: Application, url: str) -> None:
    def charge(job: Any) -> str:
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO orders VALUES (1)")
            job.complete_in(connection, {"é\u0000": 1})
        return "ignored"

    job = _run(app, charge)
    assert (job.return_value, job.attempts_made, _completed(app), _orders(url)) == ({"é\u0000": 1}, 1, 1, 1)


def test_rolled_back_the_attempt_ends_as_the_handler_does(app: Application, url: str) -> None:
    def charge(job: Any) -> str:
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO orders VALUES (1)")
            job.complete_in(connection, "not this")
            connection.rollback()
        return "this"

    job = _run(app, charge)
    assert (job.return_value, _completed(app), _orders(url)) == ("this", 1, 0)


def test_a_handler_that_raises_after_the_commit_has_completed_its_job(app: Application, url: str) -> None:
    def charge(job: Any) -> None:
        with psycopg.connect(url) as connection:
            job.complete_in(connection, "done")
        raise ZeroDivisionError

    job = _run(app, charge)
    assert (job.return_value, job.state, job.attempts_made) == ("done", "completed", 1)
    assert app.queue.get_queue("orders").add("charge").wait_until_finished(timeout=WAIT_S) == "done"  # a slot is free


@pytest.mark.parametrize("commits", [True, False])
def test_what_a_handler_raises_is_logged_as_what_it_is(
    app: Application, url: str, commits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def charge(job: Any) -> None:
        with psycopg.connect(url) as connection:
            job.complete_in(connection, "done")
            if not commits:
                connection.rollback()
        raise ZeroDivisionError("after that")

    queue: Any = app.queue.create_queue("orders")
    queue.process("charge", charge)
    app.start()
    job = queue.add("charge")
    actions = "failed_after_completion", "job_failed"
    until(lambda: [one for one in caplog.records if getattr(one, "action", "") in actions], WAIT_S)
    assert job.refresh().state == ("completed" if commits else "failed")
    app.close()  # nothing more is reported
    said = [one for one in caplog.records if getattr(one, "job_id", "") == job.id]
    assert [one.action for one in said] == [actions[0] if commits else actions[1]]  # type: ignore[attr-defined]
    assert "ZeroDivisionError: after that" in said[0].getMessage()
    assert "in charge" in (said[0].exc_text or "")
    assert app.queue.engine.faults["stale_claim"] == 0


@pytest.mark.parametrize("kind", [Session, None])
def test_with_sqlalchemy(app: Application, url: str, kind: Any) -> None:
    engine = create_engine(_sqlalchemy(url))

    def charge(job: Any) -> None:
        with kind(engine) if kind else engine.connect() as session:
            session.execute(text("INSERT INTO orders VALUES (1)"))
            job.complete_in(session, 5)
            session.rollback()
            session.execute(text("INSERT INTO orders VALUES (1)"))
            job.complete_in(session, 6)
            session.commit()

    job = _run(app, charge)
    assert (job.return_value, _completed(app), _orders(url)) == (6, 1, 1)
    engine.dispose()


@pytest.mark.parametrize("kind", ["psycopg", "sqlalchemy", "plain"])
def test_with_asyncio(app: Application, url: str, kind: str) -> None:
    async def charge(job: Any) -> None:
        if kind == "psycopg":
            async with await psycopg.AsyncConnection.connect(url) as connection:
                await job.aio.complete_in(connection, 7)
        elif kind == "sqlalchemy":
            engine = create_async_engine(_sqlalchemy(url))
            async with AsyncSession(engine) as session:
                await job.aio.complete_in(session, 7)
                await session.commit()
            await engine.dispose()
        else:
            with psycopg.connect(url) as plain:
                await job.aio.complete_in(plain, 7)

    job = _run(app, charge)
    assert (job.return_value, _completed(app)) == (7, 1)


def test_the_snippet_of_the_guide(app: Application, url: str) -> None:
    app.queue.get_queue("payments").pause()  # the tables are made
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE orders ADD COLUMN charged boolean")
        connection.execute("INSERT INTO orders VALUES (7)")
    (snippet,) = [one for one in SNIPPETS if one.page.endswith("postgresql.md") and "job.complete_in(" in one.text]
    program = snippet.text.replace("postgresql://shop:secret@db.example.com/shop", url)
    scope: dict[str, Any] = {}
    exec(program.replace('"namespace": "shop"', '"namespace": "tx"'), scope)
    with scope["app"] as shop:
        scope["payments"].resume()
        shop.start()
        assert scope["payments"].add("charge", {"order": 7}).wait_until_finished(timeout=WAIT_S) == {"charged": 7}
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT id, charged FROM orders").fetchall() == [(7, True)]


DJANGO = """
import json, sys
from urllib.parse import urlsplit
import django
from django.conf import settings
url = urlsplit(sys.argv[1])
database = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username, "HOST": url.hostname,
            "PORT": url.port}
settings.configure(INSTALLED_APPS=["stratix_kombu.integrations.django"], DATABASES={"default": database},
                   STRATIX={"store": f"{sys.argv[1]}?migrate=auto", "namespace": "tx"})
django.setup()
from django.db import connection, transaction
from stratix_kombu import ConfigurationError
from stratix_kombu.integrations.django import app
queue = app.queue.create_queue("orders")

@queue.process("charge")
def charge(job):
    try:
        job.complete_in(connection, "in no transaction")
    except ConfigurationError as problem:
        refused = str(problem)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO orders VALUES (1)")
        job.complete_in(connection, refused)

app.start()
print(json.dumps(queue.add("charge").wait_until_finished(timeout=20)))
app.close()
"""


def test_with_django(url: str) -> None:
    done = subprocess.run([sys.executable, "-c", DJANGO, url], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "in no transaction" in json.loads(done.stdout)
    assert _orders(url) == 1


KILLED = """
import os, signal, sys
import psycopg
from stratix_kombu import create_app
url = sys.argv[1]
app = create_app({"store": url, "namespace": "tx"})
queue = app.queue.create_queue("orders")

@queue.process("charge")
def charge(job):
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        job.complete_in(connection, "charged")
    os.kill(os.getpid(), signal.SIGKILL)

app.start()
signal.pause()
"""


def test_a_worker_that_is_killed_after_the_commit_has_completed_the_job(app: Application, url: str) -> None:
    job = app.queue.get_queue("orders").add("charge", attempts=3)
    done = subprocess.run([sys.executable, "-c", KILLED, url], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    app.queue.get_queue("orders").add("another")  # any step
    assert job.refresh().return_value == "charged"
    assert (job.state, job.attempts_made, _completed(app), _orders(url)) == ("completed", 1, 1, 1)


def test_those_that_depend_on_it_run_and_the_handler_goes_on(
    app: Application, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim is held no longer, which is no reason to end it."""
    lose, lost, went_on = Endings.lose, list[str](), list[str]()

    def noted(self: Endings, token: str) -> None:
        lose(self, token)
        lost.append(token)

    monkeypatch.setattr(Endings, "lose", noted)
    queue: Any = app.queue.create_queue("orders")

    @queue.process("charge")
    async def charge(job: Any) -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await job.aio.complete_in(connection, 8)
        await later.aio.wait_until_finished(timeout=WAIT_S)
        while not lost:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)  # where it would be cancelled
        went_on.append(f"{job.cancelled}")

    ships: Any = app.queue.create_queue("ships")
    ships.process("ship", lambda job: job.get_dependency_results())
    job = queue.add("charge")
    later = ships.add("ship", dependencies=[job])
    app.start()
    assert later.wait_until_finished(timeout=WAIT_S) == {job.id: 8}
    until(lambda: went_on, WAIT_S)
    assert went_on == ["False"]


def test_it_is_refused_outside_of_the_handler(app: Application, url: str) -> None:
    with psycopg.connect(url) as connection, pytest.raises(ConfigurationError, match="is completed by its handler"):
        app.queue.get_queue("orders").add("charge").complete_in(connection)


def test_a_connection_to_another_database_is_refused(app: Application, postgres_url: str) -> None:
    def charge(job: Any) -> str:
        with database_of(postgres_url) as other, psycopg.connect(other) as wrong:
            try:
                job.complete_in(wrong, 1)
            except ConfigurationError as problem:
                return str(problem)
        return ""

    assert "another database" in _run(app, charge).return_value


def test_other_stores_cannot_do_it() -> None:
    with create_app({"driver": "memory"}) as app, pytest.raises(ConfigurationError, match="only a PostgreSQL store"):
        app.queue.get_queue("orders").add("charge").complete_in(object())


def test_a_sandbox_cannot_do_it() -> None:
    with pytest.raises(ConfigurationError, match="not in a sandbox"):
        SandboxJob({"id": "a"}, lambda *_: None, lambda: False).complete_in(object())
