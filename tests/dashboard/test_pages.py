"""What the pages say, to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from stratix_kombu import Application
from stratix_kombu.dashboard import Dashboard
from stratix_kombu.dashboard.routes import ROUTES
from tests.dashboard.asking import Asking, header, text_of
from tests.waiting import WAIT_S, until

HOSTILE = "<script>alert(1)</script>\"'&"
TURNED = "invoice\u202efdp.exe"


def test_overview_counts_filters_and_sorts(app: Application, ops: Asking) -> None:
    emails, reports = app.queue.create_queue("emails"), app.queue.create_queue("reports")
    emails.add("welcome")
    for _ in range(2):
        reports.add("monthly", delay=60_000)
    reports.pause()
    found = ops.ask("/")
    assert [(one["name"], one["counts"]["waiting"], one["counts"]["delayed"]) for one in found["queues"]] == [
        ("emails", 1, 0),
        ("reports", 0, 2),
    ]
    assert found["totals"]["waiting"] == 1
    assert [one["name"] for one in ops.ask("/", sort="delayed")["queues"]] == ["reports", "emails"]
    assert [one["name"] for one in ops.ask("/", only="paused")["queues"]] == ["reports"]
    assert [one["name"] for one in ops.ask("/", name="MAI")["queues"]] == ["emails"]
    assert [one["name"] for one in ops.ask("/", only="unattended")["queues"]] == ["emails"]
    page = text_of(ops.get("/"))
    assert "reports paused" in page
    assert ops.get("/", sort="nonsense").status == 400
    assert "No queue fits the filter" in text_of(ops.get("/", name="zzz"))


def test_an_empty_namespace_says_so(ops: Asking) -> None:
    assert "No queue has had a job yet" in text_of(ops.get("/"))


def test_a_job_is_shown_with_everything_that_is_known_of_it(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")

    @queue.process
    def fails(job: object) -> None:
        job.log("half done")  # type: ignore[attr-defined]
        raise ValueError(f"no such customer: {HOSTILE}")

    job = queue.add("bill", {"customer": 7})
    app.start()
    until(lambda: job.get_state() == "failed", WAIT_S)
    found = ops.ask("/job", id=job.id)
    assert found["job"]["state"] == "failed"
    assert found["job"]["reason"] == f"ValueError: no such customer: {HOSTILE}"
    assert found["data"] == {"customer": 7}
    assert found["logs"] == ["half done"]
    assert [one["outcome"] for one in found["attempts"]] == ["failed"]
    assert "in fails" in "".join(found["stacktrace"])
    page = ops.get("/job", id=job.id)
    assert b"<script>alert" not in page.body
    assert f"ValueError: no such customer: {HOSTILE}" in text_of(page)
    assert "half done" in text_of(page)
    assert ops.get("/job/value", id=job.id, part="logs").body == b"half done"
    assert json.loads(ops.get("/job/copy", id=job.id).body) == found
    assert header(ops.get("/search", id=job.id), "Location") == f"/job?id={job.id}"
    assert header(ops.get("/search", id="work"), "Location") == "/queues/work"
    assert ops.get("/search", id="nothing").status == 404


def test_nothing_hides_in_a_text(app: Application, ops: Asking) -> None:
    job = app.queue.create_queue("work").add(f"{TURNED} {HOSTILE}", {HOSTILE: "a\x00\u200bb\ufeff", "long": "x" * 9000})
    page = ops.get("/job", id=job.id).body.decode()
    assert "\u202e" not in page
    assert "invoice\\u202efdp.exe" in page
    assert "<script>alert" not in page
    assert "\\u200b" in page
    assert "\ufeff" not in page
    assert "Show all of it" in page
    assert ops.get("/job/value", id=job.id, part="data").body.decode().count("x") == 9000
    listed = ops.get("/queues/work").body.decode()
    assert "\u202e" not in listed
    assert "<script>alert" not in listed


def test_jobs_are_listed_by_state_and_filter(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    for number in range(7):
        queue.add("odd" if number % 2 else "even", job_id=f"job-{number}")
    first = ops.ask("/queues/work", limit=3)
    assert [one["id"] for one in first["jobs"]] == ["job-0", "job-1", "job-2"]
    seen = [one["id"] for one in first["jobs"]]
    while first["cursor"]:
        first = ops.ask("/queues/work", limit=3, cursor=first["cursor"])
        seen += [one["id"] for one in first["jobs"]]
    assert seen == [f"job-{number}" for number in range(7)]
    assert [one["id"] for one in ops.ask("/queues/work", name="odd")["jobs"]] == ["job-1", "job-3", "job-5"]
    assert [one["id"] for one in ops.ask("/queues/work", id="job-4")["jobs"]] == ["job-4"]
    assert ops.ask("/queues/work", state="failed")["jobs"] == []
    assert ops.get("/queues/work", state="nonsense").status == 400
    assert ops.get("/queues/work", since="yesterday").status == 400
    assert ops.get("/queues/work", limit="100000").status == 400
    assert ops.get("/queues/..%2f").status == 404


def test_a_prefix_is_in_every_link(app: Application) -> None:
    job = app.queue.create_queue("work").add("x")
    mounted = Asking(Dashboard(app, authorize=lambda request: "ops"), prefix="/admin/jobs")
    for response in (mounted.get("/"), mounted.get("/queues/work"), mounted.get("/job", id=job.id)):
        page = response.body.decode()
        found = [part.split('"')[0] for part in page.split('href="')[1:] + page.split('src="')[1:]]
        found += [part.split('"')[0] for part in page.split('action="')[1:]]
        assert found
        assert [url for url in found if not url.startswith(("/admin/jobs/", "#"))] == []
    assert header(mounted.get(""), "Location") == "/admin/jobs/"


def test_programs_have_a_document_of_what_they_can_ask(app: Application, ops: Asking) -> None:
    from openapi_spec_validator import validate

    app.queue.create_queue("work").add("x")
    document = ops.ask("/openapi.json")
    validate(document)
    described = [route for route in ROUTES if not route.people_only]
    assert {path for path in document["paths"] if "get" in document["paths"][path]} == {
        route.path for route in described if route.method == "GET"
    }
    for path, operations in document["paths"].items():
        assert any(route.match(method.upper(), path) is not None for method in operations for route in described)
    schema = document["components"]["schemas"]
    assert set(ops.ask("/")) == set(schema["Overview"]["properties"])
    assert set(ops.ask("/queues/work")["queue"]) == set(schema["QueueRow"]["properties"])


def test_the_document_names_the_fields_of_each_action(app: Application, ops: Asking) -> None:
    queue = app.queue.create_queue("work")
    queue.add("x", opts={"job_id": "x"})
    queue.add_repeatable_job("tick", key="k", every=60_000)
    known = {"id": "x", "key": "k", "state": "waiting"}
    paths = ops.ask("/openapi.json")["paths"]
    actions = {path: operations["post"] for path, operations in paths.items() if "post" in operations}
    assert {"/job/retry", "/job/duplicate", "/queues/{name}/clean", "/queues/{name}/many/remove"} <= set(actions)
    for path, operation in actions.items():
        fields = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
        assert all("type" in schema or "description" in schema for schema in fields.values())
        said = {name: value for name, value in known.items() if name in fields}
        response = ops.tell(path.replace("{name}", "work"), **said, nonsense=1)
        error = json.loads(response.body)["error"]
        assert error.startswith("unknown field 'nonsense'")
        assert set(error.partition("action: ")[2].replace("none", "").split(", ")) - {""} == set(fields)


def test_a_program_is_told_errors_as_json(ops: Asking) -> None:
    assert "no job 'nothing'" in ops.ask("/job", id="nothing")["error"]
    assert ops.ask("/nonsense")["error"] == "there is no such page"


def test_health_needs_no_login(app: Application) -> None:
    nobody = Asking(Dashboard(app, authorize=lambda request: None))
    assert (nobody.get("/").status, nobody.get("/healthz").status) == (403, 200)
    assert json.loads(nobody.get("/healthz").body) == {"ok": True}


def test_a_fault_of_ours_tells_no_details(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: object) -> str:
        raise RuntimeError("the password is open-sesame")

    response = Asking(Dashboard(app, authorize=broken)).get("/")
    assert response.status == 500
    assert b"open-sesame" not in response.body
    assert "the password is open-sesame" in caplog.text


class _Counted:
    """The queries of a store, each of which is counted."""

    def __init__(self, queries: Any) -> None:
        self._queries = queries
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._queries, name)


def test_a_refresh_costs_the_store_as_much_for_many_queues_as_for_one(
    app: Application, ops: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        app.queue.create_queue(f"queue-{number}").add("x")
    store = app.queue.store
    counted = _Counted(store.queries)
    monkeypatch.setattr(store, "queries", counted)
    assert "queue-49" in text_of(ops.get("/"))
    assert counted.calls == ["overview"]
    counted.calls.clear()
    ops.get("/queues/queue-7")
    assert len(counted.calls) <= 6
    counted.calls.clear()
    ops.get("/workers")
    assert len(counted.calls) <= 2


def test_without_the_extra_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['jinja2'] = None; import stratix_kombu.dashboard"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "the dashboard needs the package 'jinja2': pip install 'stratix-kombu[dashboard]'" in done.stderr
