"""Completions within users' transactions, step by step: whatever comes between, the user's rows are there if the job is
completed by that, and only then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.errors import ObjectNotInPrerequisiteState

from stratix_kombu.errors import ConfigurationError, InvalidJobState, JobCancelled, StaleClaim
from stratix_kombu.model.record import ANY_CLAIM, Claim, Completion, Failure, HandOver, Held, NewJob, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.postgres.completions import key_of
from stratix_kombu.stores.postgres.database import PostgresDatabase
from stratix_kombu.stores.registry import open_store
from stratix_kombu.stores.sql.transitions import SqlTransitions
from tests.waiting import until

WAIT_S = 20
LEASE_MS = 600_000


@pytest.fixture
def store(postgres_database: str) -> Iterator[Store]:
    store = open_store(f"{postgres_database}?migrate=auto", namespace="tx")
    store.ping()
    yield store
    store.close()


@pytest.fixture
def connection(store: Store, postgres_database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_database) as connection:
        connection.execute("CREATE TABLE orders (id int)")
        connection.commit()
        yield connection
        connection.rollback()


def _claims(store: Store, *ids: str, lease_ms: int = LEASE_MS, **options: Any) -> list[Claim]:
    store.transitions.add([NewJob(id=one, queue="mail", name="send", **options) for one in ids])
    return store.transitions.take("mail", "w", lease_ms, len(ids)).claims


def _held(claim: Claim) -> Held:
    return Held(claim.record.id, claim.token)


def _complete_in(store: Store, claim: Claim, connection: Any, result: str = "1") -> None:
    """With a row of the user's."""
    assert store.outbox is not None
    connection.execute("INSERT INTO orders VALUES (1)")
    store.outbox.complete(_held(claim), result, connection)


def _orders(connection: psycopg.Connection) -> int:
    return len(connection.execute("SELECT 1 FROM orders").fetchall())


def _completed(store: Store) -> int:
    return [event.name for event in store.events.read("mail", "0")].count("completed")


def _state(store: Store) -> State | None:
    """Of the job "a"."""
    return store.queries.states(["a"])[0]


def _result(store: Store) -> str | None:
    (record,) = store.queries.get(["a"])
    assert record is not None
    return record.result


@pytest.mark.parametrize("result", ["2", "1"])
def test_committed_it_is_completed_and_what_its_worker_says_then_changes_nothing(
    store: Store, connection: psycopg.Connection, result: str
) -> None:
    (claim,) = _claims(store, "a")
    _complete_in(store, claim, connection)
    assert _state(store) is State.ACTIVE
    connection.commit()
    assert store.transitions.complete([Completion("a", claim.token, result)]).stale == ()
    assert (_state(store), _result(store), _completed(store)) == (State.COMPLETED, "1", 1)
    assert store.transitions.fail([Failure("a", claim.token, "late", "", 0)]).stale == ("a",)
    assert (_state(store), _completed(store)) == (State.COMPLETED, 1)


def test_committed_it_is_completed_by_whatever_step_comes_next(store: Store, connection: psycopg.Connection) -> None:
    """Also by one that takes for granted what this process knows."""
    first, second = _claims(store, "a", "b")
    for number in range(3):  # nobody else writes
        store.transitions.add([NewJob(id=f"other {number}".replace(" ", "-"), queue="other", name="send")])
    _complete_in(store, first, connection)
    connection.commit()
    store.transitions.complete_and_take(
        [Completion("a", first.token, "2"), Completion("b", second.token, "3")], "mail", "w", LEASE_MS, 1
    )
    assert (_state(store), _result(store), _completed(store)) == (State.COMPLETED, "1", 2)


