"""What programs say to the dashboard: nothing that they say is passed over or means something else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stratix_kombu import Application
from stratix_kombu.dashboard import Request
from stratix_kombu.dashboard.routes import ROUTES
from tests.dashboard.asking import PROGRAM, SAME_SITE, Asking, text_of

DIGITS = "9" * 5_000


def _said(ops: Asking, path: str, **fields: Any) -> tuple[int, str]:
    response = ops.tell(path, **fields)
    return response.status, json.loads(response.body).get("error", "")


@pytest.mark.parametrize("action", ["remove", "cancel", "retry", "promote"])
def test_a_condition_that_is_not_known_does_not_mean_all_jobs(app: Application, ops: Asking, action: str) -> None:
    queue = app.queue.create_queue("work")
    queue.add_bulk([{"name": "x"} for _ in range(3)])
    path = f"/queues/work/many/{action}"
    for fields, problem in (
        ({"state": "waiting", "ids": ["a"]}, "unknown field 'ids'; the fields of this action: state, name, id, reason"),
        ({"state": "waiting", "nme": "x"}, "unknown field 'nme'"),
        ({"name": "x"}, "'state' is missing"),
        ({}, "'state' is missing"),
    ):
        status, said = _said(ops, path, **fields)
        assert status == 400
        assert problem in said
    assert queue.get_job_counts()["waiting"] == 3


def test_conditions_are_in_the_body(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    queue.add("x")
    for query in ("name=y", "state=failed"):
        request = Request("POST", "/api/queues/work/many/remove", query, PROGRAM, b'{"state": "waiting"}')
        assert ops.board.respond(request).status == 400
    assert queue.get_job_counts()["waiting"] == 1


def test_no_action_takes_a_field_that_it_does_not_know(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    job = queue.add("x", delay=60_000)
    queue.add_repeatable_job("tick", every=3_600_000, key="tick")
    named = {
        "/job/{action}": ["retry", "promote", "cancel", "delay", "priority", "data", "remove", "duplicate"],
        "/queues/{name}/{action}": ["pause", "resume", "drain", "clean", "limiter", "concurrency", "add", "obliterate"],
        "/queues/{name}/many/{action}": ["remove"],
        "/queues/{name}/schedules/{action}": ["run", "pause", "resume", "remove", "save"],
        "/queues/{name}/redrive": [""],
        "/workers/shutdown": [""],
    }
    paths = [route.path for route in ROUTES if route.method == "POST" and not route.people_only]
    assert sorted(paths) == sorted(named)
    for path, actions in named.items():
        for action in actions:
            answer = _said(
                ops, path.format(name="work", action=action), **{"id": job.id} if "job" in path else {}, no=1
            )
            assert (answer[0], "unknown field 'no'" in answer[1] or "unknown field 'id'" in answer[1]) == (400, True), (
                path
            )
    assert (job.refresh().state, queue.is_paused(), len(queue.get_repeatable_jobs())) == ("delayed", False, 1)


@pytest.mark.parametrize("no", [False, "no"])
def test_no_means_no(app: Application, ops: Asking, no: Any) -> None:
    queue = app.queue.create_queue("work")
    queue.process(lambda job: None)
    first = queue.add("x", delay=60_000)
    assert ops.tell("/queues/work/drain", delayed=no).status == (400 if no else 200)
    assert first.get_state() == "delayed"
    first.promote()
    app.start()
    first.wait_until_finished(timeout=20)
    last = queue.add("y", dependencies=[first])
    last.wait_until_finished(timeout=20)
    queue.pause()
    assert ops.tell("/job/retry", id=first.id, dependents=no).status == (400 if no else 200)
    assert last.get_state() == "completed"


@pytest.mark.parametrize("data", [{"n": 1}, [1, 2], [], "text", "7", "", 7, 0, False, None])
def test_data_are_what_the_body_has(app: Application, ops: Asking, data: Any) -> None:
    queue = app.queue.create_queue("work")
    made = json.loads(ops.tell("/queues/work/add", job_name="x", data=data, options={"priority": 3}).body)["job"]
    job = queue.get_job(made)
    assert job is not None
    assert (job.data, job.opts["priority"]) == (data, 3)
    assert ops.tell("/job/data", id=job.id, data={"before": 1}).status == 200
    assert ops.tell("/job/data", id=job.id, data=data).status == 200
    assert job.refresh().data == data
    queue.add_repeatable_job("tick", {"before": 1}, every=3_600_000, key="tick")
    assert ops.tell("/queues/work/schedules/save", key="tick", every=7_200_000, data=data).status == 200
    (tick,) = queue.get_repeatable_jobs()
    assert (tick.data, tick.every) == (data, 7_200_000)


def test_durations_are_texts_or_milliseconds(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    assert ops.tell("/queues/work/limiter", max=10, duration=5_000).status == 200
    assert queue.get_rate_limit() == {"max": 10, "duration": 5_000}
    assert ops.tell("/queues/work/limiter", max=10, duration="2 min").status == 200
    assert queue.get_rate_limit() == {"max": 10, "duration": 120_000}
    assert ops.tell("/queues/work/limiter", max=None).status == 200
    assert queue.get_rate_limit() is None
    job = queue.add("x", delay=60_000)
    assert [ops.tell("/job/delay", id=job.id, delay=delay).status for delay in (True, None, [1], -1)] == [400] * 4
    assert ops.tell("/job/delay", id=job.id, delay=3_600_000).status == 200


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods_are_said_not_to_be_there(app: Application, ops: Asking, method: str) -> None:
    app.queue.create_queue("work").add("x")
    for path, allowed in (("/", "GET"), ("/queues/work/pause", "POST"), ("/api/queues/work", "GET")):
        response = ops.board.respond(Request(method, path))
        assert (response.status, ("Allow", allowed) in response.headers) == (405, True)


@pytest.mark.parametrize(
    "path",
    [
        f"/queues/work?limit={DIGITS}",
        f"/queues/work?since={DIGITS}+h",
        f"/queues/work?until={DIGITS[:30]}+h",
        f"/queues/work?cursor={DIGITS}",
        f"/flows?cursor={DIGITS}",
        f"/flows?cursor={DIGITS[:20]}",
        f"/queues/work/metrics?span={DIGITS}",
    ],
)
def test_numbers_that_are_too_large_are_refused(app: Application, ops: Asking, path: str) -> None:
    app.queue.create_queue("work").add("x")
    place, _, query = path.partition("?")
    assert ops.board.respond(Request("GET", place, query)).status == 400


def test_times_at_the_ends_of_the_calendar(app: Application, ops: Asking) -> None:
    app.queue.create_queue("work").add("x")
    assert len(ops.ask("/queues/work", since="0001-01-01T00:00+12:00")["jobs"]) == 1
    assert ops.ask("/queues/work", since="9999-12-31T23:59:59-12:00")["jobs"] == []


def test_steps_with_odd_numbers(app: Application, ops: Asking) -> None:
    app.queue.create_queue("work").add("x")
    fields = {"done": DIGITS, "refused": "-1"}
    answer = json.loads(ops.tell("/queues/work/many/remove", state="waiting", **fields).body)
    assert (answer["done"], answer["refused"], answer["finished"]) == (1, 0, True)
    assert ops.post("/queues/work/redrive", SAME_SITE, begun=DIGITS).status == 200


def test_many_queues_are_on_several_pages(app: Application, ops: Asking) -> None:
    for number in range(205):
        app.queue.get_queue(f"q{number:03}").add("x")
    first, last = text_of(ops.get("/")), text_of(ops.get("/", page="3"))
    assert ("q099" in first, "q100" in first, "Page 1 of 3: 205 queues." in first) == (True, False, True)
    assert ("q199" in last, "q204" in last, "Next page" in last) == (False, True, False)
    assert "waiting 205" in first
    assert "Page 3 of 3" in text_of(ops.get("/", page="99"))
    assert "Page 1 of 3" in text_of(ops.get("/", page=DIGITS))
    assert "Page" not in text_of(ops.get("/", name="q00"))
    assert len(ops.ask("/")["queues"]) == 205
