"""Flows, repeatable jobs, dead letters, metrics, and what is done to many jobs."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from stratix_kombu import Application, Queue
from stratix_kombu.dashboard import Dashboard, bulk
from tests.dashboard.asking import Asking, header, text_of
from tests.waiting import WAIT_S, until

HOSTILE = "<script>alert(1)</script>"


def test_a_flow_is_drawn_and_listed(app: Application, ops: Asking) -> None:
    for name in ("etl", "other"):
        app.queue.create_queue(name)
    flow = app.queue.add_flow(
        {
            "name": f"sum {HOSTILE}",
            "queue": "etl",
            "children": [
                {"name": "a", "queue": "etl", "children": [{"name": "c", "queue": "etl"}]},
                {"name": "b", "queue": "other"},
            ],
        }
    )
    found = ops.ask("/flow", id=flow.root.id)
    assert (len(found["jobs"]), found["complete"]) == (4, True)
    assert {job: sorted(before) for job, before in found["dependencies"].items()} == {
        job: sorted(before) for job, before in flow.dependencies.items()
    }
    (row,) = ops.ask("/flows")["flows"]
    assert (row["job"], row["total"], row["done"], row["counts"]) == (flow.root.id, 4, 0, {"waiting": 2, "blocked": 2})
    assert "0 of 4" in text_of(ops.get("/flows"))
    assert HOSTILE.encode() not in ops.get("/flows").body
    page = ops.get("/flow", id=flow.root.id).body.decode()
    assert page.count('class="node ') == 4
    assert page.count('class="edge ') == 3
    assert HOSTILE not in page
    ada = Asking(Dashboard(app, authorize=lambda request: "ada", may=lambda user, action, queue: queue == "etl"))
    assert ada.ask("/flows")["flows"][0]["name"] == f"sum {HOSTILE}"
    nobody = Asking(Dashboard(app, authorize=lambda request: "eve", may=lambda user, action, queue: queue == "other"))
    assert nobody.ask("/flows")["flows"] == []
    assert {job["name"] for job in ada.ask("/flow", id=flow.root.id)["jobs"]} == {f"sum {HOSTILE}", "a", "c"}


def test_of_a_large_flow_the_nearest_jobs_are_listed(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("etl")
    first = queue.add("first")
    queue.add_bulk([{"name": "n", "opts": {"dependencies": [first.id]}} for _ in range(600)])
    found = ops.ask("/flow", id=first.id)
    assert (len(found["jobs"]), found["complete"]) == (500, False)
    assert "there are more" in text_of(ops.get("/flow", id=first.id))
    assert len(ops.ask("/job", id=first.id)["dependents"]) == 200


def test_repeatable_jobs(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    one = queue.add_repeatable_job("report", {"n": 1}, cron="30 3 * * *", timezone="Europe/Berlin", attempts=4)
    (row,) = ops.ask("/schedules")["schedules"]
    assert (row["key"], row["cron"], row["timezone"], row["runs"]) == (one.key, "30 3 * * *", "Europe/Berlin", 0)
    assert "30 3 * * *" in text_of(ops.get("/schedules"))
    assert ops.ask("/queues/work/schedule", key=one.key)["data"] == {"n": 1}
    assert "Save" in text_of(ops.get("/queues/work/schedule", key=one.key))

    def post(action: str, **fields: Any) -> int:
        return ops.post(f"/queues/work/schedules/{action}", key=one.key, **fields).status

    def now() -> Any:
        return queue.get_repeatable_jobs()[0]

    run = ops.post("/queues/work/schedules/run", key=one.key)
    (job,) = queue.get_jobs("waiting")
    assert (job.data, job.opts["attempts"]) == ({"n": 1}, 4)
    assert header(run, "Location").startswith("/job?id=repeat")
    assert (post("pause"), now().paused) == (303, True)
    assert (post("resume"), now().paused) == (303, False)
    assert (post("save", every="10 min", limit="5", data='{"n": 2}'), now().every, now().limit) == (303, 600_000, 5)
    assert now().next_run is not None
    assert (post("save", cron="61 * * * *"), post("save", every="soon"), post("save")) == (400, 400, 400)
    assert (now().every, now().data) == (600_000, {"n": 2})
    post("run")
    assert [run["state"] for run in ops.ask("/queues/work/schedule", key=one.key)["runs"]] == ["waiting", "waiting"]
    assert {(one.data["n"], one.opts["attempts"]) for one in queue.get_jobs("waiting")} == {(1, 4), (2, 4)}
    assert (post("remove"), queue.get_repeatable_jobs()) == (303, [])
    assert (post("remove"), post("run"), post("nonsense")) == (404, 404, 404)
    assert ops.get("/queues/work/schedule", key=one.key).status == 404


@pytest.fixture
def failed(app: Application) -> Queue:
    """Twenty jobs that have failed for two reasons, and their letters."""
    app.queue.create_queue("dead")
    queue = app.queue.create_queue("work", dead_letter="dead", concurrency=5)

    @queue.process
    def work(job: Any) -> None:
        if job.attempts_started < 2:
            raise (ValueError(f"row {job.data} is bad") if job.data % 2 else OSError("disk is full"))

    queue.add_bulk([{"name": "load", "data": number} for number in range(20)])
    app.start()
    until(lambda: queue.get_job_counts()["failed"] == 20, WAIT_S)
    return queue


def test_dead_letters_are_grouped_and_redriven(app: Application, ops: Asking, failed: Queue) -> None:
    (row,) = ops.ask("/dead-letters")["queues"]
    assert (row["name"], row["letters"]) == ("dead", 20)
    found = ops.ask("/queues/dead/dead-letters", limit=500)
    assert sorted((one["reason"], one["count"]) for one in found["reasons"]) == [
        ("OSError: disk is full", 10),
        ("ValueError: row * is bad", 10),
    ]
    assert {one["queue"] for one in found["letters"]} == {"work"}
    some = ops.ask("/queues/dead/dead-letters", reason="row * is bad", limit=500)
    assert len(some["letters"]) == 10
    assert "disk is full" in text_of(ops.get("/queues/dead/dead-letters"))
    failed.pause()
    step = ops.tell("/queues/dead/redrive", reason="row * is bad")
    assert json.loads(step.body)["done"] == 10
    assert failed.get_job_counts()["paused"] == 10
    assert app.queue.get_queue("dead").get_job_counts()["waiting"] == 10


def test_failures_are_grouped_by_reason(ops: Asking, failed: Queue) -> None:
    found = ops.ask("/queues/work/reasons")["reasons"]
    assert sorted((one["reason"], one["error"], one["count"]) for one in found) == [
        ("OSError: disk is full", "OSError", 10),
        ("ValueError: row * is bad", "ValueError", 10),
    ]
    assert "row * is bad" in text_of(ops.get("/queues/work/reasons"))
    bad = next(one for one in found if one["error"] == "ValueError")
    jobs = ops.ask("/queues/work", state="failed", reason=bad["reason"])["jobs"]
    assert len(jobs) == 10
    assert bad["newest_job"] in [one["id"] for one in jobs]


def test_all_that_match_are_retried_step_by_step(ops: Asking, failed: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    failed.pause()
    asked = text_of(ops.post("/queues/work/bulk", action="retry-all", state="failed"))
    assert "20 jobs match" in asked
    assert failed.get_job_counts()["failed"] == 20
    monkeypatch.setattr(bulk, "AT_ONCE", 6)
    monkeypatch.setattr(bulk, "STEP_S", -1.0)
    fields: dict[str, Any] = {"state": "failed", "reason": "disk"}
    steps = []
    while True:
        answer = json.loads(ops.tell("/queues/work/many/retry", **fields).body)
        steps.append(answer["done"])
        if answer["finished"]:
            break
        fields.update(cursor=answer["cursor"], done=answer["done"])
    assert steps[-1] == 10
    assert len(steps) > 1
    assert {job.data % 2 for job in failed.get_jobs("waiting")} == {0}
    page = ops.post("/queues/work/many/remove", state="failed").body.decode()
    assert "data-next" in page
    assert "Continue" in page
    assert ops.post("/queues/work/many/retry", state="completed").status == 400


def test_selected_jobs(ops: Asking, failed: Queue) -> None:
    ids = [job.id for job in failed.get_jobs("failed")]
    failed.pause()
    assert ops.post("/queues/work/bulk", action="retry", state="failed", ids=ids[:3]).status == 303
    assert failed.get_job_counts()["paused"] == 3
    response = ops.post("/queues/work/bulk", action="remove", state="failed", ids=[*ids[:5], "gone"])
    assert header(response, "Location") == "/queues/work?state=failed&done=many&n=5"
    assert failed.get_job_counts()["failed"] == 15
    assert ops.post("/queues/work/bulk", action="remove", state="failed").status == 400
    assert ops.post("/queues/work/bulk", action="nonsense", ids=ids).status == 404


def test_who_may_not_may_not_do_it_to_many(app: Application, failed: Queue) -> None:
    ada = Asking(Dashboard(app, authorize=lambda request: "ada", may=lambda user, action, queue: action == "view"))
    ids = [job.id for job in failed.get_jobs("failed")]
    before = failed.get_job_counts()
    assert ada.post("/queues/work/bulk", action="retry", state="failed", ids=ids).status == 403
    assert ada.post("/queues/work/bulk", action="retry-all", state="failed").status == 403
    for action in bulk.MANY:
        assert ada.post(f"/queues/work/many/{action}", state="failed").status == 403
    assert ada.post("/queues/dead/redrive").status == 403
    for action in ("run", "pause", "resume", "remove", "save"):
        assert ada.post(f"/queues/work/schedules/{action}", key="x").status == 403
    assert failed.get_job_counts() == before


def test_metrics_over_time(ops: Asking, failed: Queue) -> None:
    found = ops.ask("/queues/work/metrics")
    assert (len(found["periods"]), found["total"]["failed"]) == (60, 20)
    for span in ("1h", "6h", "24h", "7d", "31d"):
        page = ops.get("/queues/work/metrics", span=span)
        assert page.status == 200
        assert page.body.decode().count('<svg class="chart"') == 3
        assert sum(one["failed"] for one in ops.ask("/queues/work/metrics", span=span)["periods"]) == 20
    assert ops.get("/queues/work/metrics", span="year").status == 400
    assert found["names"] == ["load"]
    named = ops.ask("/queues/work/metrics", job_name="load")
    assert (len(named["periods"]), named["total"]["failed"]) == (24, 20)
    assert "Attempts" in text_of(ops.get("/queues/work/metrics", job_name="load", span="7d"))
    assert ops.get("/queues/work/metrics", job_name="load", span="1h").status == 400


def test_workers_and_what_they_run(app: Application, ops: Asking) -> None:
    queue, go_on = app.queue.create_queue("work", concurrency=3), threading.Event()
    other = app.queue.create_queue("other")
    queue.process(lambda job: go_on.wait(60) and None)
    other.process(lambda job: None)
    app.start()
    job = queue.add(f"slow {HOSTILE}")
    try:
        until(lambda: job.get_state() == "active", WAIT_S)
        until(lambda: [set(one["queues"]) for one in ops.ask("/workers")["workers"]] == [{"work", "other"}], WAIT_S)
        (worker,) = ops.ask("/workers")["workers"]
        assert worker["queues"]["work"] == 3
        page = ops.ask("/worker", id=worker["id"])
        assert [one["id"] for one in page["jobs"]] == [job.id]
        assert worker["id"] in text_of(ops.get("/workers"))
        assert HOSTILE in text_of(ops.get("/worker", id=worker["id"]))
        assert HOSTILE.encode() not in ops.get("/worker", id=worker["id"]).body
        assert ops.get("/worker", id="nobody").status == 404
        ada = Asking(Dashboard(app, authorize=lambda request: "ada", may=lambda user, action, queue: queue == "other"))
        assert "work" not in set(text_of(ada.get("/workers")).split())
        assert ada.ask("/worker", id=worker["id"])["jobs"] == []
        assert set(ada.ask("/worker", id=worker["id"])["worker"]["queues"]) == {"other"}
        assert ops.get("/workers/celery").status == 404
    finally:
        go_on.set()
    until(lambda: job.get_state() == "completed", WAIT_S)


def test_each_attempt(app: Application) -> None:
    queue = app.queue.create_queue("work")

    @queue.process
    def fails(job: Any) -> str:
        if job.attempts_started < 3:
            raise OSError(f"card 4111-1111-1111-1111 in attempt {job.attempts_started}")
        return "done"

    job = queue.add("x", attempts=3)
    app.start()
    job.wait_until_finished(30)
    ops = Asking(Dashboard(app, authorize=lambda request: "ops"))
    found = ops.ask("/job", id=job.id)["attempts"]
    assert [(one["number"], one["outcome"]) for one in found] == [(1, "failed"), (2, "failed"), (3, "completed")]
    assert found[0]["reason"] == "OSError: card 4111-1111-1111-1111 in attempt 1"
    assert "attempt 2" in text_of(ops.get("/job", id=job.id))
    ada = Asking(
        Dashboard(
            app, authorize=lambda request: "ada", redact=lambda part, value, job: "hidden" if part == "error" else value
        )
    )
    for response in (ada.get("/job", id=job.id), ada.get("/api/job", id=job.id), ada.get("/job/copy", id=job.id)):
        assert b"4111-1111-1111-1111" not in response.body