def test_rolled_back_it_goes_on(store: Store, connection: psycopg.Connection) -> None:
    (claim,) = _claims(store, "a")
    with connection.transaction(), connection.transaction(force_rollback=True):
        _complete_in(store, claim, connection)
    _complete_in(store, claim, connection)
    connection.rollback()
    assert (_state(store), _orders(connection)) == (State.ACTIVE, 0)
    _complete_in(store, claim, connection, "1")
    _complete_in(store, claim, connection, "2")  # the later word
    connection.commit()
    store.ping()
    assert (_state(store), _result(store), _completed(store), _orders(connection)) == (State.COMPLETED, "2", 1, 2)


def test_a_claim_that_was_lost_before_is_refused_and_nothing_is_written(
    store: Store, connection: psycopg.Connection
) -> None:
    (claim,) = _claims(store, "a")
    store.transitions.hand_back([_held(claim)])
    (second,) = store.transitions.take("mail", "w2", LEASE_MS, 1).claims
    with pytest.raises(StaleClaim):
        _complete_in(store, claim, connection)
    assert connection.execute("SELECT 1 FROM stratix_tx.completions").fetchall() == []
    connection.rollback()
    _complete_in(store, second, connection)
    connection.commit()
    store.ping()
    assert (_state(store), _completed(store), _orders(connection)) == (State.COMPLETED, 1, 1)


def test_a_job_that_was_cancelled_or_removed_before_is_refused(store: Store, connection: psycopg.Connection) -> None:
    first, second = _claims(store, "a", "b")
    store.transitions.cancel("a", "no more")
    with pytest.raises(JobCancelled):
        _complete_in(store, first, connection)
    store.transitions.complete([Completion("b", second.token, "1")])
    store.transitions.remove("b")
    with pytest.raises(StaleClaim):
        _complete_in(store, second, connection)
    assert connection.execute("SELECT 1 FROM stratix_tx.completions").fetchall() == []


def test_who_takes_the_job_away_at_that_moment_comes_first(
    store: Store, connection: psycopg.Connection, postgres_database: str
) -> None:
    (claim,) = _claims(store, "a")
    with psycopg.connect(postgres_database) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [key_of("stratix_tx", claim.token)])
        with pytest.raises(StaleClaim):
            _complete_in(store, claim, connection)


@pytest.mark.parametrize("how", ["failed", "handed back"])
def test_if_the_claim_ends_before_the_commit_that_fails(store: Store, connection: psycopg.Connection, how: str) -> None:
    (claim,) = _claims(store, "a")
    _complete_in(store, claim, connection)
    if how == "failed":
        assert store.transitions.fail([Failure("a", claim.token, "oh", "", 0)]).stale == ()
    else:
        assert store.transitions.hand_back([_held(claim)]).stale == ()
    with pytest.raises(ObjectNotInPrerequisiteState, match="no longer held"):
        connection.commit()
    connection.rollback()
    store.ping()
    assert (_state(store), _completed(store), _orders(connection)) == (State.WAITING, 0, 0)


SNAPSHOTS = [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]


@pytest.mark.parametrize("isolation", SNAPSHOTS)
@pytest.mark.parametrize("how", ["failed", "handed back", "handed over", "ended by another"])
def test_a_transaction_that_sees_the_past_is_refused_as_well(
    store: Store, connection: psycopg.Connection, how: str, isolation: psycopg.IsolationLevel
) -> None:
    connection.isolation_level = isolation
    (claim,) = _claims(store, "a")
    _complete_in(store, claim, connection)
    match how:
        case "failed":
            change = store.transitions.fail([Failure("a", claim.token, "oh", "", 0)])
        case "handed back":
            change = store.transitions.hand_back([_held(claim)])
        case "handed over":
            change = store.transitions.hand_over([HandOver("a", claim.token, ())])
        case _:
            change = store.transitions.complete([Completion("a", ANY_CLAIM, "2")])
    assert change.stale == ()
    with pytest.raises(ObjectNotInPrerequisiteState, match="no longer held"):
        connection.commit()
    connection.rollback()
    store.ping()
    assert (_state(store) is State.ACTIVE, _orders(connection)) == (False, 0)


