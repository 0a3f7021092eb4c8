"""Who may see and do what; requests from elsewhere; what answers say to browsers."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from stratix_kombu import Application
from stratix_kombu.dashboard import ACTIONS, Dashboard, Response, local_only, password, token
from stratix_kombu.dashboard.http import MAX_FIELDS, Request
from tests.dashboard.asking import PROGRAM, SAME_SITE, Asking, header
from tests.waiting import WAIT_S, until


def test_nobody_is_let_in_by_default(app: Application) -> None:
    with pytest.raises(TypeError, match="authorize"):
        Dashboard(app)  # type: ignore[call-arg]


def test_answers_forbid_what_pages_do_not_need(app: Application, ops: Asking) -> None:
    app.queue.create_queue("work").add("x")
    for response in (
        ops.get("/"),
        ops.get("/queues/work"),
        ops.get("/api/"),
        ops.get("/nonsense"),
        ops.get("/healthz"),
    ):
        policy = header(response, "Content-Security-Policy")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert header(response, "X-Frame-Options") == "DENY"
        assert header(response, "X-Content-Type-Options") == "nosniff"
        assert header(response, "Cache-Control") == "no-store"
        page = response.body.decode()
        assert " style=" not in page
        assert "<style" not in page
        assert " onclick=" not in page
        assert page.count("<script") == page.count("<script src=")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://jobs.example:8077", "host": "jobs.example:8077"}, True),
        ({"origin": "http://evil.example", "host": "jobs.example:8077"}, False),
        ({"origin": "null", "host": "jobs.example:8077"}, False),
        ({"origin": "http://", "host": ""}, False),
        ({}, False),
        (PROGRAM, True),
        ({**PROGRAM, "sec-fetch-site": "cross-site"}, False),
        ({**PROGRAM, "origin": "http://evil.example", "host": "jobs.example"}, False),
    ],
)
def test_a_change_comes_from_a_page_of_the_dashboard(
    app: Application, ops: Asking, headers: dict[str, str], allowed: bool
) -> None:
    queue = app.queue.create_queue("work")
    body = b"{}" if headers.get("content-type") else b""
    response = ops.board.respond(Request("POST", "/queues/work/pause", headers=headers, body=body))
    assert (response.status, queue.is_paused()) == ((303, True) if allowed else (403, False))


def test_nothing_changes_by_get(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    assert ops.get("/queues/work/pause").status == 405
    assert header(ops.get("/queues/work/pause"), "Allow") == "POST"
    assert not queue.is_paused()


def test_a_user_sees_and_does_what_may_says(app: Application) -> None:
    own, other = app.queue.create_queue("own"), app.queue.create_queue("other")
    job, hidden = own.add("x", delay=60_000), other.add("secret")
    asked: set[str] = set()

    def may(user: Any, action: str, queue: str) -> bool:
        asked.add(action)
        return queue == "own" and action in ("view", "pause")

    ada = Asking(Dashboard(app, authorize=lambda request: "ada", may=may))
    assert [one["name"] for one in ada.ask("/")["queues"]] == ["own"]
    assert ada.get("/queues/other").status == 403
    assert ada.get("/job", id=hidden.id).status == 403
    assert (ada.get("/search", id=hidden.id).status, ada.get("/search", id="other").status) == (404, 404)
    assert ada.get("/search", id=job.id).status == 303
    assert b"secret" not in ada.get("/job", id=hidden.id).body
    assert ada.post("/job/remove", id=hidden.id).status == 403
    page = ada.get("/job", id=job.id).body.decode()
    assert "/job/remove" not in page
    assert "/job/delay" not in page
    for action in ("promote", "cancel", "remove", "duplicate", "delay", "priority", "data"):
        assert ada.post(f"/job/{action}", id=job.id, delay="1 h", priority="1", data="1").status == 403
    for action in ("drain", "clean", "limiter", "concurrency", "add", "obliterate"):
        assert ada.post(f"/queues/own/{action}", name="own", job_name="x").status == 403
    assert (job.get_state(), own.get_job_counts()["delayed"]) == ("delayed", 1)
    assert ada.post("/queues/own/pause").status == 303
    assert own.is_paused()
    assert asked <= set(ACTIONS)


def test_what_depends_on_a_job_of_a_hidden_queue_is_left_out(app: Application) -> None:
    own, other = app.queue.create_queue("own"), app.queue.create_queue("other")
    first = other.add("secret")
    job = own.add("x", dependencies=[first])
    ada = Asking(Dashboard(app, authorize=lambda request: "ada", may=lambda user, action, queue: queue == "own"))
    assert ada.ask("/job", id=job.id)["dependencies"] == []


def test_read_only_refuses_every_change(app: Application) -> None:
    queue = app.queue.create_queue("work")
    job = queue.add("x")
    looker = Asking(Dashboard(app, authorize=lambda request: "ada", read_only=True))
    assert looker.post("/queues/work/pause").status == 403
    assert looker.tell("/job/remove", id=job.id).status == 403
    page = looker.get("/job", id=job.id).body.decode()
    assert "<form method=" not in page
    assert "read-only" in page
    assert (queue.is_paused(), job.get_state()) == (False, "waiting")


def test_authorize_may_send_to_a_login(app: Application) -> None:
    somebody = Asking(Dashboard(app, authorize=lambda request: Response(302, headers=[("Location", "/login")])))
    assert header(somebody.get("/"), "Location") == "/login"
    assert somebody.post("/queues/work/pause").status == 302


def basic(name: str, word: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()}


def test_passwords_and_tokens(app: Application) -> None:
    board = Dashboard(app, authorize=password({"ops": "s3cret:ü"}))
    assert Asking(board).get("/").status == 401
    assert header(Asking(board).get("/"), "WWW-Authenticate").startswith("Basic ")
    for name, word, status in (("ops", "s3cret:ü", 200), ("ops", "", 401), ("ops", "s3cret", 401), ("", "", 401)):
        assert Asking(board, basic(name, word)).get("/").status == status
    for broken in ("Basic", "Basic !!!", "Basic /w==", "Bearer s3cret"):
        assert Asking(board, {"authorization": broken}).get("/").status == 401
    board = Dashboard(app, authorize=token("t0ken"))
    assert Asking(board, {"authorization": "Bearer t0ken"}).get("/").status == 200
    assert Asking(board, basic("anybody", "t0ken")).get("/").status == 200
    for headers in ({}, {"authorization": "Bearer other"}, basic("anybody", ""), {"authorization": "Bearer "}):
        assert Asking(board, headers).get("/").status == 401


def test_on_this_machine_only_its_own_names_count(app: Application) -> None:
    board = Dashboard(app, authorize=local_only)
    for host in ("localhost:8077", "127.0.0.1:8077", "[::1]:8077", "localhost"):
        assert Asking(board, {"host": host}).get("/").status == 200
    for host in ("evil.example:8077", "localhost.evil.example", "", "127.0.0.1.evil.example"):
        assert Asking(board, {"host": host}).get("/").status == 403


def test_redaction_has_the_last_word(app: Application) -> None:
    def redact(part: str, value: Any, job: Any) -> Any:
        if part == "error":
            return value.replace("4111-1111-1111-1111", "****")
        if part == "logs":
            raise RuntimeError("a mistake in the hook")
        return {**value, "card": "****"} if part == "data" else value

    queue = app.queue.create_queue("work")
    job = queue.add("x", {"card": "4111-1111-1111-1111", "to": "ada"})
    job.log("card 4111-1111-1111-1111")
    queue.add("y").cancel("card 4111-1111-1111-1111")
    ada = Asking(Dashboard(app, authorize=lambda request: "ada", redact=redact))
    assert ada.ask("/job", id=job.id)["data"] == {"card": "****", "to": "ada"}
    for response in (
        ada.get("/job", id=job.id),
        ada.get("/job/value", id=job.id, part="data"),
        ada.get("/job/value", id=job.id, part="logs"),
        ada.get("/job/copy", id=job.id),
        ada.get("/queues/work"),
        ada.get("/queues/work", state="failed"),
        ada.get("/queues/work/reasons"),
    ):
        assert b"4111-1111-1111-1111" not in response.body
    copy = ada.post("/job/duplicate", id=job.id)
    assert copy.status == 303
    assert {one.data["card"] for one in queue.get_jobs("waiting")} == {"4111-1111-1111-1111"}


def test_redaction_looks_into_dead_letters(app: Application) -> None:
    dead, queue = app.queue.create_queue("dead"), app.queue.create_queue("work", dead_letter="dead")

    @queue.process
    def fails(job: Any) -> None:
        raise ValueError("card 4111-1111-1111-1111")

    app.start()
    queue.add("x", {"card": "4111-1111-1111-1111"})
    until(lambda: dead.get_job_counts()["waiting"] == 1, WAIT_S)

    def redact(part: str, value: Any, job: Any) -> Any:
        return {**value, "card": "****"} if part == "data" else "hidden"

    ada = Asking(Dashboard(app, authorize=lambda request: "ada", redact=redact))
    (letter,) = dead.get_jobs("waiting")
    assert ada.ask("/job", id=letter.id)["data"]["data"] == {"card": "****"}
    for response in (
        ada.get("/job", id=letter.id),
        ada.get("/job/value", id=letter.id, part="data"),
        ada.get("/queues/dead/dead-letters"),
        ada.get("/queues/dead"),
        ada.get("/queues/work", state="failed"),
    ):
        assert response.status == 200
        assert b"4111-1111-1111-1111" not in response.body


def test_requests_that_are_too_much_are_refused(ops: Asking) -> None:
    many = "&".join("a=1" for _ in range(MAX_FIELDS + 1))
    assert ops.board.respond(Request("GET", "/", many)).status == 400
    broken = Request("POST", "/job/retry", headers={**SAME_SITE, **PROGRAM}, body=b"[]")
    assert ops.board.respond(broken).status == 400
    assert ops.board.respond(Request("POST", "/job/retry", headers=SAME_SITE, body=b"\xff")).status == 400
