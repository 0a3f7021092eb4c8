"""Looking at queues and jobs, and changing single ones."""

from __future__ import annotations

import json
import os
import shlex
import threading
from typing import Any

import pytest

from stratix_kombu import Application, Job
from tests.cli.conftest import Cli
from tests.waiting import WAIT_S, until


def finish(app: Application, queue: str) -> None:
    """Have the jobs of a queue run, with a handler that fails where the data says so."""

    def handler(job: Job) -> Any:
        job.log("first line")
        job.update_progress(50)
        if job.data == "bad":
            raise ValueError("no such\naddress")
        return {"sent": job.data}

    app.queue.get_queue(queue).process(handler)
    app.start(queues=[queue])
    until(lambda: not app.queue.get_queue(queue).get_job_counts()["waiting"], WAIT_S)
    until(lambda: not app.queue.get_queue(queue).get_job_counts()["active"], WAIT_S)


def test_queues(app: Application, cli: Cli) -> None:
    assert [line.split()[:3] for line in cli("queues")] == [["queue", "paused", "waiting"]]
    app.queue.get_queue("emails").add("welcome")
    app.queue.get_queue("reports").add("monthly", delay=60_000)
    assert cli("pause", "reports", "emails") == ["paused reports", "paused emails"]
    emails, reports = cli("queues")[1:]
    assert emails.split()[:8] == ["emails", "yes", "1", "0", "0", "0", "0", "0"]
    assert reports.split()[:5] == ["reports", "yes", "0", "0", "1"]
    assert cli("resume", "emails") == ["resumed emails"]
    (shown,) = cli.json("queues", "emails")
    assert (shown["name"], shown["paused"], shown["counts"]["waiting"], shown["workers"]) == ("emails", False, 1, 0)
    assert cli("queues", "emails")[1].split()[:3] == ["emails", "no", "1"]