@pytest.mark.parametrize("isolation", SNAPSHOTS)
def test_a_transaction_that_is_older_than_the_job_completes_it(
    store: Store, connection: psycopg.Connection, isolation: psycopg.IsolationLevel
) -> None:
    connection.isolation_level = isolation
    assert _orders(connection) == 0
    (claim,) = _claims(store, "a")
    store.transitions.renew([], [_held(claim)], LEASE_MS)
    _complete_in(store, claim, connection)
    store.transitions.renew([], [_held(claim)], LEASE_MS)
    connection.commit()
    store.ping()
    assert (_state(store), _completed(store), _orders(connection)) == (State.COMPLETED, 1, 1)


@pytest.mark.parametrize("how", ["failed", "handed back"])
@pytest.mark.parametrize("commits", [True, False])
def test_once_the_commit_has_found_that_the_claim_is_held_nothing_else_ends_it(
    store: Store, connection: psycopg.Connection, how: str, commits: bool
) -> None:
    (claim,) = _claims(store, "a", lease_ms=1)
    _complete_in(store, claim, connection)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")  # as the commit does
    if how == "failed":
        assert store.transitions.fail([Failure("a", claim.token, "oh", "", 0)]).stale == ("a",)
    else:
        assert store.transitions.hand_back([_held(claim)]).stale == ("a",)
    assert store.transitions.recover(1).affected == ()
    assert _state(store) is State.ACTIVE
    if commits:
        connection.commit()
        store.ping()
        assert (_state(store), _completed(store), _orders(connection)) == (State.COMPLETED, 1, 1)
    else:
        connection.rollback()
        until(lambda: store.transitions.recover(1).affected, WAIT_S)
        assert (_state(store), _completed(store), _orders(connection)) == (State.WAITING, 0, 0)


def test_if_another_attempt_began_before_the_commit_that_fails(store: Store, connection: psycopg.Connection) -> None:
    (claim,) = _claims(store, "a")
    _complete_in(store, claim, connection)
    store.transitions.hand_back([_held(claim)])
    (second,) = store.transitions.take("mail", "w2", LEASE_MS, 1).claims
    with pytest.raises(ObjectNotInPrerequisiteState):
        connection.commit()
    assert store.transitions.complete([Completion("a", second.token, "2")]).stale == ()
    assert (_result(store), _completed(store), _orders(connection)) == ("2", 1, 0)


@pytest.mark.parametrize("keep", [Retention(), Retention(0)])
def test_a_job_whose_worker_completed_it_before_the_commit_is_completed_once(
    store: Store, connection: psycopg.Connection, keep: Retention
) -> None:
    (claim,) = _claims(store, "a", keep_completed=keep)
    _complete_in(store, claim, connection)
    assert store.transitions.complete([Completion("a", claim.token, "2")]).stale == ()
    connection.commit()
    store.ping()
    assert (_completed(store), _orders(connection)) == (1, 1)
    assert connection.execute("SELECT 1 FROM stratix_tx.completions").fetchall() == []


def test_who_cancels_or_removes_it_before_the_commit_comes_too_late(
    store: Store, connection: psycopg.Connection
) -> None:
    (claim,) = _claims(store, "a")
    _complete_in(store, claim, connection)
    with pytest.raises(InvalidJobState):
        store.transitions.remove("a")
    store.transitions.cancel("a", "no more")
    connection.commit()
    store.ping()
    assert (_state(store), _completed(store), _orders(connection)) == (State.COMPLETED, 1, 1)


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("isolation", [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.SERIALIZABLE])
def test_while_the_transaction_is_under_way_an_expired_lease_does_not_count(
    store: Store, connection: psycopg.Connection, commits: bool, isolation: psycopg.IsolationLevel
) -> None:
    connection.isolation_level = isolation
    first, _ = _claims(store, "a", "b", lease_ms=1)  # both expire at the same instant
    _complete_in(store, first, connection)
    recovered = list[str]()
    until(lambda: recovered.extend(store.transitions.recover(1).affected) or "b" in recovered, WAIT_S)
    assert recovered == ["b"]
    assert _state(store) is State.ACTIVE
    if commits:
        connection.commit()
        assert store.transitions.recover(1).affected == ()
        assert (_state(store), _completed(store), _orders(connection)) == (State.COMPLETED, 1, 1)
    else:
        connection.rollback()
        assert store.transitions.recover(1).affected == ("a",)
        assert (_state(store), _completed(store), _orders(connection)) == (State.WAITING, 0, 0)


