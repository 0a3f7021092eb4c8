"""Messages in a store, for hosts that need a broker: who puts them there, and for how long."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratix_kombu.drivers.store import StoreDriver
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.record import NewJob, Ready
from stratix_kombu.stores.contract.mail import SERVED_MS
from stratix_kombu.stores.sqlite import SqliteStore
from stratix_kombu.stores.sqlite.options import read_options

QUEUE = "mail"
TASK = json.dumps({"body": "[]", "headers": {"task": "t", "id": "i"}, "properties": {"priority": 3}})


class Clock:
    now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[SqliteStore]:
    store = opened(tmp_path, clock)
    yield store
    store.close()


def opened(folder: Path, clock: Clock) -> SqliteStore:
    return SqliteStore(read_options({"url": f"sqlite:///{folder}/jobs.db", "timeout": 200}), "n", clock)


def add(store: SqliteStore, job_id: str, message: str = "", forward: bool = False) -> tuple[Ready, ...]:
    new = NewJob(id=job_id, queue=QUEUE, name="n", message=message, forward=forward)
    return store.transitions.add([new]).ready


def test_a_step_of_any_process_sends_what_it_makes_ready_as_long_as_the_queue_is_served(
    store: SqliteStore, tmp_path: Path, clock: Clock
) -> None:
    other = opened(tmp_path, clock)
    assert [one.id for one in add(other, "before")] == ["before"]
    store.mail.serve(QUEUE)
    assert add(other, "a") == ()
    assert store.mail.depth(QUEUE) == other.mail.depth(QUEUE) == 1
    permit = json.loads(store.mail.get(QUEUE) or "")
    assert (permit["headers"]["id"], permit["properties"]["delivery_info"]["routing_key"]) == ("a", QUEUE)
    clock.now += SERVED_MS
    assert [one.id for one in add(other, "after")] == ["after"]
    assert other.mail.depth(QUEUE) is None
    other.close()


def test_it_is_served_as_long_as_messages_are_asked_for(
    store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stratix_kombu.stores.sql.mail.AGAIN_S", 0.0)
    store.mail.serve(QUEUE)
    for _ in range(3):
        clock.now += SERVED_MS - 1
        assert add(store, f"j{clock.now}") == ()
        assert store.mail.get(QUEUE)
    clock.now += SERVED_MS
    store.mail.get("another")
    assert store.mail.depth(QUEUE) is None


def test_the_messages_of_tasks_have_their_priority_and_a_tag_of_their_own(store: SqliteStore) -> None:
    store.mail.serve(QUEUE)
    add(store, "task", TASK)
    add(store, "permit")
    first, second = (json.loads(store.mail.get(QUEUE) or "") for _ in range(2))
    assert (first["headers"]["id"], second["headers"]["id"]) == ("permit", "i")
    assert first["properties"]["delivery_tag"] != second["properties"]["delivery_tag"]


def test_what_is_forwarded_is_left_to_who_claims_it(store: SqliteStore) -> None:
    store.mail.serve(QUEUE)
    (ready,) = add(store, "forwarded", TASK, forward=True)
    StoreDriver(store).publish([ready])
    assert json.loads(store.mail.get(QUEUE) or "")["headers"]["task"] == "t"


def test_a_store_that_is_away_when_it_is_to_be_said(store: SqliteStore, tmp_path: Path) -> None:
    """It is said with the next message that is asked for."""
    store.ping()
    with sqlite3.connect(tmp_path / "jobs.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            store.mail.serve(QUEUE)
        writer.execute("ROLLBACK")
    writer.close()
    assert store.mail.depth(QUEUE) is None
    assert store.mail.get(QUEUE) is None
    assert store.mail.depth(QUEUE) == 0


def test_a_driver_that_sends_no_permits_sends_tasks(store: SqliteStore) -> None:
    driver = StoreDriver(store)
    driver.publish([Ready("a", QUEUE, "n"), Ready("b", QUEUE, "n", message=TASK)])
    assert store.mail.size(QUEUE) == 1
    assert driver.depth(QUEUE) == 0  # nobody takes messages, and no job waits
