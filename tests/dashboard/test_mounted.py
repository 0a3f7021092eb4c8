"""The dashboard within other applications: what the examples show, and the adapters below them."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from stratix_kombu import Application, create_app
from stratix_kombu.dashboard import Dashboard, Request
from stratix_kombu.dashboard.http import MAX_BODY
from tests.dashboard.asking import SAME_SITE

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "dashboard"
HTML = "text/html; charset=utf-8"


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Application]:
    """What the examples use, by the environment."""
    namespace = f"m{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("STRATIX_DRIVER", "memory")
    monkeypatch.setenv("STRATIX_NAMESPACE", namespace)
    with create_app({"driver": "memory", "namespace": namespace}) as app:
        yield app
        for name in app.queue.get_queue_names():
            app.queue.get_queue(name).obliterate(force=True)


def _get(board: Any, path: str, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
    """By WSGI."""
    said: list[Any] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "/own", "QUERY_STRING": ""}
    body = b"".join(board.wsgi(environ, lambda *given: said.extend(given)))
    return said[0], dict(said[1]), body


def test_wsgi(app: Application) -> None:
    app.queue.create_queue("work").add("x")
    board = Dashboard(app, authorize=lambda request: "ada")
    status, headers, body = _get(board, "/queues/work")
    assert (status, headers["Content-Type"], headers["Content-Length"]) == ("200 OK", HTML, str(len(body)))
    assert b'href="/own/queues/work' in body
    assert _get(board, "/x\xc3\xbc")[0] == "404 Not Found"
    said: list[Any] = []
    for length, expected in ((str(MAX_BODY + 1), "413"), ("-1", "413"), ("many", "400")):
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "CONTENT_LENGTH": length}
        board.wsgi(environ, lambda *given: said.extend(given))
        assert said[-2].startswith(expected)


def test_asgi_below_a_path_and_its_events(app: Application) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    queue = app.queue.create_queue("work")
    queue.add("x")
    host = Starlette(routes=[Mount("/own", Dashboard(app, authorize=lambda request: "ada").asgi)])
    with TestClient(host) as client:
        page = client.get("/own/queues/work")
        assert (page.status_code, page.headers["content-type"]) == (200, HTML)
        assert 'data-events="/own/queues/work/events"' in page.text
        assert client.post("/own/queues/work/pause", headers=SAME_SITE, follow_redirects=False).status_code == 303
        assert queue.is_paused()
        assert client.post("/own/", content=b"x" * (MAX_BODY + 1), headers=SAME_SITE).status_code == 413

    async def first_event() -> dict[str, Any]:
        lines: asyncio.Queue[bytes] = asyncio.Queue()

        async def receive() -> dict[str, Any]:
            if not asked:
                asked.append(True)
                return {"type": "http.request", "body": b""}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            await lines.put(message.get("body", b""))

        asked: list[bool] = []
        ended = asyncio.Event()
        scope = {"type": "http", "method": "GET", "path": "/queues/work/events", "query_string": b"", "headers": []}
        task = asyncio.create_task(Dashboard(app, authorize=lambda request: "ada").asgi(scope, receive, send))
        try:
            while True:
                # Until it listens there may be none, so it is done again.
                await asyncio.to_thread(queue.add, "y", {"card": "4111-1111-1111-1111"})
                try:
                    line = await asyncio.wait_for(lines.get(), 0.2)
                except asyncio.TimeoutError:
                    continue
                if b"data: " in line:
                    assert b"4111-1111-1111-1111" not in line
                    found: dict[str, Any] = json.loads(line.partition(b"data: ")[2])
                    return found
        finally:
            ended.set()
            await asyncio.wait_for(task, 20)

    event = asyncio.run(asyncio.wait_for(first_event(), 60))
    assert (event["event"], event["job_name"]) == ("waiting", "y")


def test_the_answer_with_events_ends(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn waits for it when it is to end; a browser asks again by itself."""
    monkeypatch.setattr("stratix_kombu.dashboard.pages.events.STREAM_S", 0.5)
    app.queue.create_queue("work").add("x")
    with TestClient(Dashboard(app, authorize=lambda request: "ada").asgi) as client:
        for last in ({}, {"Last-Event-ID": "of another store"}):
            answer = client.get("/queues/work/events", headers=last)
            assert (answer.status_code, answer.text.splitlines()[0]) == (200, ": connected")


def test_on_wsgi_there_are_no_events(app: Application) -> None:
    app.queue.create_queue("work").add("x")
    assert _get(Dashboard(app, authorize=lambda request: "ada"), "/queues/work/events")[0].startswith("404")


def test_fastapi(memory: Application) -> None:
    queue = memory.queue.create_queue("work")
    example = runpy.run_path(str(EXAMPLES / "with_fastapi.py"))
    with TestClient(example["api"], follow_redirects=False) as client:
        _check_login(client, "json")
        assert client.post("/jobs/queues/work/pause", headers=SAME_SITE).status_code == 303
    assert queue.is_paused()