def test_what_is_committed_while_expired_leases_are_looked_for_is_not_recovered(
    store: Store, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = _claims(store, "a", "b", lease_ms=1)
    _complete_in(store, first, connection)
    recovered, look, looks = list[str](), SqlTransitions._stalled, list[bool]()
    until(lambda: recovered.extend(store.transitions.recover(1).affected) or "b" in recovered, WAIT_S)

    def commit_and_look(self: SqlTransitions, limit: int) -> Any:
        connection.commit()
        looks.append(True)
        return look(self, limit)

    with monkeypatch.context() as patched:
        patched.setattr(SqlTransitions, "_stalled", commit_and_look)
        assert store.transitions.recover(1).affected == ()
    assert looks
    store.ping()
    assert (_state(store), _completed(store)) == (State.COMPLETED, 1)


def test_what_is_committed_while_the_attempt_fails_is_completed(
    store: Store, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (claim,) = _claims(store, "a")
    _complete_in(store, claim, connection)
    begin, looks = PostgresDatabase._begin, list[bool]()

    def begin_and_commit(self: PostgresDatabase) -> bool:
        looks.append(begin(self))
        connection.commit()
        return looks[-1]

    with monkeypatch.context() as patched:
        patched.setattr(PostgresDatabase, "ahead", lambda *_: None)  # that it is committed is not seen by then
        patched.setattr(PostgresDatabase, "_begin", begin_and_commit)
        assert store.transitions.fail([Failure("a", claim.token, "oh", "", 0)]).stale == ("a",)
    assert looks == [False]
    store.ping()
    assert (_state(store), _completed(store), _orders(connection)) == (State.COMPLETED, 1, 1)


def test_jobs_behind_those_whose_completion_is_under_way_are_recovered(
    store: Store, connection: psycopg.Connection
) -> None:
    first, second, _ = _claims(store, "a", "b", "c", lease_ms=1)
    _complete_in(store, first, connection)
    _complete_in(store, second, connection)
    recovered = list[str]()
    until(lambda: recovered.extend(store.transitions.recover(1, 1).affected) or recovered, WAIT_S)
    assert recovered == ["c"]


def test_without_a_transaction_it_is_refused(
    store: Store, connection: psycopg.Connection, postgres_database: str
) -> None:
    (claim,) = _claims(store, "a")
    with psycopg.connect(postgres_database, autocommit=True) as autocommit:
        with pytest.raises(ConfigurationError, match="in no transaction"):
            _complete_in(store, claim, autocommit)
        with autocommit.transaction():
            _complete_in(store, claim, autocommit)
    store.ping()
    assert _state(store) is State.COMPLETED


def test_what_it_added_is_there_before_it_is_completed(store: Store, connection: psycopg.Connection) -> None:
    (claim,) = _claims(store, "a", keep_completed=Retention(0))
    assert store.outbox is not None
    store.outbox.add([NewJob(id="next", queue="mail", name="send", dependencies=("a",))], connection)
    _complete_in(store, claim, connection)
    connection.commit()
    store.ping()
    assert store.queries.states(["a", "next"]) == [None, State.WAITING]
    assert store.queries.dependencies("next") == {"a": State.COMPLETED}
