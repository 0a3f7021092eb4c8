"""Jobs that are added by the SQL function: what it takes, what it refuses, and what is made of the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from stratix_kombu import Application, create_app
from tests.waiting import until

WAIT_S = 20
SQL = "SELECT stratix_sql.add_1(CAST(%s AS json))"


@pytest.fixture
def app(postgres_database: str) -> Iterator[Application]:
    """Runs jobs of the queue "mail"; those called "fail" fail."""
    app = create_app({"store": f"{postgres_database}?migrate=auto", "namespace": "sql"})
    queue = app.queue.create_queue("mail")
    queue.process("send", lambda job: job.data)
    queue.process("fail", lambda job: 1 / 0)
    app.start()
    yield app
    app.close()


@pytest.fixture
def connection(app: Application, postgres_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_database) as connection:
        yield connection
        connection.rollback()


def job(job_id: str = "", *dependencies: str, **said: Any) -> dict[str, Any]:
    """As the function takes it."""
    given = {"queue": "mail", "name": "send", "id": job_id or None, "dependencies": dependencies or None}
    return {**{key: value for key, value in given.items() if value is not None}, **said}


@pytest.mark.parametrize(
    ("backoff", "kept"),
    [
        (1, {"delay_ms": 1}),
        (1.5, {"delay_ms": 2}),
        ({"delay": 5}, {"delay_ms": 5}),
        ({"type": "exponential", "delay": 1, "jitter": 0.5}, {"type": "exponential", "delay_ms": 1, "jitter": 0.5}),
        ({"type": "fixed", "delay": None}, {}),
        ({"custom": "at_once"}, {"type": "custom", "custom": "at_once"}),
        ({"delay_ms": 1}, {"delay_ms": 1}),  # as it is kept
        ({"type": "custom", "custom": "at_once"}, {"type": "custom", "custom": "at_once"}),
    ],
)
def test_options_are_those_of_add(
    app: Application, connection: psycopg.Connection, backoff: object, kept: dict[str, Any]
) -> None:
    queue: Any = app.queue.create_queue("other", backoffs={"at_once": lambda attempts: 1})
    queue.process("fail", lambda job: 1 / 0)
    options = {"attempts": 2, "backoff": backoff, "timeout": 60_000.4}
    connection.execute(SQL, [json.dumps(job("a", name="fail", queue="other", options=options, group="g"))])
    connection.commit()
    until(lambda: (found := queue.get_job("a")) is not None and found.finished_on, WAIT_S)
    found = queue.get_job("a")
    assert (found.attempts_made, found.failed_reason) == (2, "ZeroDivisionError: division by zero")
    assert found.opts == {"attempts": 2, "priority": 0, "backoff": kept, "timeout": 60_000, "group": "g"}
