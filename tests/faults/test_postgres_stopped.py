"""The PostgreSQL store, in a process that is stopped in the middle of a step for so long that the server undoes it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.record import Completion, NewJob, Schedule
from stratix_kombu.model.state import State
from stratix_kombu.stores.postgres.again import TRIES
from stratix_kombu.stores.postgres.connection import Connection
from stratix_kombu.stores.postgres.store import PostgresStore
from stratix_kombu.testing.stores import audit
from tests.faults.postgres import LEASE_MS, QUEUE, add, opened, there
from tests.waiting import WAIT_S, until

IDLE_MS = 300


class Stops:
    """Of this thread: it stands still within a step until the server has undone it."""

    def __init__(self, url: str) -> None:
        self.left = 0
        self.made = 0
        self._url = url
        self._thread = threading.get_ident()
        self._exchange = Connection.exchange

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stops = self

        def exchange(connection: Connection, *args: Any, **kwargs: Any) -> Any:
            answers = stops._exchange(connection, *args, **kwargs)
            is_within = connection._pg.transaction_status == psycopg.pq.TransactionStatus.INTRANS
            if stops.left and is_within and threading.get_ident() == stops._thread:
                stops.left -= 1
                stops.made += 1
                until(lambda: not stops._is_there(connection), WAIT_S)
            return answers

        monkeypatch.setattr(Connection, "exchange", exchange)

    def _is_there(self, connection: Connection) -> bool:
        with psycopg.connect(self._url) as other:
            sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
            return other.execute(sql, [connection._pg.backend_pid]).fetchone() is not None


@pytest.fixture
def stops(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Stops:
    monkeypatch.setattr("stratix_kombu.stores.postgres.connection.IDLE_MS", IDLE_MS)
    stops = Stops(postgres_database)
    stops.patch(monkeypatch)
    return stops


@pytest.fixture
def store(postgres_database: str, stops: Stops) -> Iterator[PostgresStore]:
    store = opened(postgres_database, timeout=IDLE_MS)
    add(store, "there", "other")
    yield store
    store.close()


def schedule(store: PostgresStore) -> Any:
    store.schedules.put(Schedule(key="s", queue=QUEUE, name="n", rule="{}", template="{}", next_ms=1))
    return [one.key for one in store.schedules.all()]


def claimed(store: PostgresStore) -> Any:
    return [one.record.id for one in store.transitions.claim(QUEUE, ["there"], "w", LEASE_MS).claims]


def fired(store: PostgresStore) -> Any:
    """A step of the schedules, with one of the jobs' in it."""
    schedule(store)
    run = NewJob(id="run", queue=QUEUE, name="n")
    added = store.schedules.fire("s", 1, 2, run)
    return added is not None, store.schedules.fire("s", 1, 2, run), there(store, "run")


def completed(store: PostgresStore) -> Any:
    (claim,) = store.transitions.claim(QUEUE, ["other"], "w", LEASE_MS).claims
    change = store.transitions.complete([Completion("other", claim.token, "1")])
    return change.stale, store.queries.states(["other"])


def contents(store: PostgresStore) -> Any:
    assert store.contents is not None
    return [one.new.id for one in store.contents.read(["there"])]


STEPS: dict[str, tuple[Callable[[PostgresStore], Any], Any]] = {
    "add": (lambda store: (add(store, "new"), there(store, "new")), (None, [True])),
    "claim": (claimed, ["there"]),
    "complete": (completed, ((), [State.COMPLETED])),
    "cancel": (lambda store: store.transitions.cancel("there", "no").stale, ()),
    "read": (lambda store: store.queries.status(QUEUE).counts["waiting"], 2),
    "put a schedule": (schedule, ["s"]),
    "fire": (fired, (True, None, [True])),
    "append": (lambda store: store.events.append(QUEUE, "mine"), None),
    "lock": (lambda store: store.locks.acquire("k", "t", LEASE_MS), True),
    "lead": (lambda store: store.clocks.lead("c", 1_000).leads, True),
    "contents": (contents, ["there"]),
    "put a message": (lambda store: (store.mail.put(["m"], "body"), store.mail.size("m")), (None, 1)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_the_server_has_undone_is_made_again(store: PostgresStore, stops: Stops, name: str) -> None:
    """Each time that the process stands still but one."""
    step, right = STEPS[name]
    stops.left = TRIES - 1
    assert step(store) == right
    assert stops.made
    assert audit(store) == []


def test_so_is_one_that_sends_much(postgres_database: str, stops: Stops) -> None:
    """The first of it is answered by the end of the connection, before the last of it is sent."""
    store = opened(postgres_database, timeout=10 * IDLE_MS)
    jobs = [NewJob(id=f"big{number}", queue=QUEUE, name="n", data=f'"{"x" * 500_000}"') for number in range(8)]
    stops.left = 1
    store.transitions.add(jobs)
    assert stops.made == 1
    assert set(store.queries.states([job.id for job in jobs])) == {State.WAITING}
    store.close()


@pytest.mark.parametrize("name", STEPS)
def test_an_answer_that_came_while_the_process_was_stopped(
    postgres_database: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It is read, though its time is over."""
    store = opened(postgres_database)
    add(store, "there", "other")
    next_result = Connection._next

    def late(connection: Connection) -> Any:
        if connection._pg.is_busy():
            select.select([connection.fd], [], [], WAIT_S)
        connection._answer_by = 0.0
        return next_result(connection)

    step, right = STEPS[name]
    monkeypatch.setattr(Connection, "_next", late)
    assert step(store) == right
    store.close()


@pytest.mark.parametrize("name", STEPS)
def test_it_is_not_made_again_for_ever(store: PostgresStore, stops: Stops, name: str) -> None:
    step, right = STEPS[name]
    stops.left = 10**6
    with pytest.raises(StoreUnavailable, match=r"was stopped in the middle of a step, which is undone \(.*25P03\)"):
        step(store)
    assert stops.made == TRIES
    stops.left = 0
    assert step(store) == right
    assert audit(store) == []
