"""``bulk``: the same done to all jobs of a queue that are meant."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu import Application
from stratix_kombu.queue import chosen
from tests.cli.conftest import Cli
from tests.waiting import WAIT_S, until


def fill(app: Application) -> Any:
    queue = app.queue.get_queue("mail")
    for n in range(6):
        queue.add("slow" if n % 2 else "bad", job_id=f"{n}")
    queue.cancel_jobs("waiting", cancel_reason="Timeout: 5 s")
    return queue


def test_all_that_fit(app: Application, cli: Cli) -> None:
    queue = fill(app)
    assert cli("bulk", "retry", "mail", "--name", "slow", "--reason", "Timeout", "--since", "1 h", "--yes") == [
        "will run again: 3 jobs"
    ]
    assert cli("bulk", "cancel", "mail", "--state", "waiting", "--limit", "1", "--yes") == ["cancelled 1 job"]
    assert cli("bulk", "remove", "mail", "--state", "failed", "--id", "0", "-y") == ["removed 1 job"]
    queue.add("later", delay=60_000)
    assert cli("bulk", "promote", "mail", "--name", "*", "-y") == ["may run now: 1 job"]
    assert cli("bulk", "retry", "mail", "-y") == ["will run again: 3 jobs"]
    assert cli("bulk", "retry", "mail", "-y") == ["will run again: 0 jobs"]


def test_those_of_one_worker(app: Application, cli: Cli) -> None:
    queue = fill(app)
    queue.process(lambda job: 1 / 0)
    job = queue.add("n")
    app.start()
    until(lambda: job.get_state() == "failed", WAIT_S)
    queue.pause()
    (one,) = cli.json("workers")
    assert cli("bulk", "retry", "mail", "--worker", "another", "-y") == ["will run again: 0 jobs"]
    assert cli("bulk", "retry", "mail", "--worker", one["id"], "-y") == ["will run again: 1 job"]


def test_it_says_how_many_and_asks(app: Application, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = fill(app)
    refused = cli.refused("bulk", "remove", "mail", "--state", "failed", "--name", "slow", code=2)
    assert "Remove 3 failed jobs of mail? There is no terminal to ask on: pass --yes." in refused
    monkeypatch.setattr(chosen, "LOOKED_AT_ONCE", 1)
    monkeypatch.setattr(chosen, "COUNTED_AT_ONCE", 2)
    refused = cli.refused("bulk", "retry", "mail", "--name", "*", "--limit", "5", code=2)
    assert "Retry at most 5 of at least 2 failed jobs of mail?" in refused
    assert queue.get_job_counts()["failed"] == 6


def test_a_state_must_be_given_and_fit(app: Application, cli: Cli) -> None:
    assert "cancel is for a state: give --state" in cli.refused("bulk", "cancel", "mail", "-y", code=2)
    assert "retry is for jobs that are failed" in cli.refused("bulk", "retry", "mail", "--state", "waiting", code=2)
    assert "jobs that are active cannot be meant" in cli.refused(
        "bulk", "remove", "mail", "--state", "active", "-y", code=2
    )


def test_ctrl_c_says_how_far_it_came(app: Application, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = fill(app)
    monkeypatch.setattr(chosen, "PAGE", 2)
    act, calls = chosen.act, list[int]()  # type: ignore[attr-defined]

    def interrupted(*arguments: Any) -> int:
        calls.append(act(*arguments))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(chosen, "act", interrupted)
    refused = cli.refused("bulk", "retry", "mail", "--name", "*", "--yes", code=130)
    assert refused == "interrupted; will run again: at least 2 jobs\n"
    assert queue.get_job_counts()["waiting"] == 4
