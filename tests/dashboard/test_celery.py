"""A Celery project: its tasks, its workers and its beat."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from datetime import timedelta
from pathlib import Path

from celery import chain, chord

from stratix_kombu.celery.beat import StratixScheduler
from stratix_kombu.dashboard import Dashboard
from tests.celery.workers import ROOT, Project
from tests.dashboard.asking import Asking, text_of
from tests.waiting import WAIT_S, until


def test_tasks_workers_and_beat(redis_url: str) -> None:
    project = Project(redis_url, redis_url)
    app = project.app.stratix
    ops = Asking(Dashboard(app, authorize=lambda request: "ops"))
    worker = project.start_worker("threads", 2)
    try:
        result = project.task("add").delay(2, 3)
        assert result.get(timeout=60) == 5
        page = ops.ask("/job", id=result.id)
        assert (page["is_task"], page["job"]["name"], page["result"]) == (True, "proj.add", 5)
        assert page["data"]["args"] == [2, 3]
        assert "Celery task" in text_of(ops.get("/job", id=result.id))
        assert ops.post("/job/data", id=result.id, data="1").status == 409
        assert ops.post("/job/duplicate", id=result.id).status == 409
        assert ops.ask("/workers")["workers"] != []
        until(lambda: ops.ask("/workers/celery")["workers"], WAIT_S)
        found = ops.ask("/workers/celery")
        assert (found["has_control"], [one["concurrency"] for one in found["workers"]]) == (True, [2])
        (one,) = found["workers"]
        assert one["name"] in text_of(ops.get("/workers/celery"))
        looker = Asking(Dashboard(app, authorize=lambda request: "ada", read_only=True))
        assert looker.get("/workers/celery").status == 403
        assert looker.tell("/workers/shutdown", name=one["name"]).status == 403
        assert json.loads(ops.tell("/workers/shutdown", name=one["name"]).body)["action"] == "shutdown"
        until(lambda: worker.process.poll() is not None, 60)
    finally:
        worker.end()
        project.close()


def test_a_canvas_is_a_flow(redis_url: str) -> None:
    project = Project(redis_url, redis_url)
    add = project.task("add")
    try:
        chain(chord([add.s(1, 1), chain(add.s(1, 2), add.s(3))], add.si(5, 6)), add.s(7)).apply_async()
        ops = Asking(Dashboard(project.app.stratix, authorize=lambda request: "ops"))
        (flow,) = (one for one in ops.ask("/flows")["flows"] if one["queue"] == project.queue.name)
        assert (flow["name"], flow["total"]) == ("proj.add", 6)
        found = ops.ask("/flow", id=flow["job"])
        assert sorted(one["state"] for one in found["jobs"]) == ["blocked"] * 4 + ["waiting"] * 2
        assert ops.get("/flow", id=flow["job"]).body.decode().count('class="node ') == 6
    finally:
        project.queue.obliterate(force=True)
        project.close()


def test_entries_of_beat(redis_url: str) -> None:
    project = Project(redis_url, redis_url)
    project.app.conf.beat_schedule = {
        "nightly <b>": {"task": "proj.add", "schedule": timedelta(hours=1), "args": (1, 2)}
    }
    beat = StratixScheduler(project.app, lazy=False)
    try:
        ops = Asking(Dashboard(project.app.stratix, authorize=lambda request: "ops"))
        (row,) = (one for one in ops.ask("/schedules")["beat"] if one["name"] == "nightly <b>")
        assert (row["task"], row["rule"]) == ("proj.add", "freq: 1.00 hour")
        assert row["next_run"] is not None
        assert "nightly <b>" in text_of(ops.get("/schedules"))
    finally:
        beat.close()
        project.close()


def test_a_transport_without_remote_control(sqs_url: str, redis_url: str) -> None:
    from tests.celery.project import sqs_broker

    project = Project(sqs_broker(sqs_url), redis_url)
    try:
        ops = Asking(Dashboard(project.app.stratix, authorize=lambda request: "ops"))
        assert ops.ask("/workers/celery") == {"has_control": False, "workers": []}
        assert "no remote control" in text_of(ops.get("/workers/celery"))
    finally:
        project.close()


def test_the_command_of_celery(redis_url: str, tmp_path: Path) -> None:
    project = Project(redis_url, redis_url)
    command = [sys.executable, "-m", "celery", "-A", "tests.celery.project", "stratix", "dashboard", "--port", "0"]
    log = tmp_path / "log"
    with log.open("w") as err, subprocess.Popen(command, cwd=ROOT, env=project.environment(), stderr=err) as process:
        try:
            until(lambda: "Ctrl-C ends it" in log.read_text() or process.poll() is not None, 60)
            found = re.search(r"http://\S+/", log.read_text())
            assert found is not None, log.read_text()
            with urllib.request.urlopen(f"{found[0]}workers", timeout=30) as answer:
                assert "Celery's remote control" in answer.read().decode().replace("&#39;", "'")
        finally:
            process.terminate()
            process.wait(30)
            project.close()
    assert process.returncode == 0
