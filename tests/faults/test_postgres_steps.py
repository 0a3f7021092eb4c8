"""A step of the PostgreSQL store that takes for granted that nobody else has written: one round trip where that is so,
and made again where it is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from stratix_kombu.errors import DependencyNotFound
from stratix_kombu.model.record import Claim, Completion, Deduplication, NewJob
from stratix_kombu.model.state import Refusal
from stratix_kombu.stores.postgres import database, open_postgres_store
from stratix_kombu.stores.postgres.connection import Connection
from stratix_kombu.stores.postgres.session import jobs_at_once
from stratix_kombu.stores.postgres.store import PostgresStore
from stratix_kombu.stores.sql.columns import CHANGING, TEXTS, update_of
from tests.waiting import until

QUEUE = "q"


def opened(url: str) -> PostgresStore:
    return open_postgres_store({"url": f"{url}?migrate=auto"}, namespace="steps")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a step takes on a busy machine."""
    monkeypatch.setattr(database, "FRESH_S", 3600.0)


@pytest.fixture
def store(postgres_database: str) -> Iterator[PostgresStore]:
    """It has written last, and so it may take for granted what it knows."""
    store = opened(postgres_database)
    for name in ("first", "second", "third"):
        add(store, name)
    yield store
    store.close()


@pytest.fixture
def other(postgres_database: str) -> Iterator[PostgresStore]:
    store = opened(postgres_database)
    yield store
    store.close()


