"""Children of the prefork pool store successes while they go on to the next task: who hears that a task has succeeded
finds its result all the same, and nothing is lost when a child ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request

from stratix_kombu import create_app
from stratix_kombu.celery import install
from stratix_kombu.celery.later import Later
from stratix_kombu.lifecycle.claim import take
from stratix_kombu.model.record import Change, Completion
from tests.celery.conftest import lines
from tests.celery.workers import Project
from tests.faults.servers import OwnRedis
from tests.waiting import WAIT_S, until

MANY = 200


@pytest.mark.parametrize("how", ["by its command line", "later"])
def test_an_event_of_a_success_finds_the_result(on_redis: Project, how: str) -> None:
    app, found, listens = on_redis.app, dict[str, str](), threading.Event()

    def hear(event: dict[str, Any]) -> None:
        found[event["uuid"]] = app.backend.get_state(event["uuid"])

    with app.connection_for_read() as connection:
        handlers = {"task-succeeded": hear, "worker-heartbeat": lambda event: listens.set()}
        receiver = app.events.Receiver(connection, handlers=handlers)
        hearing = iter(receiver.itercapture(limit=None, timeout=WAIT_S, wakeup=False))
        arguments = ["-E"] if how == "by its command line" else []
        worker = on_redis.start_worker("prefork", 2, *arguments, follows=True)
        try:
            if how == "later":
                until(lambda: app.control.enable_events(reply=True, timeout=5, destination=[worker.name]), WAIT_S)
            threading.Thread(target=lambda: list(hearing), daemon=True).start()
            assert listens.wait(WAIT_S)
            results = [on_redis.task("add").delay(n, n) for n in range(MANY)]
            until(lambda: {one.id for one in results} <= found.keys(), WAIT_S)
        finally:
            receiver.should_stop = True
            worker.end()
    assert set(found.values()) == {"SUCCESS"}


def test_a_signal_of_a_success_finds_the_result(on_redis: Project, notes: str) -> None:
    with on_redis.worker("prefork", 2, signals=notes, follows=True):
        results = [on_redis.task("add").delay(n, n) for n in range(MANY)]
        assert [one.get(timeout=WAIT_S) for one in results] == [2 * n for n in range(MANY)]
    assert [one for one in lines(notes) if one.startswith("task_success")] == ["task_success add SUCCESS"] * MANY


def test_a_request_of_a_projects_own_hears_of_it() -> None:
    class Mine(Request):
        def on_success(self, failed__retval__runtime: Any, **kwargs: Any) -> Any:
            return super().on_success(failed__retval__runtime, **kwargs)

    app = Celery("mine", broker="memory://", set_as_current=False)
    install(app, driver="memory://")
    bridge = app.stratix_bridge  # type: ignore[attr-defined]

    def nothing() -> None:
        pass

    plain, own = (
        app.task(nothing, name=name, shared=False, **more) for name, more in (("plain", {}), ("own", {"Request": Mine}))
    )
    assert [bridge.is_heard(app.tasks[one.name]) for one in (plain, own)] == [False, True]


@pytest.fixture
def store() -> Iterator[OwnRedis]:
    server = OwnRedis(keeps=True)
    server.start()
    yield server
    server.close()


def test_a_child_that_ends_stores_what_it_has(amqp_url: str, store: OwnRedis, tmp_path: Path) -> None:
    """Though the store is away for longer than a child takes to end."""
    project, gate = Project(amqp_url, store.url), tmp_path / "gate"
    worker = project.start_worker("prefork", 1, "--max-tasks-per-child", "2", follows=True)
    try:
        assert project.task("add").delay(1, 2).get(timeout=WAIT_S) == 3
        result = project.task("progress").delay(str(gate))
        until(lambda: result.state == "PROGRESS", WAIT_S)
        store.kill()
        gate.touch()
        until(lambda: worker.text().count("succeeded in") == 2, WAIT_S)
        ended = time.monotonic()
        until(lambda: time.monotonic() - ended > 4)  # a child that has nothing to store takes a second or two
        store.start()
        assert result.get(timeout=WAIT_S) == "done"
        assert project.queue.get_job(result.id).attempts_started == 1
    finally:
        worker.end()
        project.close()


def test_a_success_is_stored_before_the_next_task_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may end the process."""
    asked, answers = threading.Event(), threading.Event()
    with create_app({"driver": "memory"}) as app:
        engine, queue = app.queue.engine, app.queue.get_queue("q")
        complete = engine.store.transitions.complete

        def slow(results: Sequence[Completion]) -> Change:
            asked.set()
            assert answers.wait(WAIT_S)
            return complete(results)

        monkeypatch.setattr(engine.store.transitions, "complete", slow)
        queue.add("n")
        (claim,) = take(engine, "q", "worker", 60_000, 1, permits=1).claims
        stores = Later(engine)
        assert stores.begin()
        stores.claimed(time.monotonic())
        stores.keep(Completion(claim.record.id, claim.token, "null"))
        assert asked.wait(WAIT_S)
        waiting = threading.Thread(target=stores.claimed, args=(time.monotonic(),))
        waiting.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        answers.set()
        waiting.join(WAIT_S)
        assert queue.get_job_counts()["completed"] == 1
        stores.stop(WAIT_S)


def test_where_tasks_come_one_by_one_each_success_is_stored_by_the_child_itself(
    on_redis: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim takes a second by this clock."""
    now = 0.0
    monkeypatch.setattr("stratix_kombu.celery.later.time", SimpleNamespace(monotonic=lambda: now))
    stores, found = Later(on_redis.app.stratix.queue.engine), list[bool]()
    for passed in (3.0, 3.0, 5.0, 3.0):
        began, now = now + passed, now + passed + 1.0
        stores.claimed(began)
        found.append(stores.follows)
        stores.ended()
    assert found == [False, True, False, True]
