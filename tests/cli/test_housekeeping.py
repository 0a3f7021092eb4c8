"""Repeatable jobs, many jobs at once, dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from stratix_kombu import Application, Job
from tests.cli.conftest import Cli
from tests.waiting import WAIT_S, until


def test_repeatable_jobs(app: Application, cli: Cli) -> None:
    assert cli("repeat", "list") == ["queue  key  name  times  next run  runs  status"]
    added = cli(
        "repeat",
        "add",
        "ops",
        "backup",
        "--cron",
        "30 3 * * *",
        "--timezone",
        "Asia/Shanghai",
        "--key",
        "nightly",
        "--data",
        '{"type": "full"}',
        "--limit",
        "9",
        "--attempts",
        "3",
    )
    assert added[0].startswith("nightly next runs at ")
    cli("repeat", "add", "ops", "check", "--every", "10 minutes", "--key", "often")
    nightly, often = cli.json("repeat", "list", "ops")
    assert (nightly["cron"], nightly["timezone"], nightly["data"], nightly["limit"]) == (
        "30 3 * * *",
        "Asia/Shanghai",
        {"type": "full"},
        9,
    )
    assert datetime.fromisoformat(nightly["next_run"]).minute == 30
    assert often["every"] == 600_000
    assert cli("repeat", "pause", "ops", "often") == ["paused often"]
    assert [line.split()[-1] for line in cli("repeat", "list")] == ["status", "on", "paused"]
    assert cli("repeat", "resume", "ops", "often") == ["resumed often"]
    assert cli("repeat", "runs", "ops", "nightly") == ["id  added  state  ended  reason"]
    (job_id,) = cli("repeat", "run", "ops", "nightly")
    (run,) = cli.json("repeat", "runs", "ops", "nightly")
    assert (run["job_id"], run["state"], run["finished_on"]) == (job_id, "waiting", None)
    assert cli("repeat", "runs", "ops", "nightly")[1].startswith(f"{job_id}  2")
    assert "no repeatable job" in cli.refused("repeat", "runs", "ops", "nobody", code=1)
    job = app.queue.get_job(job_id)
    assert job is not None
    assert (job.data, job.opts["attempts"]) == ({"type": "full"}, 3)
    assert [line.split()[:2] for line in cli("repeat", "list")[1:]] == [["ops", "nightly"], ["ops", "often"]]
    assert cli("repeat", "remove", "ops", "often", "--yes") == ["removed often"]
    assert "no repeatable job" in cli.refused("repeat", "remove", "ops", "often", code=1)
    assert "no repeatable job" in cli.refused("repeat", "pause", "ops", "often", code=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cron", "99 * * * *"], "99 * * * *"),
        (["--every", "10 minuets"], "did you mean 'minutes'"),
        (["--every", "1 h", "--data", "{"], "is not JSON"),
        ([], "cron"),
    ],
)
def test_a_repeatable_job_that_cannot_be(cli: Cli, options: list[str], words: str) -> None:
    assert words in cli.refused("repeat", "add", "ops", "backup", *options, code=2)


def test_what_cannot_be_undone_is_not_done_without_a_terminal(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    queue.add_bulk([{"name": "n"}] * 3)
    for command in (["drain", "emails"], ["obliterate", "emails"], ["dead-letters", "redrive", "emails"]):
        assert "There is no terminal to ask on: pass --yes." in cli.refused(*command, code=2)
    assert queue.get_job_counts()["waiting"] == 3


def test_drain_and_obliterate(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("emails")
    queue.add_bulk([{"name": "n"}] * 3)
    queue.add("n", delay=60_000)
    assert cli("drain", "emails", "--yes") == ["removed 3 jobs"]
    assert cli("drain", "emails", "--delayed", "--yes") == ["removed 1 jobs"]
    queue.add("n")
    claimed = app.queue.store.transitions.claim("emails", [queue.get_jobs("waiting")[0].id], "w", 60_000)
    assert len(claimed.claims) == 1
    assert "1 active jobs" in cli.refused("obliterate", "emails", "--yes", code=1)
    assert cli("obliterate", "emails", "--yes", "--force") == ["removed emails with 1 jobs"]
    assert cli.json("queues") == []


def failed_jobs(app: Application, queue: str, count: int) -> None:
    def fail(job: Job) -> Any:
        raise TimeoutError("too slow") if job.data % 2 else OSError("no route")

    app.queue.create_queue(queue, dead_letter=f"{queue}-dead").process(fail)
    app.queue.get_queue(queue).add_bulk([{"name": "welcome", "data": number} for number in range(count)])
    app.start(queues=[queue])
    until(lambda: app.queue.get_queue(queue).get_job_counts()["failed"] == count, WAIT_S)
    app.queue.get_queue(queue).close()


def test_clean(app: Application, cli: Cli) -> None:
    failed_jobs(app, "mail", 5)
    assert cli("clean", "mail", "--state", "failed", "--grace", "7 days", "--yes") == ["removed 0 failed jobs"]
    assert cli("clean", "mail", "--state", "failed", "--limit", "2", "--yes") == ["removed 2 failed jobs"]
    assert cli("clean", "mail", "--state", "failed", "--yes") == ["removed 3 failed jobs"]
    assert "is not one of" in cli.refused("clean", "mail", "--state", "faild", code=2)


def test_dead_letters(app: Application, cli: Cli) -> None:
    failed_jobs(app, "mail", 6)
    letters = cli.json("dead-letters", "list", "mail-dead")
    assert len(letters) == 6
    assert {one["queue"] for one in letters} == {"mail"}
    slow = cli("dead-letters", "list", "mail-dead", "--reason", "too slow")
    assert slow[0].split() == ["id", "queue", "name", "attempts", "reason"]
    assert [line.endswith("TimeoutError: too slow") for line in slow[1:]] == [True] * 3
    assert cli("dead-letters", "list", "mail-dead", "--name", "other") == ["id  queue  name  attempts  reason"]
    chosen = ["--reason", "too slow", "--limit", "2"]
    assert cli("dead-letters", "redrive", "mail-dead", *chosen) == ["sent 2 letters back"]
    assert cli("dead-letters", "redrive", "mail-dead", "--from", "elsewhere") == ["sent 0 letters back"]
    assert cli("dead-letters", "redrive", "mail-dead", "--yes") == ["sent 4 letters back"]
    assert app.queue.get_queue("mail-dead").get_job_counts()["waiting"] == 0
    assert cli.json("queues", "mail")[0]["counts"]["waiting"] == 6
