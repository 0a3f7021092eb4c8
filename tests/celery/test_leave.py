"""Going back to Celery alone: what is left in the store, and what is handed over."""

from __future__ import annotations

import json
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from celery import chain, chord
from click.testing import CliRunner

from stratix_kombu.celery import leave as going_back
from stratix_kombu.cli import celery_stratix
from tests.celery.conftest import lines
from tests.celery.workers import Project
from tests.waiting import WAIT_S, until

HOUR_S = 3600


def leave(project: Project, *options: str) -> tuple[int, list[Any], str]:
    """Exit code, what is left of each queue, and what it says."""
    own = SimpleNamespace(app=project.app)
    done = CliRunner().invoke(celery_stratix, ["leave", "--json", *options], obj=own)
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_what_is_due_and_has_no_clock_is_handed_over(on_redis: Project, notes: str) -> None:
    """A retry that waits in the store as well, and a task whose time has come after its workers were stopped."""
    project, store = on_redis, on_redis.app.stratix_bridge.engine.store
    stock = project.make(bridge=False)
    stock.backend.remove_pending_result = lambda result: result
    with project.worker("own"):
        flaky = stock.tasks["proj.flaky"].delay("tea", 1, HOUR_S)
        until(lambda: project.queue.get_jobs(["delayed"]), WAIT_S)
    project.task("note").apply_async((notes, "late"), countdown=HOUR_S)
    for job in project.queue.get_jobs(["delayed"]):
        store.transitions.change_delay(job.id, 1)
    until(lambda: store.queries.status(project.queue.name).overdue_ms, WAIT_S)
    code, left, said = leave(project, "--send-delayed")
    assert (code, left) == (0, [])
    assert "2 delayed tasks were sent" in said
    with project.worker(bridge=False):
        assert flaky.get(timeout=WAIT_S) == ["tea", 1]
        until(lambda: lines(notes) == ["late"], WAIT_S)


def test_what_a_clock_sends_meanwhile_is_not_handed_over(
    on_redis: Project, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would run twice."""
    bridge, look = on_redis.app.stratix_bridge, going_back._is_plain
    late = on_redis.task("note").apply_async((notes, "late"), countdown=HOUR_S)
    bridge.engine.store.transitions.change_delay(late.id, 1)

    def is_plain(*found: Any) -> bool:
        promote = bridge.engine.store.transitions.promote
        until(lambda: promote() and on_redis.queue.get_job(late.id).state == "waiting", WAIT_S)
        return look(*found)

    monkeypatch.setattr(going_back, "_is_plain", is_plain)
    assert going_back.hand_over_delayed(bridge) == 0
    assert on_redis.queue.get_job(late.id).state == "waiting"


def test_what_is_left_is_listed_and_handed_over(on_redis: Project, notes: str) -> None:
    """Delayed tasks are sent with their time; a worker without the bridge runs them once, and their chain goes on."""
    project, queue = on_redis, on_redis.app.conf.task_default_queue
    add, note, total = (project.task(one) for one in ("add", "note", "total"))
    note.apply_async((notes, "delayed"), countdown=HOUR_S)
    chain(note.si(notes, "first"), note.si(notes, "second")).apply_async(countdown=HOUR_S)
    in_a_header = add.s(1, 1).set(countdown=HOUR_S)
    body = chord([in_a_header, add.s(2, 2)], total.s()).apply_async()
    code, left, _ = leave(project)
    assert (code, left[0]["queue"], left[0]["counts"]["waiting"], left[0]["counts"]["delayed"]) == (1, queue, 1, 3)
    code, left, said = leave(project, "--send-delayed")
    assert code == 1
    assert "2 delayed tasks were sent" in said
    assert (left[0]["counts"]["waiting"], left[0]["counts"]["delayed"]) == (1, 1)
    with project.app.connection_for_read() as connection:
        simple = connection.SimpleQueue(queue)
        handed = [message for message in (simple.get(timeout=WAIT_S) for _ in range(3)) if message.headers["eta"]]
        assert len(handed) == 2
        for message in handed:
            due = datetime.fromisoformat(message.headers["eta"])
            assert HOUR_S - 120 < (due - project.app.now()).total_seconds() < HOUR_S
            headers = {**message.headers, "eta": None}
            connection.Producer().publish(message.payload, routing_key=queue, headers=headers, serializer="json")
    with project.worker(bridge=False):
        until(lambda: sorted(lines(notes)) == ["delayed", "first", "second"], WAIT_S)
    [delayed] = project.queue.get_jobs(["delayed"])
    delayed.promote()
    with project.worker():  # what was a message only is sent again, and what was handed over does not come back
        assert leave(project, "--wait", "60")[:2] == (0, [])
        assert body.get(timeout=WAIT_S) == 6
    assert len(lines(notes)) == 3
