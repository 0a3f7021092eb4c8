"""What tasks gain by the bridge, and that the options of Celery keep their meaning, on every host."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError

from tests.celery.conftest import lines
from tests.celery.test_canvas import WAIT_S, value
from tests.celery.workers import Project
from tests.waiting import until


def test_a_task_is_a_job_of_its_queue(hosted: Project) -> None:
    heard: list[str] = []
    queue = hosted.queue
    queue.on("completed", lambda job, result: heard.append(job.id))
    result = hosted.task("add").apply_async((2, 3), headers={"only_a_header": "mine"})
    assert value(result) == 5
    job = queue.get_job(result.id)
    assert (job.name, job.state, job.return_value) == ("proj.add", "completed", 5)
    assert (job.data, job.attempts_made, job.is_task) == ({"args": [2, 3], "kwargs": {}}, 1, True)
    until(lambda: result.id in heard, WAIT_S)
    assert queue.off("completed") == 1
    assert queue.get_workers()


def test_the_request_is_as_celery_makes_it(hosted: Project) -> None:
    about = hosted.task("about")
    result = about.apply_async(headers={"only_a_header": "mine"})
    seen = value(result)
    assert (seen["id"], seen["retries"], seen["eta"], seen["header"]) == (result.id, 0, None, "mine")
    assert (seen["root"], seen["parent"], seen["group"], seen["reply_to"]) == (result.id, None, None, True)
    child = (hosted.task("same").s() | about.s()).apply_async()
    assert value(child)["parent"] == child.parent.id
    assert value(child)["root"] == child.parent.id
    logged = hosted.task("current").delay()
    assert value(logged) == [logged.id, hosted.queue.name, "proj.current", 1]


def test_a_retry_is_another_attempt_of_the_same_job(hosted: Project, notes: str) -> None:
    result = hosted.task("flaky").delay("x", 2)
    assert value(result) == ["x", 2]
    job = hosted.queue.get_job(result.id)
    assert (job.attempts_made, job.state) == (3, "completed")
    failed = hosted.task("always").delay(notes)
    with pytest.raises(ValueError, match="always"):
        value(failed)
    assert lines(notes) == ["tried"] * 3
    assert hosted.queue.get_job(failed.id).failed_reason == "ValueError: always"
    later = hosted.task("flaky").delay("y", 1, 60)
    until(lambda: later.state == "RETRY", WAIT_S)
    assert hosted.queue.get_job(later.id).state == "delayed"
    later.revoke()


def test_countdown_and_eta_wait_in_the_store(hosted: Project, notes: str) -> None:
    """Longer than SQS's visibility timeout here, which is five seconds; nothing is in a worker's memory meanwhile."""
    note = hosted.task("note")
    eta = datetime.now(timezone.utc) + timedelta(seconds=0.3)
    whens: dict[str, dict[str, Any]] = {
        "countdown": {"countdown": 0.3},
        "eta": {"eta": eta},
        "text": {"eta": eta.isoformat()},
        "past": {"eta": eta.replace(year=2000)},
    }
    results = [note.apply_async((notes, name), **when) for name, when in whens.items()]
    far = note.apply_async((notes, "far"), countdown=7 * 24 * 3600)
    assert hosted.queue.get_job(far.id).state == "delayed"
    assert {value(one) for one in results} == {"countdown", "eta", "text", "past"}
    assert sorted(lines(notes)) == ["countdown", "eta", "past", "text"]
    far.revoke()


def test_an_error_keeps_its_type_and_traceback(hosted: Project) -> None:
    result = hosted.task("boom").delay()
    with pytest.raises(ValueError, match="boom"):
        value(result)
    assert (result.state, result.failed()) == ("FAILURE", True)
    assert "ValueError: boom" in result.traceback
    assert hosted.queue.get_job(result.id).failed_reason == "ValueError: boom"
    bad = hosted.task("no_json").delay()
    until(lambda: bad.state == "FAILURE", WAIT_S)
    assert hosted.queue.get_job(bad.id).failed_reason == "EncodeError: Object of type object is not JSON serializable"


def test_states_that_a_task_sets_itself(hosted: Project, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    result = hosted.task("progress").delay(str(gate))
    until(lambda: result.state == "PROGRESS", WAIT_S)
    assert result.info == {"done": 1}
    gate.touch()
    assert value(result) == "done"
    assert hosted.queue.get_job(result.id).progress == {"celery_state": "PROGRESS", "meta": {"done": 1}}


def test_ignore_and_reject(hosted: Project, notes: str) -> None:
    nothing = hosted.task("ignore").delay()
    until(lambda: hosted.queue.get_job(nothing.id).state == "completed", WAIT_S)
    assert (nothing.state, nothing.result) == ("PENDING", None)
    own = hosted.task("ignore").delay("FAILURE")
    with pytest.raises(ValueError, match="own"):
        value(own)
    again = hosted.task("reject").delay(notes, True)
    assert value(again) == "second"
    Path(notes).write_text("")
    dropped = hosted.task("reject").delay(notes, False)
    until(lambda: dropped.state == "FAILURE", WAIT_S)
    assert lines(notes) == ["ran"]


def test_expired_and_revoked_tasks_do_not_run(hosted: Project, notes: str) -> None:
    note = hosted.task("note")
    expired = note.apply_async((notes,), expires=datetime.now(timezone.utc) - timedelta(seconds=5))
    until(lambda: expired.state == "REVOKED", WAIT_S)
    revoked = note.apply_async((notes,), countdown=60)
    revoked.revoke()
    with pytest.raises(TaskRevokedError, match="revoked"):
        value(revoked)
    assert hosted.queue.get_job(revoked.id).state == "failed"
    assert lines(notes) == []


def test_ignored_results_are_not_kept(hosted: Project, notes: str) -> None:
    result = hosted.task("note").apply_async((notes,), ignore_result=True)
    until(lambda: lines(notes) == ["ran"], WAIT_S)
    until(lambda: hosted.queue.get_job(result.id) is None, WAIT_S)
    chained = (hosted.task("note").si(notes).set(ignore_result=True) | hosted.task("add").si(1, 1)).apply_async()
    assert value(chained) == 2


def test_a_known_id_runs_once_and_a_finished_one_again(hosted: Project, notes: str) -> None:
    note = hosted.task("note")
    waiting = note.apply_async((notes, "a"), task_id=f"{hosted.prefix}-fixed", countdown=3600)
    note.apply_async((notes, "b"), task_id=waiting.id)
    hosted.queue.get_job(waiting.id).promote()
    assert value(waiting) == "a"
    again = note.apply_async((notes, "c"), task_id=waiting.id)
    assert value(again) == "c"
    assert lines(notes) == ["a", "c"]


def test_a_message_from_a_producer_without_the_bridge_is_adopted(hosted: Project, notes: str) -> None:
    plain = hosted.make(bridge=False)
    sent = plain.tasks["proj.add"].delay(20, 3)
    assert sent.get(timeout=WAIT_S) == 23  # over the result backend of the configuration
    assert hosted.queue.get_job(sent.id).return_value == 23
    retried = plain.tasks["proj.flaky"].delay("z", 1)
    until(lambda: hosted.queue.get_job(retried.id) and hosted.queue.get_job(retried.id).state == "completed", WAIT_S)
    chained = (plain.tasks["proj.add"].s(1, 1) | plain.tasks["proj.note"].si(notes, "after")).apply_async()
    until(lambda: lines(notes) == ["after"], WAIT_S)
    until(lambda: hosted.queue.get_job(chained.id).state == "completed", WAIT_S)
    plain.close()


def test_jobs_of_a_queue_run_in_a_celery_worker(hosted: Project) -> None:
    queue = hosted.queue
    first = hosted.task("add").delay(1, 1)
    job = queue.add("greet", {"name": "Ada"}, dependencies=[first.id])
    assert job.wait_until_finished(timeout=WAIT_S) == {"hello": "Ada", "results": [2]}
    job.refresh()
    assert (job.progress, job.get_logs()) == (50, ["greeting"])
    for name in ("greet async", "greet later"):
        assert queue.add(name, {"name": "Bob"}).wait_until_finished(timeout=WAIT_S) == "hello Bob"
    assert queue.add("twice", attempts=2, backoff=10).wait_until_finished(timeout=WAIT_S) == 1
    failed = queue.add("nobody knows this")
    until(lambda: queue.get_job(failed.id).state == "failed", WAIT_S)
    assert "no handler" in queue.get_job(failed.id).failed_reason
    meant = queue.add("proj.add", {"x": 1})
    until(lambda: queue.get_job(meant.id).state == "failed", WAIT_S)
    assert "'proj.add' is a Celery task: queue.add(task, ...)" in queue.get_job(meant.id).failed_reason


def test_a_task_is_added_as_a_job(hosted: Project, notes: str) -> None:
    queue, note = hosted.queue, hosted.task("note")
    job = queue.add(note, {"path": notes, "line": "by name"}, delay=50)
    assert job.wait_until_finished(timeout=WAIT_S) == "by name"
    assert hosted.app.AsyncResult(job.id).get(timeout=WAIT_S) == "by name"
    after = queue.add(note, [notes, "in order"], dependencies=[job])
    assert after.wait_until_finished(timeout=WAIT_S) == "in order"
    assert after.data == {"args": [notes, "in order"], "kwargs": {}}


def test_tasks_sent_by_tasks(hosted: Project, notes: str) -> None:
    child = value(hosted.task("spawn").delay(notes))
    assert value(hosted.app.AsyncResult(child)) == "spawned"
    assert lines(notes) == ["spawned"]


def test_a_pause_holds_for_tasks(hosted: Project, notes: str) -> None:
    queue, note = hosted.queue, hosted.task("note")
    queue.pause()
    results = [note.delay(notes, number) for number in range(5)]
    time.sleep(0.2)  # long enough for a worker to have taken the messages
    assert lines(notes) == []
    assert queue.get_job_counts()["paused"] == 5
    queue.resume()
    assert [value(one) for one in results] == [str(number) for number in range(5)]
    assert sorted(lines(notes)) == [str(number) for number in range(5)]


def test_calling_a_task_is_calling_its_function(hosted: Project) -> None:
    assert hosted.task("add")(1, 2) == 3
    assert hosted.task("add").apply((1, 2)).get() == 3
    assert hosted.task("add").run(1, 2) == 3


def test_what_monitors_ask_for(hosted: Project) -> None:
    with hosted.app.connection_for_read() as connection:
        if not connection.supports_exchange_type("fanout"):
            return  # SQS: nobody can ask a worker there
    inspect = hosted.app.control.inspect(timeout=2)
    until(lambda: any("ok" in answer for answer in (inspect.ping() or {}).values()), WAIT_S)
    until(lambda: any("proj.add" in names for names in (inspect.registered() or {}).values()), WAIT_S)
