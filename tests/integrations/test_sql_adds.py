"""Jobs that are added by the SQL function: what it takes, what it refuses, and what is made of the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from stratix_kombu import Application, create_app
from stratix_kombu.errors import DependencyNotFound
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


def ended(app: Application, *job_ids: str) -> list[str]:
    """How they end, in the order of these ids."""
    queue = app.queue.get_queue("mail")

    def states() -> list[str]:
        found = [queue.get_job(one) for one in job_ids]
        return [one.state for one in found if one is not None and one.finished_on]

    until(lambda: len(states()) == len(job_ids), WAIT_S)
    return states()


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


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"options": [1]}, r"options must be an object, not \[1\]"),
        ({"options": {"backof": 5}}, "a job has no options.backof"),
        ({"options": {"priority": 5}}, "a job has no options.priority"),
        ({"options": {"attempts": 1.5}}, "options.attempts must be a whole number from 1 to 10000, not 1.5"),
        ({"options": {"timeout": "5"}}, 'options.timeout must be milliseconds, not "5"'),
        ({"options": {"backoff": "fixed"}}, 'options.backoff must be milliseconds or an object, not "fixed"'),
        ({"options": {"backoff": -1}}, "options.backoff must be milliseconds or an object, not -1"),
        ({"options": {"backoff": {"type": "linear"}}}, "options.backoff.type must be"),
        ({"options": {"backoff": {"type": "custom"}}}, "options.backoff has custom alone"),
        ({"options": {"backoff": {"custom": "name", "delay": 1}}}, "options.backoff has custom alone"),
        ({"options": {"backoff": {"jitter": 2}}}, "options.backoff.jitter must be from 0 to 1, not 2"),
        ({"options": {"backoff": {"every": 2}}}, "a job has no options.backoff.every"),
        ({"keep_completed": "bad"}, 'keep_completed must be "count:milliseconds", not "bad"'),
        ({"keep_failed": {"count": 5}}, "keep_failed must be"),
        ({"deduplication": "d"}, "deduplication must be an object"),
        ({"deduplication": {}}, "deduplication needs an id"),
        ({"deduplication": {"id": None}}, "deduplication needs an id"),
        ({"deduplication": {"id": "d", "ttl": 5}}, "a job has no deduplication.ttl"),
        ({"deduplication": {"id": "d", "ttl_ms": 1.5}}, "deduplication.ttl_ms must be whole milliseconds, not 1.5"),
        ({"deduplication": {"id": "d", "replace": 1}}, "deduplication.replace must be true or false"),
        ({"dependencies": "chi"}, "dependencies must be an array of ids"),
        ({"dependencies": [["chi"]]}, "dependencies must be an array of ids"),
        ({"id": "self", "dependencies": ["other", "self"]}, "the job self cannot depend on itself"),
        ({"id": "own:logs"}, "no job can have the id own:logs"),
        ({"optional": "false"}, "optional must be true or false"),
        ({"group": "a b"}, "group must be"),
        ({"dead_letter": "a b"}, "dead_letter must be the name of a queue"),
        ({"due_ms": "soon"}, "due_ms must be milliseconds since the epoch"),
        ({"due_ms": 10**15}, "due_ms must be milliseconds since the epoch"),
        ({"delay_ms": 1.5}, "delay_ms must be whole milliseconds"),
    ],
)
def test_what_a_worker_could_not_read_is_refused(
    app: Application, connection: psycopg.Connection, said: dict[str, Any], problem: str
) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=problem):
        connection.execute(SQL, [json.dumps(job(**{"job_id": said.pop("id", ""), **said}))])


def test_what_is_null_is_not_said(app: Application, connection: psycopg.Connection) -> None:
    keys = ("options", "keep_failed", "deduplication", "dependencies", "optional", "group", "dead_letter", "due_ms")
    inner = {"options": {"backoff": None, "timeout": None}, "deduplication": {"id": "d", "ttl_ms": None}}
    connection.execute(SQL, [json.dumps([job("a", **dict.fromkeys(keys)), job("b", **inner)])])
    connection.commit()
    assert ended(app, "a", "b") == ["completed", "completed"]


@pytest.mark.parametrize("at_once", [True, False])
def test_dependencies_may_be_added_behind_in_the_same_transaction(
    app: Application, connection: psycopg.Connection, at_once: bool
) -> None:
    """More of them than one step takes in."""
    below = [f"child-{number}" for number in range(300)]
    jobs = [job("root", "middle", *below), job("middle", "child-299"), *map(job, below)]
    for said in [jobs] if at_once else jobs:
        connection.execute(SQL, [json.dumps(said)])
    connection.commit()
    assert ended(app, "root", "middle", "child-299") == ["completed"] * 3


def test_what_is_known_by_nobody_and_a_cycle_count_as_removed(app: Application, connection: psycopg.Connection) -> None:
    connection.execute(SQL, [json.dumps([job("a", "b"), job("b", "c"), job("c", "a"), job("d", "nobody"), job("e")])])
    connection.commit()
    assert ended(app, "a", "b", "c", "d", "e") == ["failed"] * 4 + ["completed"]
    queue: Any = app.queue.get_queue("mail")
    assert queue.get_job("c").failed_reason == "dependency a was removed"


def test_with_a_connection_dependencies_go_before_as_without(app: Application, connection: psycopg.Connection) -> None:
    queue = app.queue.get_queue("mail")
    parent, child = ({"name": "send", "opts": {"job_id": "p", "dependencies": ["c"]}}, {"name": "send", "opts": {}})
    child["opts"] = {"job_id": "c"}
    with pytest.raises(DependencyNotFound):
        queue.add_bulk([parent, child], connection=connection)
    with pytest.raises(DependencyNotFound):
        queue.add("send", job_id="self", dependencies=["self"], connection=connection)
    queue.add_bulk([child, parent], connection=connection)
    connection.commit()
    assert ended(app, "p", "c") == ["completed", "completed"]


@pytest.mark.parametrize(
    "said",
    [
        {"dependencies": ["odd"]},
        {"dependencies": "odd"},
        {"due_ms": 10**30},
        {"due_ms": "Infinity"},
        {"deduplication": {"id": "d", "ttl_ms": 10**30}},
        {"deduplication": {"id": "d", "ttl": 5}},
        {"limit": {"key": "k", "max": "x", "duration_ms": 5}},
        {"options": {"backoff": {"type": "linear"}}},
        {"data": json.loads("[" * 900 + "]" * 900)},
    ],
)
def test_a_row_that_cannot_be_used_keeps_no_other_one_back(
    app: Application, connection: psycopg.Connection, said: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The function of an earlier release wrote it."""
    text = json.dumps(job(**said)).replace("[" * 900, "[" * 5000).replace("]" * 900, "]" * 5000)
    connection.execute("INSERT INTO stratix_sql.incoming (id, job) VALUES ('odd', %s)", [text])
    connection.execute(SQL, [json.dumps(job("good"))])
    connection.commit()
    assert ended(app, "good") == ["completed"]
    assert app.queue.get_queue("mail").get_job("odd") is None
    dropped = [one.getMessage() for one in caplog.records if getattr(one, "action", "") == "arrival_dropped"]
    assert [one.partition(",")[0] for one in dropped] == ["the job 'odd'"]


def test_a_fraction_that_an_earlier_function_took_is_read(app: Application, connection: psycopg.Connection) -> None:
    text = json.dumps(job(deduplication={"id": 7, "ttl_ms": 1.5}, options={"backoff": 1000, "attempts": 3}))
    connection.execute("INSERT INTO stratix_sql.incoming (id, job) VALUES ('older', %s)", [text])
    connection.commit()
    assert ended(app, "older") == ["completed"]
