"""A state without an end that is stored by hand, for an id that is no task's: it expires as results do."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from stratix_kombu.celery import install
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.testing.stores import audit
from tests.celery.test_beside_routes import both
from tests.waiting import WAIT_S, until

EXPIRES_S = 3600
STORES = ["memory", "redis", "sqlite", "postgres"]
TOLD: dict[str, Callable[[Any, str], Any]] = {
    "PROGRESS": lambda app, one: app.backend.store_result(one, {"p": 1}, "PROGRESS"),
    "STARTED": lambda app, one: app.backend.mark_as_started(one, pid=1),
    "RETRY": lambda app, one: app.backend.mark_as_retry(one, ValueError("v")),
    "MINE": lambda app, one: app.tasks["any"].update_state(task_id=one, state="MINE"),
}


def define(app: Celery) -> None:
    @app.task(shared=False, name="any")
    def any_() -> None:
        """A task, to update the state of an id with."""


@pytest.fixture(params=STORES)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    store = f"sqlite:///{tmp_path}/jobs.db" if request.param == "sqlite" else "memory://"
    if request.param in ("redis", "postgres"):
        store = request.getfixturevalue({"redis": "redis_url", "postgres": "postgres_database"}[request.param])
        store += "?migrate=auto" * (request.param == "postgres")
    app = Celery("told", broker="memory://", set_as_current=False)
    app.conf.update(result_expires=EXPIRES_S, task_default_queue="told")
    app.stratix = install(app, store=store, namespace=f"told{uuid.uuid4().hex[:10]}")
    define(app)
    yield app
    assert audit(app.stratix.queue.engine.store) == []
    app.stratix.close()
    app.close()


def record_of(app: Any, one: str) -> JobRecord | None:
    (record,) = app.stratix.queue.engine.store.queries.get([one])
    return record  # type: ignore[no-any-return]


def due_of(app: Any, one: str) -> int:
    record = record_of(app, one)
    assert record is not None
    return record.due_ms


def let_expire(app: Any, one: str) -> None:
    """Move the time of its end to now, and have the clock see it."""
    transitions = app.stratix.queue.engine.store.transitions
    transitions.change_delay(one, 1)
    until(lambda: transitions.promote() and record_of(app, one) is None, WAIT_S)


@pytest.mark.parametrize("state", TOLD)
def test_it_expires_and_each_state_begins_the_time_anew(app: Any, state: str) -> None:
    queries = app.stratix.queue.engine.store.queries
    early = queries.now()
    TOLD[state](app, "one")
    due = due_of(app, "one")
    assert early + EXPIRES_S * 1000 <= due <= queries.now() + EXPIRES_S * 1000
    until(lambda: queries.now() > due - EXPIRES_S * 1000)
    TOLD[state](app, "one")
    assert (due_of(app, "one") > due, app.AsyncResult("one").state) == (True, state)
    let_expire(app, "one")
    assert app.AsyncResult("one").state == "PENDING"
    assert not any(app.stratix.queue.get_queue("told").get_job_counts().values())
    TOLD[state](app, "one")
    assert app.AsyncResult("one").state == state


@pytest.mark.parametrize("end", ["SUCCESS", "FAILURE", "REVOKED"])
def test_an_end_that_follows_is_kept_as_ever(app: Any, end: str) -> None:
    app.backend.store_result("one", {"p": 1}, "PROGRESS")
    if end == "REVOKED":
        app.backend.mark_as_revoked("one", "why")
    else:
        app.backend.store_result("one", 1 if end == "SUCCESS" else KeyError("k"), end)
    app.stratix.queue.engine.store.transitions.promote()
    record = record_of(app, "one")
    assert record is not None
    assert (record.state.finished, app.AsyncResult("one").state) == (True, end)


def test_a_task_of_that_id_that_is_sent_later_takes_its_place(app: Any) -> None:
    app.backend.store_result("one", {"p": 1}, "PROGRESS")
    app.send_task("any", task_id="one")
    app.backend.store_result("one", {"p": 2}, "PROGRESS")
    record = record_of(app, "one")
    assert record is not None
    assert (record.state, record.due_ms, record.vacant) == (State.WAITING, 0, False)


def test_without_an_age_it_stays(redis_url: str) -> None:
    with both(redis_url, result_expires=None) as apps:
        for app, _ in apps.values():
            app.backend.store_result("stays", 1, "PROGRESS")
            assert app.AsyncResult("stays").state == "PROGRESS"
        record = record_of(apps["bridge"][0], "stays")
        assert record is not None
        assert (record.state, record.due_ms) == (State.BLOCKED, 0)


def test_celery_lets_it_expire_so(redis_url: str) -> None:
    """What the tests above expect of the bridge, of Celery's backend."""
    with both(redis_url, result_expires=EXPIRES_S) as apps:
        stock, bridged = apps["stock"][0], apps["bridge"][0]
        for state, tell in TOLD.items():
            for app in (stock, bridged):
                if "any" not in app.tasks:
                    define(app)
                tell(app, f"expires-{state}")
            left_ms = due_of(bridged, f"expires-{state}") - bridged.stratix.queue.engine.store.queries.now()
            left_s = stock.backend.client.ttl(f"celery-task-meta-expires-{state}")
            assert 0 < left_s <= EXPIRES_S
            assert 0 < left_ms <= EXPIRES_S * 1000
