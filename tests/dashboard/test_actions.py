"""What can be done, and that it is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stratix_kombu import Application
from stratix_kombu.dashboard import Action, Dashboard
from tests.dashboard.asking import Asking, header, text_of
from tests.waiting import WAIT_S, until


@pytest.fixture
def done() -> list[Action]:
    return []


@pytest.fixture
def ops(app: Application, done: list[Action]) -> Asking:
    return Asking(Dashboard(app, authorize=lambda request: "ada", audit=done.append))


def test_a_failed_job_is_retried_and_it_is_written_down(
    app: Application, ops: Asking, done: list[Action], caplog: pytest.LogCaptureFixture
) -> None:
    queue = app.queue.create_queue("work")
    good: list[bool] = []

    @queue.process
    def work(job: object) -> str:
        if not good:
            raise OSError("down")
        return "up"

    job = queue.add("x")
    app.start()
    until(lambda: job.get_state() == "failed", WAIT_S)
    good.append(True)
    caplog.set_level("INFO", "stratix_kombu.dashboard")
    response = ops.post("/job/retry", id=job.id)
    assert (response.status, header(response, "Location")) == (303, f"/job?id={job.id}&done=retry&n=1")
    until(lambda: job.get_state() == "completed", WAIT_S)
    (action,) = done
    assert (action.user, action.action, action.queue, action.jobs, action.outcome, action.peer) == (
        "ada",
        "retry",
        "work",
        (job.id,),
        "done",
        "192.0.2.7",
    )
    assert "'ada': retry" in caplog.text
    assert ops.post("/job/retry", id=job.id).status == 303  # a completed one runs again
    until(lambda: job.get_state() == "completed", WAIT_S)


def test_what_does_not_fit_is_refused_and_written_down(app: Application, ops: Asking, done: list[Action]) -> None:
    job = app.queue.create_queue("work").add("x")
    assert ops.post("/job/promote", id=job.id).status == 409
    assert done[0].outcome.startswith("InvalidJobState")
    assert ops.post("/job/nonsense", id=job.id).status == 404
    assert ops.post("/job/promote", id="gone").status == 404


def test_waiting_and_delayed_jobs_are_changed(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    job = queue.add("x", {"n": 1}, delay=3_600_000)
    assert ops.post("/job/delay", id=job.id, delay="2 h").status == 303
    assert ops.post("/job/delay", id=job.id, delay="soon").status == 400
    assert ops.post("/job/priority", id=job.id, priority="7").status == 303
    assert job.refresh().opts["priority"] == 7
    assert ops.post("/job/data", id=job.id, data='{"n": 2}').status == 303
    assert ops.post("/job/data", id=job.id, data="{").status == 400
    assert job.refresh().data == {"n": 2}
    assert ops.post("/job/promote", id=job.id).status == 303
    assert job.get_state() == "waiting"
    copy = ops.tell("/job/duplicate", id=job.id)
    made = queue.get_job(json.loads(copy.body)["job"])
    assert made is not None
    assert (made.name, made.data, made.opts["priority"]) == ("x", {"n": 2}, 7)
    assert ops.post("/job/cancel", id=job.id, reason="not needed").status == 303
    assert job.refresh().failed_reason == "not needed"
    assert ops.post("/job/remove", id=job.id).status == 303
    assert queue.get_job(job.id) is None


def test_queues_are_changed(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")

    def post(action: str, **fields: Any) -> int:
        return ops.post(f"/queues/work/{action}", **fields).status

    assert post("add", job_name="x", data='{"n": 1}', options='{"priority": 3}') == 303
    (job,) = queue.get_jobs("waiting")
    assert (job.name, job.data, job.opts["priority"]) == ("x", {"n": 1}, 3)
    assert post("add", job_name="x", data="{") == 400
    assert post("add", job_name="x", options="[]") == 400
    assert (post("pause"), queue.is_paused()) == (303, True)
    assert (post("resume"), queue.is_paused()) == (303, False)
    assert (post("limiter", max="10", duration="1 min"), queue.get_rate_limit()) == (
        303,
        {"max": 10, "duration": 60000},
    )
    assert (post("limiter", max=""), queue.get_rate_limit()) == (303, None)
    assert (post("concurrency", most="5"), queue.get_global_concurrency()) == (303, 5)
    assert (post("concurrency", most=""), queue.get_global_concurrency()) == (303, None)
    assert (post("concurrency", most="many"), post("clean", state="nonsense")) == (400, 400)
    assert (post("clean", state="waiting", limit="0"), queue.get_job_counts()["waiting"]) == (303, 0)
    queue.add("y")
    queue.add("z", delay=60_000)
    response = ops.post("/queues/work/drain", delayed="1")
    assert "2 jobs were deleted" in text_of(ops.get("/queues/work", done="drain", n="2"))
    assert header(response, "Location") == "/queues/work?done=drain&n=2"
    queue.add("w")
    assert (post("obliterate", name="wrok"), queue.get_job_counts()["waiting"]) == (400, 1)
    assert (post("obliterate", name="work"), queue.get_job_counts()["waiting"]) == (303, 0)


def test_a_link_can_say_nothing_of_its_own(app: Application, ops: Asking) -> None:
    app.queue.create_queue("work").add("x")
    assert 'class="said"' not in ops.get("/queues/work", done="you were hacked", n="1").body.decode()
    assert 'class="said"' not in ops.get("/queues/work", done="retry", n="call 555").body.decode()
    for back in ("//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/a\nb", "/ü"):
        assert header(ops.post("/queues/work/pause", back=back), "Location") == "/?done=pause&n=1"
    there = header(ops.post("/queues/work/pause", back="/queues/work?state=failed"), "Location")
    assert there == "/queues/work?state=failed&done=pause&n=1"


def test_an_audit_hook_that_fails_undoes_nothing(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    def broken(action: Action) -> None:
        raise RuntimeError("disk full")

    queue = app.queue.create_queue("work")
    ops = Asking(Dashboard(app, authorize=lambda request: "ada", audit=broken))
    assert (ops.post("/queues/work/pause").status, queue.is_paused()) == (303, True)
    assert "disk full" in caplog.text