@pytest.fixture
def trips(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is sent and waited for, together each time."""
    sent: list[list[str]] = []
    exchange = Connection.exchange

    def noted(self: Connection, statements: Any, timeout_s: float | None = None) -> Any:
        made = [*statements]
        sent.append([sql for sql, _ in made])
        return exchange(self, made, timeout_s)

    monkeypatch.setattr(Connection, "exchange", noted)
    return sent


def add(store: PostgresStore, *ids: str, **given: Any) -> Any:
    return store.transitions.add([NewJob(id=one, queue=QUEUE, name="n", data="{}", **given) for one in ids])


def completions(claims: Sequence[Claim]) -> list[Completion]:
    return [Completion(one.record.id, one.token, "1") for one in claims]


def take(store: PostgresStore, want: int = 1, worker: str = "w") -> list[str]:
    return [claim.record.id for claim in store.transitions.take(QUEUE, worker, 30_000, want).claims]


def test_a_process_that_writes_alone_makes_most_steps_in_one_round_trip(
    store: PostgresStore, trips: list[list[str]]
) -> None:
    def run(ids: list[str]) -> None:
        add(store, *ids)
        taken, transitions = store.transitions.take(QUEUE, "w", 30_000, 2), store.transitions
        _, then = transitions.complete_and_take(completions(taken.claims), QUEUE, "w", 30_000, 1)
        transitions.complete(completions(then.claims))

    run(["fourth"])  # what there is to know is read once
    trips.clear()
    run(["fifth", "sixth"])
    steps = [sent for sent in trips if sent[0] == "BEGIN"]
    assert len(steps) == 4, "an add, a take, a completion with a take, and a completion"
    assert [sent[-1] for sent in steps] == ["COMMIT"] * 4


def test_what_another_process_has_taken_is_not_taken_again(store: PostgresStore, other: PostgresStore) -> None:
    assert take(other, worker="v") == ["first"]
    assert take(store, 3) == ["second", "third"]


def test_an_empty_queue_is_asked_whether_another_process_has_added(store: PostgresStore, other: PostgresStore) -> None:
    assert take(store, 3) == ["first", "second", "third"]
    assert store.transitions.take(QUEUE, "w", 30_000, 1).why is Refusal.EMPTY
    add(other, "later")
    assert take(store) == ["later"]


def test_what_another_process_has_cancelled_is_not_completed(store: PostgresStore, other: PostgresStore) -> None:
    (claim,) = store.transitions.take(QUEUE, "w", 30_000, 1).claims
    other.transitions.complete([Completion("first", claim.token, "1")])
    other.transitions.remove("first")
    add(other, "first")
    assert store.transitions.complete([Completion("first", claim.token, "2")]).stale == ("first",)


def test_a_refusal_that_rests_on_what_is_no_longer_so(store: PostgresStore, other: PostgresStore) -> None:
    """The id belongs to a job of another queue, as far as this process knows."""
    other.transitions.remove("first")
    moved = NewJob(id="first", queue="another", name="n", data="{}")
    assert store.transitions.add([moved]).duplicates == frozenset()
    with pytest.raises(DependencyNotFound):
        add(store, "dependent", dependencies=("nobody",))
    add(other, "nobody")
    add(store, "dependent", dependencies=("nobody",))


def test_a_job_that_was_taken_to_be_new_and_is_there(store: PostgresStore) -> None:
    """One that has ended is not known from one step to the next."""
    (claim,) = store.transitions.take(QUEUE, "w", 30_000, 1).claims
    store.transitions.complete([Completion("first", claim.token, "1")])
    added = add(store, "first", "fourth")
    assert added.duplicates == {"first"}
    assert [one.state.value if one else None for one in store.queries.get(["first", "fourth"])] == [
        "completed",
        "waiting",
    ]
    assert add(store, "fourth", "fifth").duplicates == {"fourth"}
    kept = add(store, "first", deduplication=Deduplication("d"))
    assert kept.duplicates == {"first"}, "and the deduplication id is not used up"
    assert add(store, "sixth", deduplication=Deduplication("d")).duplicates == frozenset()


def test_what_a_users_transaction_adds_is_there_for_the_next_step(store: PostgresStore, postgres_database: str) -> None:
    assert take(store, 3) == ["first", "second", "third"]
    assert store.outbox is not None
    with psycopg.connect(postgres_database) as connection:
        store.outbox.add([NewJob(id="of-a-user", queue=QUEUE, name="n", data="{}")], connection)
    assert take(store) == ["of-a-user"]


def test_many_jobs_are_changed_at_once_with_texts_of_all_kinds(store: PostgresStore) -> None:
    results = ['"{a,\\"b\\"}"', '"\\\\ and \\u0000"', "null", '"a\0b\x1a1\x1a"', '"NULL"', '""', "[1,2]", '"日本\'$1"']
    add(store, *(f"r{at}" for at in range(len(results))))
    claims = store.transitions.take(QUEUE, "w", 30_000, 100).claims
    ended = [one for one in claims if one.record.id.startswith("r")]
    store.transitions.complete([Completion(one.record.id, one.token, results[int(one.record.id[1:])]) for one in ended])
    found = store.queries.get([f"r{at}" for at in range(len(results))])
    assert [one.result if one else None for one in found] == results
    assert [one.worker if one else None for one in store.queries.get(["first", "second"])] == ["w", "w"]


def test_the_kinds_of_columns_are_those_of_the_table(store: PostgresStore) -> None:
    with store._database.reading() as db:
        rows = db.all("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'jobs'")
    kinds = {name: kind for name, kind in rows if name in {*CHANGING, "state", "seq", "expires_ms"}}
    assert {name for name, kind in kinds.items() if kind == "text"} == TEXTS
    assert {kind for name, kind in kinds.items() if name not in TEXTS} == {"bigint"}


def test_no_plan_for_many_jobs_reads_the_whole_table(store: PostgresStore) -> None:
    """Also where the plan is made while the table is small."""
    sql = jobs_at_once(update_of((0, 1, 9), True))
    with store._database.reading() as db:
        rows = db.all(f"EXPLAIN {sql}", *["{1}"] * 2, "{t}", "{active}", "{1}", "{NULL}", "{first}")
    plan = "\n".join(line for (line,) in rows)
    assert "Tid Scan on jobs" in plan
    assert "Index Scan using jobs_pkey" in plan
    assert "Seq Scan" not in plan


def test_threads_take_turns(store: PostgresStore) -> None:
    """Who has just ended a step does not begin the next one before who has been waiting for that."""
    steps, order = store._database, list[str]()

    def step(name: str) -> None:
        with steps:
            order.append(name)

    waiting = threading.Thread(target=step, args=("waiting",))
    with steps:
        waiting.start()
        until(steps._turn.locked)
    step("again")
    waiting.join()
    assert order == ["waiting", "again"]


def test_a_step_that_is_made_again_takes_nothing_for_granted(
    store: PostgresStore, other: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever steps other threads and processes make between its tries."""
    end, me, added = database.PostgresDatabase.__exit__, threading.get_ident(), list[str]()

    def ended(self: database.PostgresDatabase, *problem: Any) -> None:
        try:
            end(self, *problem)
        finally:
            if threading.get_ident() == me and not self.is_within:
                thread = threading.Thread(target=others)
                thread.start()
                thread.join()

    def others() -> None:
        for writer in (store, store, store, other):  # after two of them this process knows that it writes alone
            added.append(f"more{len(added)}")
            add(writer, added[-1])

    monkeypatch.setattr(database.PostgresDatabase, "__exit__", ended)
    add(store, "fourth")  # the process does not write alone from now on, and takes for granted that it does
    assert add(store, "fifth").duplicates == frozenset()
    monkeypatch.undo()
    assert take(store, 100) == ["first", "second", "third", "fourth", *added[:8], "fifth", *added[8:]]
