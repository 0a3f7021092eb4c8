"""Producers without the bridge while some workers have it: what they send, and all that follows, ends as with Celery
alone, whichever worker takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.app.task import Context

from stratix_kombu.celery.attempt import REJECTED
from stratix_kombu.celery.mirror import goes_on_plainly
from stratix_kombu.celery.plain import is_next, went_on
from stratix_kombu.celery.task import adopt
from stratix_kombu.lifecycle.outcomes import fail, hand_back
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.message import TASK
from stratix_kombu.model.record import Failure, Held
from stratix_kombu.model.state import State
from stratix_kombu.model.tasks import AGAIN
from tests.celery.beside import value
from tests.celery.conftest import broker_on, lines
from tests.celery.workers import Project
from tests.waiting import WAIT_S, until


@pytest.fixture(params=["redis threads", "redis own", "rabbitmq prefork"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(kind: str, request: pytest.FixtureRequest) -> Iterator[Project]:
    """A project with the bridge, of which one kind of task is left out."""
    project = Project(
        broker_on(kind.split()[0], request), request.getfixturevalue("redis_url"), conf={"left_out": ["proj.same"]}
    )
    yield project
    project.close()


def producer(project: Project) -> Celery:
    """The project without the bridge; its results do not look for the server when they go."""
    stock = project.make(bridge=False)
    stock.backend.remove_pending_result = lambda result: result
    return stock


def canvases(app: Celery, folder: Path) -> dict[str, Any]:
    """What each is for Celery alone is known by running it."""
    names = ("add", "total", "same", "boom", "replace", "enlarge", "flaky", "on_error_id")
    add, total, same, boom, replace, enlarge, flaky, on_error = (app.tasks[f"proj.{name}"] for name in names)
    told = folder / "told"
    return {
        "a chord within": chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(3, 3)], total.s()),
        "a chain within": chord([chain(add.s(1, 1), add.s(2), add.s(3)), add.s(3, 3)], total.s()),
        "a chain that ends in a group": chain(add.s(1, 1), group(add.s(2), add.s(3)), total.s(), add.s(1)),
        "a replacement within": chord([replace.s("chain"), add.s(3, 3)], total.s()),
        "another within": chord([replace.s("chord"), add.s(3, 3)], total.s()),
        "a replacement": chain(replace.s("task"), add.s(5)),
        "one more": chord([enlarge.s(4), add.s(3, 3)], total.s()),
        "one that fails": chord([boom.s(), add.s(3, 3)], total.s().on_error(on_error.s(path=str(told)))),
        "one that is tried again": chord([flaky.s(4), flaky.s(5, 2)], same.s()),
        "one that is left out": chain(add.s(1, 1), same.s(), add.s(3)),
        "those that are left out": chord([same.s(1), same.s(2)], total.s()),
    }


def outcomes(app: Celery, folder: Path) -> dict[str, str]:
    folder.mkdir()
    sent = {name: one.apply_async() for name, one in canvases(app, folder).items()}
    found = {name: str(value(result)).partition("Dependency")[0] for name, result in sent.items()}
    until(lambda: len(lines(str(folder / "told"))) == 1, WAIT_S)
    return found


def test_every_canvas_ends_as_with_celery_alone(project: Project, kind: str, tmp_path: Path) -> None:
    stock, alone = producer(project), Project(project.broker, project.store, conf={"bridge": False})
    with alone.worker():
        expected = outcomes(producer(alone), tmp_path / "alone")
    with project.worker(kind.split()[1]):
        assert outcomes(stock, tmp_path / "bridge") == expected
        # Who has the bridge reads the same.
        result = chord([stock.tasks["proj.same"].s(1), stock.tasks["proj.same"].s(2)], project.task("total").s())
        assert value(project.app.AsyncResult(result.apply_async().id)) == 3
    alone.close()


def test_an_id_that_is_used_again_runs_again_once_the_producer_has_the_bridge(
    project: Project, kind: str, tmp_path: Path
) -> None:
    """What a producer without it sends under the id of a task that has ended is taken for a copy of its message."""
    stock, notes = producer(project), str(tmp_path / "notes")
    with project.worker(kind.split()[1]):
        for line in ("first", "second"):
            value(stock.tasks["proj.note"].apply_async((notes, line), task_id=f"{project.prefix}-same"))
        value(stock.tasks["proj.note"].delay(notes, "behind"))
        assert lines(notes) == ["first", "behind"]
        value(project.task("note").apply_async((notes, "third"), task_id=f"{project.prefix}-same"))
        until(lambda: lines(notes) == ["first", "behind", "third"], WAIT_S)


def test_the_other_kind_of_worker_goes_on_and_nothing_runs_twice(project: Project, kind: str, tmp_path: Path) -> None:
    """It has gone on with all before a worker with the bridge comes back, which finds nothing to do."""
    stock, notes, gate = producer(project), str(tmp_path / "notes"), str(tmp_path / "gate")
    names = ("wait_for", "note", "spawn")
    wait_for, note, spawn = (stock.tasks[f"proj.{name}"] for name in names)
    Path(notes).touch()
    held = wait_for.si(gate, str(tmp_path / "began"))
    results = [
        chain(held, note.si(notes, "next"), note.si(notes, "last")).apply_async(),
        chain(held, group(note.si(notes, "one"), note.si(notes, "two")), note.si(notes, "joined")).apply_async(),
        chord([held, note.si(notes, "side")], note.si(notes, "body")).apply_async(),
        chain(held, spawn.si(notes)).apply_async(),
    ]
    bridged = project.start_worker(kind.split()[1])
    until(lambda: (tmp_path / "began").exists() and len(lines(str(tmp_path / "began"))) == 4, WAIT_S)
    until(lambda: lines(notes) == ["side"], WAIT_S)
    bridged.stop()
    with project.worker(bridge=False):
        Path(gate).touch()
        assert [value(result) for result in results[:3]] == ["last", "joined", "body"]
        value(results[3])
        until(lambda: "spawned" in lines(notes), WAIT_S)
    bridged.end()
    with project.worker(kind.split()[1]):
        assert value(note.delay(notes, "again")) == "again"
        unfinished = [State.WAITING, State.ACTIVE, State.DELAYED, State.BLOCKED]
        until(lambda: not project.queue.get_jobs([str(state) for state in unfinished]), WAIT_S)
    assert sorted(lines(notes)) == sorted(["again", "side", "body", "joined", "last", "next", "one", "spawned", "two"])


def test_a_delayed_task_that_its_producer_revokes_is_revoked_at_once(project: Project, kind: str) -> None:
    """The store does not know it, or under another id than its own."""
    stock = producer(project)
    with project.worker(kind.split()[1]) as worker:
        waits = stock.tasks["proj.add"].apply_async((1, 2), countdown=3600)
        inspect = stock.control.inspect([worker.name], timeout=1)
        until(lambda: waits.id in str(inspect.scheduled()), WAIT_S)
        stock.control.revoke(waits.id, destination=[worker.name])
        assert value(waits) == "celery.exceptions.TaskRevokedError: revoked"


@pytest.mark.parametrize("heard", ["by its worker", "by another one"])
def test_a_chord_ends_a_part_of_which_its_producer_has_revoked_before_it_was_sent(
    project: Project, kind: str, heard: str
) -> None:
    """The store knows that it was revoked, and nothing else of it. It remembers that for workers that come later."""
    stock, task_id = producer(project), f"{project.prefix}-revoked"
    add, total = stock.tasks["proj.add"], stock.tasks["proj.total"]

    def send() -> Any:
        return chord([add.s(1, 1).set(task_id=task_id), add.s(3, 3)], total.s()).apply_async()

    with project.worker(kind.split()[1]) as worker:
        until(lambda: stock.control.revoke(task_id, destination=[worker.name], reply=True, timeout=2), WAIT_S)
        result = send() if heard == "by its worker" else None
        until(lambda: result is None or result.state == "FAILURE", WAIT_S)
    with project.worker(kind.split()[1]):
        result = result or send()
        until(lambda: result.state == "FAILURE", WAIT_S)
        assert repr(result.result) == f"ChordError(\"Dependency {task_id} raised TaskRevokedError('revoked')\")"
        assert value(stock.AsyncResult(task_id)) == "celery.exceptions.TaskRevokedError: revoked"


def test_a_rejected_task_says_that_it_comes_again(project: Project, kind: str, tmp_path: Path) -> None:
    """As with Celery, where the broker says so of a message that was given back."""
    path = str(tmp_path / "seen")
    with project.worker(kind.split()[1]):
        sent = producer(project).tasks["proj.redelivered"].delay(path)
        assert (value(sent), lines(path)) == ([False, True], ["False", "True"])


def test_a_retry_waits_in_the_store_and_any_worker_makes_it(on_redis: Project) -> None:
    """Its message is sent when it is time, and is no job until a worker with the bridge has taken it."""
    flaky = producer(on_redis).tasks["proj.flaky"]
    with on_redis.worker("own"):
        result = flaky.delay("tea", 1, 3600)
        until(lambda: on_redis.queue.get_jobs(["delayed"]), WAIT_S)
        until(lambda: {result.state, on_redis.app.AsyncResult(result.id).state} == {"RETRY"}, WAIT_S)
    (waiting,) = on_redis.queue.get_jobs(["delayed"])
    with on_redis.worker(bridge=False):
        waiting.promote()
        assert value(on_redis.app.AsyncResult(result.id)) == ["tea", 1]
        assert value(result) == ["tea", 1]
    again = flaky.delay("milk", 1, 3600)
    with on_redis.worker():
        until(lambda: on_redis.queue.get_jobs(["delayed"]), WAIT_S)
        on_redis.queue.get_jobs(["delayed"])[0].promote()
        assert value(again) == ["milk", 1]
        assert on_redis.queue.get_job(again.id).return_value == ["milk", 1]


def request_in(queue: str) -> Context:
    """Of a message that has come from a queue."""
    return Context(
        id="a-task",
        task="proj.add",
        args=(1, 1),
        kwargs={},
        headers={},
        retries=0,
        delivery_info={"exchange": "", "routing_key": queue},
    )


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_message_that_is_sent_again_says_whether_its_task_has_begun(on_redis: Project, has_begun: bool) -> None:
    """It has if it was rejected, and not if it was only held back by a limit."""
    bridge, name = on_redis.app.stratix_bridge, on_redis.queue.name
    assert adopt(bridge, request_in(name), name)
    claim = bridge.claims.claim(name, "a-task")
    if has_begun:
        fail(bridge.engine, [Failure("a-task", claim.token, REJECTED, retry_ms=0)])
    else:
        hand_back(bridge.engine, [Held("a-task", claim.token)])
    with on_redis.app.connection_for_read() as connection:
        message = connection.SimpleQueue(name).get(timeout=WAIT_S)
        assert message.headers.get(AGAIN) == ([0, 0] if has_begun else None)
        message.ack()


def test_a_message_that_is_adopted_is_not_sent_again(on_redis: Project) -> None:
    """A worker without the bridge would run it a second time."""
    bridge, queue = on_redis.app.stratix_bridge, on_redis.queue
    with on_redis.worker():  # the store knows that the queue is served
        value(on_redis.task("add").delay(1, 1))
    assert adopt(bridge, request_in(queue.name), queue.name)
    assert (queue.get_job("a-task").state, bridge.driver.depth(queue.name)) == ("waiting", 0)


@pytest.mark.parametrize("pool", ["threads", "own"])
def test_a_late_task_whose_worker_is_killed_runs_again(on_redis: Project, notes: str, pool: str) -> None:
    result = producer(on_redis).tasks["proj.hang_once"].delay(notes)
    worker = on_redis.start_worker(pool)
    until(lambda: lines(notes) == ["ran"], WAIT_S)
    worker.kill()
    with on_redis.worker(pool):
        assert value(result) == "ran"
    assert lines(notes) == ["ran", "ran"]


def test_a_body_that_is_never_sent_is_also_stored(redis_url: str) -> None:
    project = Project(redis_url, redis_url, conf={"results": "also"})
    stock = producer(project)
    with project.worker():
        result = chord([project.task("boom").s(), project.task("add").s(1, 1)], project.task("total").s()).apply_async()
        until(lambda: stock.AsyncResult(result.id).state == "FAILURE", WAIT_S)
    project.close()


def test_which_message_is_for_a_later_attempt() -> None:
    """Retries and replacements keep the id of their task; a copy of an earlier message is dropped."""

    def request(retries: int, nesting: int = 0) -> Context:
        return Context(retries=retries, replaced_task_nesting=nesting)

    ended = bare_record("a-task", "q", "proj.add", State.COMPLETED)
    went = replace(ended, data=went_on(request(1)))
    assert [is_next(request(retries), went) for retries in range(4)] == [False, False, True, True]
    assert is_next(request(0, 1), went)
    assert not is_next(request(5), replace(went, data=went_on(request(0, 1))))
    assert not is_next(request(5), ended)


def test_a_task_that_stores_its_own_result_has_not_gone_on(on_redis: Project) -> None:
    """Whoever has the bridge reads it, and its producer too."""
    error, stock = "ValueError('own')", producer(on_redis)
    with on_redis.worker():
        result = stock.tasks["proj.ignore"].delay("FAILURE")
        until(lambda: result.state == "FAILURE", WAIT_S)
        until(lambda: repr(on_redis.app.AsyncResult(result.id).result) == error, WAIT_S)
        assert repr(result.result) == error


def test_what_a_handler_of_a_queue_sends_are_jobs() -> None:
    """Its permit has no mark, as the messages of producers without the bridge have none."""
    for name, plain in ((TASK, False), ("proj.add", True)):
        assert goes_on_plainly(Context(id="1", task=name, is_eager=False, called_directly=False)) is plain
