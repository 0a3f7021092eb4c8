"""Tasks and their results beside stock Celery."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import states
from celery.app.task import Context
from celery.exceptions import TaskRevokedError

from stratix_kombu.model.tasks import TRACKED
from tests.celery.beside import WAIT_S, Beside, Side, beside, value
from tests.celery.conftest import lines
from tests.waiting import until


@pytest.fixture(scope="module", params=["threads", "own"])
def pair(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, bridged=request.param, result_extended=True) as both:
        yield both


# -- states ----------------------------------------------------------------------------------------


def test_a_rejected_task_is_redelivered(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        path = str(tmp_path / side.name)
        result = side.task("redelivered").delay(path)
        return [value(result), lines(path)]

    assert pair.both(script) == [[False, True], ["False", "True"]]


def test_what_an_ignored_task_has_said_stands(pair: Beside) -> None:
    def script(side: Side) -> Any:
        ignored = side.task("ignored")
        heard = [ignored.delay(*args) for args in ((), ("CUSTOM", {"a": 1}), ("SUCCESS", {"b": 2}), ("PENDING", None))]
        mark = side.task("add").delay(1, 1)
        value(mark)
        until(lambda: all(one.state != "PENDING" for one in heard[1:3]), WAIT_S)
        return [(one.state, one.result) for one in heard]

    assert pair.both(script) == [("PENDING", None), ("CUSTOM", {"a": 1}), ("SUCCESS", {"b": 2}), ("PENDING", None)]


def test_a_task_that_keeps_no_result(pair: Beside) -> None:
    """Sent by its name, too, where the sender does not know that."""

    def script(side: Side) -> Any:
        results = [
            side.task("quiet").delay(1),
            side.app.send_task("proj.quiet", (2,)),
            side.task("add").apply_async((1, 1), ignore_result=True),
        ]
        value(side.task("add").delay(1, 1))
        found = [side.app.AsyncResult(one.id) for one in results]
        return [(one.state, one.result, one.info) for one in found]

    assert pair.both(script) == [("PENDING", None, None)] * 3


def test_a_task_that_reports_when_it_starts(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        gate = tmp_path / side.name
        result = side.task("tracked").delay(str(gate))
        until(lambda: result.state == "STARTED", WAIT_S)
        seen = sorted(result.info), str(result.info["hostname"]).partition("@")[2], result.info["pid"] > 1
        gate.touch()
        return [seen, value(result)]

    assert pair.both(script) == [(["hostname", "pid"], "test", True), "done"]


def test_messages_of_a_task_that_runs(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        gate = tmp_path / side.name
        result, heard = side.task("steps").delay(str(gate)), []

        def hear(meta: Any) -> None:
            heard.append((meta["status"], meta["result"]))
            gate.touch()

        return [result.get(timeout=WAIT_S, on_message=hear), heard]

    assert pair.both(script) == ["done", [("PROGRESS", {"step": 1}), ("SUCCESS", "done")]]


def test_states_that_a_program_stores(pair: Beside) -> None:
    def script(side: Side) -> Any:
        backend, answers = side.app.backend, []
        heard: dict[str, Any] = {
            "STARTED": {"pid": 1},
            "PROGRESS": {"a": [1]},
            "RETRY": ValueError("x"),
            "SUCCESS": {"b": 2},
            "FAILURE": KeyError("k"),
            "REVOKED": TaskRevokedError("gone"),
        }
        for state, meta in heard.items():
            one = side.new_id()
            backend.store_result(one, meta, state)
            found = side.app.AsyncResult(one)
            answers.append((found.state, repr(found.result)))
        again = side.new_id()
        for state in ("STARTED", "PROGRESS", "SUCCESS"):
            backend.store_result(again, {"now": state}, state)
        return [*answers, side.app.AsyncResult(again).result]

    pair.both(script)


def test_the_error_of_a_task_that_will_be_tried_again(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("fails_and_retries").delay()
        until(lambda: result.state == states.RETRY, WAIT_S)
        heard = repr(result.info), "ValueError: not yet" in result.traceback
        result.revoke()
        return heard

    assert pair.both(script) == ("ValueError('not yet')", True)


def test_revoking_what_is_no_task(pair: Beside) -> None:
    def script(side: Side) -> Any:
        unknown, heard = side.new_id(), side.new_id()
        side.app.backend.store_result(heard, {"step": 1}, "PROGRESS")
        answers = [side.app.control.revoke(unknown), side.app.control.revoke([heard])]
        until(lambda: side.app.AsyncResult(unknown).state == "REVOKED", WAIT_S)
        return [*answers, *((one.state, repr(one.info)) for one in map(side.app.AsyncResult, (unknown, heard)))]

    revoked = ("REVOKED", "TaskRevokedError('revoked')")
    assert pair.both(script) == [None, None, revoked, ("PROGRESS", "{'step': 1}")]


def test_a_running_task_goes_on_whoever_hears_of_its_revoke(pair: Beside, tmp_path: Path) -> None:
    """Celery: "won't terminate an already executing task unless the terminate option is set". Another worker does not
    know that it runs, and looks at its state, which is PENDING without ``task_track_started``."""

    def script(side: Side) -> Any:
        gate, began = tmp_path / f"gate-{side.name}", tmp_path / f"began-{side.name}"
        other = side.project.start_worker("solo", 1, "-Q", f"{side.project.prefix}other")
        try:
            result = side.task("wait_for").delay(str(gate), str(began))
            until(began.exists, WAIT_S)
            names = [side.worker, other.name]
            control = side.app.control
            until(lambda: len(control.revoke(result.id, destination=names, reply=True, timeout=2) or ()) == 2, WAIT_S)
        finally:
            other.end()
        gate.touch()
        until(lambda: side.app.AsyncResult(result.id).state == "SUCCESS", WAIT_S)
        return side.app.AsyncResult(result.id).result, len(lines(str(began)))

    assert pair.both(script) == ("done", 1)


def test_a_second_copy_of_a_running_tasks_message_that_has_expired_ends_nothing(pair: Beside, tmp_path: Path) -> None:
    """As after the visibility timeout of a broker: the worker that gets it finds that it has expired."""

    def script(side: Side) -> Any:
        gate, began = tmp_path / f"gate-{side.name}", tmp_path / f"began-{side.name}"
        result = side.task("wait_for").delay(str(gate), str(began))
        until(began.exists, WAIT_S)
        request = Context(id=result.id, task="proj.wait_for", delivery_info={})
        side.app.backend.mark_as_revoked(result.id, "expired", request=request)
        gate.touch()
        until(lambda: side.app.AsyncResult(result.id).state == "SUCCESS", WAIT_S)
        return side.app.AsyncResult(result.id).result

    assert pair.both(script) == "done"


def test_a_second_copy_of_a_running_tasks_message_that_cannot_be_run_ends_nothing(pair: Beside, tmp_path: Path) -> None:
    """At a worker that does not know the task, or cannot read the message: it drops it, and says that the task has
    failed."""

    def script(side: Side) -> Any:
        gate, began = tmp_path / f"gate-{side.name}", tmp_path / f"began-{side.name}"
        result, queue = side.task("wait_for").delay(str(gate), str(began)), side.app.conf.task_default_queue
        until(began.exists, WAIT_S)
        with side.app.producer_or_acquire() as producer:
            for more in ({"task": "proj.nobody_knows"}, {}):
                headers = {"id": result.id, TRACKED: queue, **more}
                producer.publish([[], {}, {}], headers=headers, routing_key=queue, exchange="", serializer="json")
        value(side.task("add").delay(1, 1))  # the worker has received them before it
        gate.touch()
        until(lambda: side.app.AsyncResult(result.id).state == "SUCCESS", WAIT_S)
        return side.app.AsyncResult(result.id).result

    assert pair.both(script) == "done"


# -- ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", ["plain", "x" * 300, "with spaces and äöü", "a#b", "line\nbreak", ":logs", "%s{}[]\"'\\"]
)
def test_any_id_is_taken(pair: Beside, suffix: str) -> None:
    def script(side: Side) -> Any:
        chosen = side.new_id() + suffix
        result = side.task("add").apply_async((1, 2), task_id=chosen)
        row = (side.task("add").s(1, 1) | side.task("add").s(1)).apply_async(task_id=f"{chosen}row")
        answers = [value(result), value(row), row.id == f"{chosen}row", value(side.app.AsyncResult(chosen))]
        seen = value(side.task("about").apply_async(task_id=f"{chosen}seen"))["id"]
        side.app.backend.forget(chosen)
        return [*answers, seen == f"{chosen}seen", side.app.AsyncResult(chosen).state]

    assert pair.both(script) == [3, 3, True, 3, True, "PENDING"]


def test_an_id_may_be_a_uuid(pair: Beside) -> None:
    def script(side: Side) -> Any:
        chosen = uuid.uuid4()
        result = side.task("add").apply_async((1, 2), task_id=chosen)
        return [value(result), side.app.AsyncResult(str(chosen)).state]

    assert pair.both(script) == [3, "SUCCESS"]


# -- what is kept ----------------------------------------------------------------------------------


def test_what_is_kept_of_a_request(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("parent_of").apply_async(kwargs={"fails": False})
        until(result.ready, WAIT_S)
        meta = dict(result._get_task_meta())
        names = ["name", "args", "kwargs", "retries", "status", "result", "traceback"]
        known = {one: meta[one] for one in names}
        grouped = (side.task("same").s(1) | side.task("same").s()).apply_async()
        value(grouped)
        return [
            known,
            len(meta["children"]),
            meta["worker"].partition("@")[2],
            meta["queue"] == side.app.conf.task_default_queue,
            result.name,
            result.args,
            result.kwargs,
            result.retries,
            result.date_done is not None,
            grouped._get_task_meta()["parent_id"] == grouped.parent.id,
        ]

    pair.both(script)


def test_the_group_of_a_task_is_kept(pair: Beside) -> None:
    from celery import group

    def script(side: Side) -> Any:
        parts = group(side.task("same").s(1), side.task("same").s(2)).apply_async()
        value(parts)
        return [one._get_task_meta().get("group_id") == parts.id for one in parts]

    assert pair.both(script) == [True, True]