def test_flask(memory: Application) -> None:
    queue = memory.queue.create_queue("work")
    app = runpy.run_path(str(EXAMPLES / "with_flask.py"))["app"]
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://shop.example") as client:
        _check_login(client, "data")
        assert client.post("/jobs/queues/work/pause", headers={"origin": "http://evil.example"}).status_code == 403
        assert client.post("/jobs/queues/work/pause", headers={"origin": "http://shop.example"}).status_code == 303
        assert client.post("/jobs/queues/work/pause", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert queue.is_paused()


def test_head_is_answered_as_get_but_for_the_body(app: Application) -> None:
    app.queue.create_queue("work").add("x")
    board = Dashboard(app, authorize=lambda request: "ada")
    _, headers, body = _get(board, "/static/style.css")
    assert headers["Content-Length"] == str(len(body))
    assert _get(board, "/static/style.css", "HEAD") == ("200 OK", headers, b"")
    with TestClient(board.asgi) as client:
        assert client.head("/static/style.css").headers["content-length"] == str(len(body))
        assert client.head("/queues/work/events").headers["content-type"] == "text/event-stream"
    got, said = (board.respond(Request(method, "/queues/work/events", streams=True)) for method in ("GET", "HEAD"))
    assert got.stream is not None
    assert (said.type, said.stream) == (got.type, None)


def _check_login(client: Any, kind: str) -> None:
    assert client.get("/jobs/").headers["location"] == "/login"
    assert client.get("/jobs/queues/work").status_code == 303
    client.post("/login", **{kind: {"name": "ada", "password": "wrong"}})
    assert client.get("/jobs/").status_code == 303
    client.post("/login", **{kind: {"name": "ada", "password": "lovelace"}})
    page = client.get("/jobs/")
    assert page.status_code == 200
    assert 'href="/jobs/static/style.css' in page.text
    style = client.get("/jobs/static/style.css")
    assert client.head("/jobs/static/style.css").headers["content-length"] == str(len(style.content))
    assert client.get("/jobs/queues/work").status_code == 200


DJANGO = """
import sys
sys.path.insert(0, {folder!r})
import with_django  # the settings are made by it
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("makemigrations", "--check", "--dry-run", verbosity=0)
call_command("check")
from django.contrib.auth.models import Permission, User
from django.test import Client
from stratix_kombu.integrations.django import app
queue = app.queue.get_queue("work")
job = queue.add("x")
User.objects.create_superuser("ada")
looker = User.objects.create_user("bob", is_staff=True)
looker.user_permissions.add(Permission.objects.get(codename="view_queues"))
User.objects.create_user("eve", is_staff=True)
User.objects.create_user("mia")

def client(name):
    one = Client(enforce_csrf_checks=True)
    one.force_login(User.objects.get(username=name))
    return one

for root in ("/admin/stratix/queues/", "/ops/jobs/"):
    assert Client().get(root).status_code == 302
    assert Client().get(root + "queues/work").status_code == 302
    ada, bob, eve, mia = map(client, ("ada", "bob", "eve", "mia"))
    assert eve.get(root).status_code == 403, root
    assert mia.get(root).status_code in (302, 403), root
    for one in (ada, bob):
        page = one.get(root + "queues/work")
        assert page.status_code == 200, page
        assert f'href="{{root}}job?id=' in page.content.decode()
        assert "default-src 'none'" in page["Content-Security-Policy"]
    style = ada.get(root + "static/style.css")
    assert style["Content-Length"] == str(len(style.content)) == ada.head(root + "static/style.css")["Content-Length"]
    assert ada.post(root + "queues/work/pause").status_code == 403  # no token
    page = ada.get(root + "queues/work").content.decode()
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    done = ada.post(root + "queues/work/pause", {{"csrfmiddlewaretoken": token}})
    assert (done.status_code, queue.is_paused()) == (303, True), done
    assert done["Location"] == root + "queues/work?done=pause&n=1", done["Location"]
    queue.resume()
    page = bob.get(root + "queues/work").content.decode()
    assert "Pause" not in page
    bob.cookies["csrftoken"] = ada.cookies["csrftoken"].value
    done = bob.post(root + "queues/work/pause", {{"csrfmiddlewaretoken": token}})
    assert (done.status_code, queue.is_paused()) == (403, False)
assert "Queues and jobs" in client("bob").get("/admin/").content.decode()
assert "Queues and jobs" not in client("eve").get("/admin/").content.decode()
"""


def test_django_in_the_admin_and_at_a_path(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "EXAMPLE_DB": str(tmp_path / "db.sqlite3"),
        "STRATIX_DRIVER": "memory",
        "STRATIX_NAMESPACE": f"dj{uuid.uuid4().hex[:8]}",
    }
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    program = [sys.executable, "-c", DJANGO.format(folder=str(EXAMPLES))]
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