def test_jobs_by_state_and_name(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    made = [queue.add(f"name-{number}", number, job_id=f"job-{number}") for number in range(7)]
    queue.add("other", delay=60_000, job_id="later")
    app.queue.get_queue("reports").add("name-9", job_id="elsewhere")
    assert cli("jobs", "emails", "--ids") == [*(job.id for job in made), "later"]
    assert cli("jobs", "emails", "--state", "delayed", "--ids") == ["later"]
    assert cli("jobs", "--name", "name-[49]", "--ids") == ["job-4", "elsewhere"]
    assert cli("jobs", "emails", "--limit", "2", "--ids") == ["job-0", "job-1"]
    assert [one["data"] for one in cli.json("jobs", "emails", "--name", "name*")] == list(range(7))
    table = cli("jobs", "emails", "--state", "waiting")
    assert table[0].split() == ["id", "queue", "name", "state", "tries", "age", "about"]
    assert table[1].split()[:5] == ["job-0", "emails", "name-0", "waiting", "0/1"]


def test_jobs_come_page_by_page(app: Application, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stratix_kombu.cli.jobs.PAGE", 10)
    app.queue.get_queue("many").add_bulk([{"name": "n", "opts": {"job_id": f"j{number}"}} for number in range(25)])
    assert cli("jobs", "many", "--limit", "0", "--ids") == [f"j{number}" for number in range(25)]


def test_jobs_that_failed_for_a_reason_since_a_while(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    good, *bad = [queue.add("welcome", data, group="tenant") for data in ("ada", "bad", "bad", "bad")]
    finish(app, "emails")
    newest_first = [job.id for job in sorted(bad, key=lambda job: job.refresh().finished_on or 0, reverse=True)]
    failed = ("jobs", "emails", "--state", "failed", "--ids")
    assert sorted(cli(*failed, "--reason", "ValueError*address")) == sorted(newest_first)
    assert cli(*failed, "--reason", "Timeout") == cli(*failed, "--group", "other") == []
    assert len(cli(*failed, "--since", "1 hour", "--group", "tenant")) == 3
    done = cli.call("jobs", "emails", "--state", "failed", "--limit", "2", "--ids")
    assert len(done.stdout.split()) == 2
    _, _, cursor = done.stderr.partition("there are more: --cursor ")
    rest = cli(*failed, "--cursor", *shlex.split(cursor))
    assert sorted([*done.stdout.split(), *rest]) == sorted(newest_first)
    assert "--cursor belongs to a listing" in cli.call("jobs", "emails", "--cursor", "x").output
    assert good.id not in cli(*failed)


def test_why_jobs_failed(app: Application, cli: Cli) -> None:
    queue = app.queue.create_queue("emails", dead_letter="dead")
    for _ in range(3):
        queue.add("welcome", "bad")
    finish(app, "emails")
    head, row = cli("reasons", "emails")
    assert head.split() == ["count", "error", "newest", "job", "reason"]
    assert (row.split()[:2], row.endswith("ValueError: no such\\naddress")) == (["3", "ValueError"], True)
    assert [one["count"] for one in cli.json("reasons", "dead", "--letters")] == [3]
    done = cli.call("reasons", "emails", "--limit", "2", "--json")
    assert (json.loads(done.stdout)["count"], "the reasons of 2 jobs, and there are more" in done.stderr) == (2, True)
    assert cli("reasons", "other", "--json") == []


def test_workers_and_their_jobs(app: Application, cli: Cli) -> None:
    assert cli("workers")[0].split()[:3] == ["id", "slots", "stuck"]
    queue, end = app.queue.create_queue("emails", concurrency=4), threading.Event()
    queue.process(lambda job: end.wait(20))
    job = queue.add("n")
    app.start()
    try:
        until(lambda: job.get_state() == "active", WAIT_S)
        until(lambda: app.queue.get_workers(), WAIT_S)
        (one,) = cli.json("workers")
        assert (one["queues"], one["slots"], one["pid"]) == ({"emails": 4}, 4, os.getpid())
        row = cli("workers")[1].split()
        assert (row[:3], row[-1]) == ([one["id"], "4", "0"], "emails")
        assert cli("jobs", "--state", "active", "--worker", one["id"], "--ids") == [job.id]
        assert cli("jobs", "--worker", "another", "--ids") == []
    finally:
        end.set()


def test_one_job(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    good, bad = queue.add("welcome", "ada", attempts=2), queue.add("welcome", "bad")
    finish(app, "emails")
    shown = dict(line.split(None, 1) for line in cli("job", "show", good.id) if not line.startswith(" "))
    assert (shown["id"], shown["state"], shown["result"]) == (good.id, "completed", '{"sent": "ada"}')
    assert (shown["attempts"], shown["progress"]) == ("1 of 2", "50")
    text = "\n".join(cli("job", "show", bad.id))
    assert "ValueError: no such" in text
    assert "Traceback" in text
    as_json = json.loads("\n".join(cli("job", "show", bad.id, "--json")))
    assert (as_json["state"], as_json["failed_reason"]) == ("failed", "ValueError: no such\naddress")
    assert cli("job", "logs", good.id) == cli("job", "logs", "--follow", good.id) == ["first line"]
    assert cli("jobs", "emails", "--state", "failed")[1].endswith("ValueError: no such\\naddress")


def test_what_jobs_say_cannot_command_the_terminal(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    job = queue.add("n")
    job.log("\x1b]0;owned\x07 and \x9b31m")
    job.cancel("\x1b[2J gone")
    commands = (["jobs"], ["job", "show", job.id], ["job", "logs", job.id], ["events"], ["flow", "show", job.id])
    shown = "\n".join(line for command in commands for line in cli(*command))
    assert shown.count("\\x1b[2J gone") == 4
    assert "\\x1b]0;owned\\x07 and \\x9b31m" in shown
    assert not {"\x1b", "\x07", "\x9b"} & set(shown)


def test_changing_jobs(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    later, gone, ended = (queue.add("n", delay=60_000) for _ in range(3))
    assert cli("job", "promote", later.id) == [f"may run now: {later.id}"]
    assert cli("job", "priority", "3", later.id, gone.id) == [f"priority 3: {later.id}", f"priority 3: {gone.id}"]
    assert later.refresh().opts["priority"] == 3
    assert "10 is not in the range 0<=x<=9" in cli.refused("job", "priority", "10", later.id, code=2)
    assert cli("job", "remove", gone.id, "--yes") == [f"removed {gone.id}"]
    assert cli("job", "cancel", ended.id, "--reason", "not needed") == [f"cancelled {ended.id}"]
    assert (later.get_state(), ended.refresh().failed_reason) == ("waiting", "not needed")
    assert queue.get_job(gone.id) is None
    shown = dict(line.split(None, 1) for line in cli("job", "show", ended.id))
    assert (shown["state"], shown["cancelled"], shown["reason"]) == ("failed", "yes", "not needed")
    assert json.loads("\n".join(cli("job", "show", ended.id, "--json")))["was_cancelled"]
    assert cli("job", "retry", ended.id) == [f"will run again: {ended.id}"]
    assert not any(line.startswith("cancelled") for line in cli("job", "show", ended.id))
    assert ended.get_state() == "delayed"


def test_what_cannot_be_done_is_reported_and_the_rest_is_done(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    later, waiting = queue.add("n", delay=60_000), queue.add("n")
    result = cli.call("job", "promote", "nowhere", waiting.id, later.id)
    assert (result.exit_code, result.stdout) == (1, f"may run now: {later.id}\n")
    assert "no job 'nowhere'" in result.stderr
    assert waiting.id in result.stderr
    assert "no job 'nowhere'" in cli.refused("job", "show", "nowhere", code=1)
    assert "no job 'nowhere'" in cli.refused("flow", "show", "nowhere", code=1)


def test_a_flow_is_a_tree(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("etl")
    first = queue.add("fetch", job_id="first")
    parts = [queue.add("part", job_id=f"part-{number}", dependencies=[first]) for number in (1, 2)]
    queue.add("sum", job_id="sum", dependencies=parts)
    assert cli("flow", "show", "part-1") == [
        "sum blocked sum (etl)",
        "├── part blocked part-1 (etl)",
        "│   └── fetch waiting first (etl)",
        "└── part blocked part-2 (etl)",
        "    └── fetch waiting first (etl)",
    ]
    first.remove()
    assert "sum failed sum (etl) dependency part-1 failed: dependency first" in cli("flow", "show", "sum")[0]
    shown = {one["id"]: one["dependencies"] for one in cli.json("flow", "show", "sum")}
    assert shown["sum"] == ["part-1", "part-2"]


def test_events(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    bad = queue.add("welcome", "bad", job_id="one")
    finish(app, "emails")
    names = [one["name"] for one in cli.json("events")]
    assert names[:2] == ["waiting", "active"]
    assert names[-2:] == ["failed", "drained"]
    (failed,) = cli.json("events", "emails", "--event", "failed")
    assert (failed["queue"], failed["job_id"], failed["job_name"]) == ("emails", bad.id, "welcome")
    assert cli("events", "--event", "failed")[0].endswith("emails one welcome ValueError: no such\\naddress")
    assert len(cli("events", "--limit", "3")) == 3
    assert "did you mean 'failed'" in cli.refused("events", "--event", "faild", code=2)


def by_name(cli: Cli) -> list[Any]:
    return cli.json("metrics", "--hours", "2", "--by-name")


def test_metrics(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    queue.add_bulk([{"name": "welcome", "data": data} for data in ("ada", "bob", "bad")])
    app.queue.get_queue("reports").add("n")
    finish(app, "emails")
    heading, emails, reports = cli("metrics")
    assert heading.split()[:6] == ["queue", "completed", "failed", "retried", "stalled", "limited"]
    assert emails.split()[:6] == ["emails", "2", "1", "0", "0", "0"]
    assert emails.endswith("ms")
    assert reports.split() == ["reports", *"000000", *"-----"]
    minutes = cli("metrics", "emails", "--minutes", "3")
    assert len(minutes) == 4
    assert [line.split()[0] for line in minutes[1:]] == ["emails"] * 3
    assert cli.json("metrics", "emails")[0]["total"]["completed"] == 2
    heading, *hours = cli("metrics", "emails", "--hours", "24")
    assert (heading.split()[1], len(hours), hours[-1].split()[:1]) == ("hour", 24, ["emails"])
    assert cli.json("metrics", "emails", "--hours", "2")[0]["total"]["minutes"] == 120
    heading, *names = cli("metrics", "--hours", "2", "--by-name")
    assert [line.split()[:2] for line in names] == [[one["queue"], one["name"]] for one in by_name(cli)]
    assert sum(int(line.split()[2]) for line in names) == sum(one["total"]["completed"] for one in by_name(cli))
    assert "belongs to 'hours'" in cli.refused("metrics", "emails", "--by-name", code=2)
