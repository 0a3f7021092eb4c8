"""Sentry: what its SDK sends of jobs, by a transport that prints it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.faults.worker_processes import ROOT
from tests.waiting import WAIT_S, until


@pytest.fixture(scope="module")
def sent() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "tests.integrations.sentry_program"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def of(sent: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one["payload"] for one in sent if one["type"] == kind]


def test_an_error_is_reported_once_with_frames_and_tags(sent: list[dict[str, Any]]) -> None:
    events = {one["tags"]["job_name"]: one for one in of(sent, "event")}
    assert sorted(one["tags"]["job_name"] for one in of(sent, "event")) == ["awaited", "bad", "failing"]
    (error,) = events["bad"]["exception"]["values"]
    assert (error["type"], error["value"]) == ("ConnectionError", "cannot reach ada")
    assert error["mechanism"] == {"type": "stratix_kombu", "handled": False}
    last = error["stacktrace"]["frames"][-1]
    assert (last["function"], last["vars"]["address"]) == ("bad", "'ada'")
    assert events["bad"]["tags"]["queue"] == "emails"
    job = events["bad"]["contexts"]["job"]
    assert (job["name"], job["attempt"], job["attempts"]) == ("bad", 2, 2)
    assert "data" not in job, "it may be personal"
    assert events["awaited"]["exception"]["values"][-1]["type"] == "KeyError"


def test_errors_of_sandboxes_have_the_frames_of_the_child(sent: list[dict[str, Any]]) -> None:
    (event,) = (one for one in of(sent, "event") if one["tags"]["queue"] == "boxed")
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("OSError", "away")
    (frame,) = error["stacktrace"]["frames"]
    assert (frame["filename"], frame["function"], frame["context_line"]) == (
        "around.py",
        "failing",
        'raise OSError("away")',
    )


def test_transactions_are_in_the_trace_of_the_producer(sent: list[dict[str, Any]]) -> None:
    transactions = of(sent, "transaction")
    (request,) = (one for one in transactions if one["transaction"] == "POST /register")
    trace = request["contexts"]["trace"]["trace_id"]
    runs = [one for one in transactions if one["contexts"]["trace"]["trace_id"] == trace and one is not request]
    assert sorted(one["transaction"] for one in runs) == ["emails.bad", "emails.bad", "emails.good"]
    assert {one["contexts"]["trace"]["op"] for one in runs} == {"queue.task.stratix_kombu"}
    publish = {one["span_id"] for one in request["spans"] if one["op"] == "queue.publish"}
    assert {one["contexts"]["trace"]["parent_span_id"] for one in runs} == publish
    status = sorted(one["contexts"]["trace"]["status"] for one in runs)
    assert status == ["internal_error", "internal_error", "ok"]
    held = [one["contexts"]["trace"]["status"] for one in transactions if one["transaction"] == "emails.held"]
    assert sorted(held) == ["cancelled", "ok"]


def test_spans_of_the_queues_page(sent: list[dict[str, Any]]) -> None:
    spans = [span for one in of(sent, "transaction") for span in one["spans"]]
    published = [one for one in spans if one["op"] == "queue.publish"]
    assert {one["data"]["messaging.destination.name"] for one in published} == {"emails"}
    processed = [one["data"] for one in spans if one["op"] == "queue.process"]
    assert {one["messaging.destination.name"] for one in processed} == {"emails", "boxed"}
    assert sorted({one["messaging.message.retry.count"] for one in processed}) == [0, 1]
    assert all(one["messaging.message.id"] for one in processed)
    added = [one for one in processed if not one["messaging.message.id"].startswith("repeat:")]
    assert all(one["messaging.message.receive.latency"] >= 0 for one in added)


def test_runs_of_repeatable_jobs_check_in(sent: list[dict[str, Any]]) -> None:
    began, ended = of(sent, "check_in")
    assert (began["status"], ended["status"]) == ("in_progress", "ok")
    assert began["check_in_id"] == ended["check_in_id"]
    assert began["monitor_slug"] == "emails-nightly"
    assert began["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "0 3 * * *"},
        "timezone": "Europe/Berlin",
    }
    assert ended["duration"] >= 0


def test_jobs_in_a_celery_worker_beside_sentrys_celery_integration(redis_url: str, tmp_path: Path) -> None:
    """Each job and each task has one transaction, in the producer's trace, and an error is reported once."""
    environment = {**os.environ, "SENTRY_TEST_BROKER": redis_url, "SENTRY_TEST_QUEUE": f"q{uuid.uuid4().hex[:8]}"}
    module, output = "tests.integrations.sentry_in_celery", tmp_path / "worker"
    worker = [sys.executable, "-m", "celery", "-A", f"{module}:celery", "worker", "--pool", "threads", "-c", "2"]
    with output.open("w") as file, subprocess.Popen(worker, cwd=ROOT, env=environment, stdout=file, stderr=file) as run:
        try:
            command = [sys.executable, "-m", module]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            until(lambda: len(of(_lines(output.read_text()), "transaction")) == 3, WAIT_S)
        finally:
            run.terminate()
    found = _lines(done.stdout + output.read_text())
    transactions = of(found, "transaction")
    names = [one["transaction"].replace(environment["SENTRY_TEST_QUEUE"], "q") for one in transactions]
    assert sorted(names) == ["double", "q.bad", "q.good", "request"]
    assert len({one["contexts"]["trace"]["trace_id"] for one in transactions}) == 1
    (event,) = of(found, "event")
    assert event["exception"]["values"][-1]["value"] == "no server"


def _lines(text: str) -> list[dict[str, Any]]:
    """Celery's log has what the worker prints, after the time."""
    return [
        json.loads(line[line.index("{") :]) for line in text.splitlines() if '{"type": ' in line and line.endswith("}")
    ]
