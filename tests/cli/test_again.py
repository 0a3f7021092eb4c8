"""Running jobs again: one, several, all that failed, and completed ones; and how far a flow is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from stratix_kombu import Application, Job
from stratix_kombu.cli import flow as flows, main, output
from stratix_kombu.lifecycle import sweep as sweeping
from tests.cli.conftest import Cli
from tests.waiting import WAIT_S, until


def failed(app: Application, queue: str, count: int) -> list[Job]:
    jobs = app.queue.get_queue(queue).add_bulk([{"name": "n", "opts": {"job_id": f"{queue}{n}"}} for n in range(count)])
    for job in jobs:
        job.cancel()
    return jobs


def ended(app: Application, queue: str) -> None:
    app.queue.get_queue(queue).process(lambda job: job.data)
    app.start(queues=[queue])
    until(
        lambda: not sum(app.queue.get_queue(queue).get_job_counts()[one] for one in ("waiting", "active", "blocked")),
        WAIT_S,
    )


def test_no_ids_are_nothing_to_do(cli: Cli, config: Any) -> None:
    """What ``xargs`` makes of the output of a command that finds nothing."""
    for verb in ("retry", "rerun", "remove", "promote", "cancel"):
        result = cli.call("job", verb)
        assert (result.exit_code, result.stdout, "nothing to do" in result.stderr) == (0, "", True)
    assert "nothing to do" in cli.call("job", "priority", "1").stderr
    for text in ("", "\n"):
        result = CliRunner().invoke(main, ["--config", str(config), "job", "retry", "-"], input=text)
        assert (result.exit_code, result.stdout) == (0, "")


def test_ids_from_stdin(app: Application, cli: Cli, config: Any) -> None:
    failed(app, "mail", 3)
    ids = "\n".join(cli("jobs", "mail", "--state", "failed", "--ids"))
    result = CliRunner().invoke(main, ["--config", str(config), "job", "retry", "-"], input=ids)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 3)
    assert app.queue.get_queue("mail").get_job_counts()["waiting"] == 3


def test_all_that_failed(app: Application, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 4)
    for queue in ("mail", "other", "third"):
        failed(app, queue, 10)
    assert cli("job", "retry", "--state", "failed", "--queue", "mail") == ["10 failed jobs will run again"]
    assert app.queue.get_queue("other").get_job_counts()["failed"] == 10
    assert cli("job", "retry", "--state", "failed") == ["20 failed jobs will run again"]
    assert cli("job", "retry", "--state", "failed") == ["0 failed jobs will run again"]
    for wrong in (["one", "--state", "failed"], ["--queue", "mail"]):
        assert "either ids, or --state" in cli.refused("job", "retry", *wrong, code=2)


def test_ctrl_c_says_how_far_it_came(app: Application, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "PAGE", 4)
    failed(app, "mail", 10)
    dispatch_change, calls = sweeping.dispatch_change, list[int]()  # type: ignore[attr-defined]

    def interrupted(*arguments: Any) -> None:
        dispatch_change(*arguments)
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(sweeping, "dispatch_change", interrupted)
    assert cli.refused("job", "retry", "--state", "failed", code=130) == (
        "interrupted: at least 4 of 10 failed jobs will run again\n"
    )
    assert app.queue.get_queue("mail").get_job_counts()["waiting"] == 8


def test_completed_jobs_run_again(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("mail")
    first = queue.add("n", job_id="first")
    second = queue.add("n", job_id="second", dependencies=[first])
    ended(app, "mail")
    assert cli("job", "rerun", "first") == ["will run again: first"]
    until(lambda: first.refresh().attempts_made == 2, WAIT_S)
    until(lambda: first.refresh().state == "completed", WAIT_S)
    assert second.refresh().attempts_made == 1
    assert cli("job", "rerun", "first", "--dependents") == ["will run again: first"]
    until(lambda: second.refresh().attempts_made == 2, WAIT_S)
    failed(app, "other", 1)
    assert "failed" in cli.refused("job", "rerun", "other0", code=1)
    assert "no job 'nowhere'" in cli.refused("job", "rerun", "nowhere", code=1)


def test_how_far_a_flow_is(app: Application, cli: Cli) -> None:
    parts = [{"name": "part", "queue": "etl", "data": n} for n in range(3)]
    flow = app.queue.add_flow({"name": "sum", "queue": "sums", "children": parts})
    root = flow.root.id
    heading, *rows = cli("flow", "show", root, "--summary")
    assert heading.split() == [
        "name",
        "queue",
        "waiting",
        "active",
        "delayed",
        "blocked",
        "completed",
        "failed",
        "removed",
        "jobs",
    ]
    assert [row.split() for row in rows] == [
        ["part", "etl", *"30000003"],
        ["sum", "sums", *"00010001"],
        ["all", "-", *"30010004"],
    ]
    (shown,) = cli.json("flow", "show", root, "--summary")
    assert (shown["id"], shown["jobs"], shown["counts"]["waiting"], shown["counts"]["blocked"]) == (root, 4, 3, 1)
    assert [(one["name"], one["counts"]["waiting"]) for one in shown["names"]] == [("part", 3), ("sum", 0)]
    for queue in ("etl", "sums"):
        app.queue.get_queue(queue).process(lambda job: 1)
    app.start()
    watched = cli("flow", "show", root, "--summary", "--watch", "--interval", "0.1", "--json")
    assert json.loads(watched[-1])["counts"]["completed"] == 4, "it ends when all have ended"
    assert "--watch needs --summary" in cli.refused("flow", "show", root, "--watch", code=2)


@pytest.fixture
def on_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 24 lines and 80 columns."""
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("COLUMNS", "80")
    for module in (flows, output):
        monkeypatch.setattr(module, "is_terminal", lambda: True)


@pytest.mark.usefixtures("on_a_screen")
def test_what_is_longer_than_the_screen_is_cut_with_a_hint(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("etl")
    parts = [queue.add("part", job_id=f"part-{n}") for n in range(100)]
    data = {"lines": ["x" * 20] * 60}
    queue.add("sum", data, job_id="sum", dependencies=parts)
    for command in ("job", "flow"):
        shown = cli(command, "show", "sum")
        assert len(shown) <= 21, "and the command and the next prompt fit, too"
        assert any(f"more lines: {command} show sum --all" in line for line in shown)
        assert "\n".join(cli(command, "show", "sum", "--all")).count("part-") == 100
    assert "sum" in cli("job", "show", "sum")[0], "short values are shown whole"
    few = queue.add("few", {"lines": ["y"]}, dependencies=parts[:3])
    assert not any("more lines" in line for line in cli("job", "show", few.id))


def test_in_a_pipe_nothing_is_cut(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("etl")
    queue.add("sum", job_id="sum", dependencies=[queue.add("part", job_id=f"part-{n}") for n in range(100)])
    for command in ("job", "flow"):
        assert "\n".join(cli(command, "show", "sum")).count("part-") == 100


@pytest.mark.usefixtures("on_a_screen")
def test_a_flow_is_watched_until_it_has_ended(app: Application, cli: Cli) -> None:
    queue = app.queue.get_queue("etl")
    first = queue.add("first", job_id="first")
    queue.add("sum", job_id="sum", dependencies=[first])
    ended(app, "etl")
    shown = "\n".join(cli("flow", "show", "first", "--summary", "--watch", "--interval", "0.1"))
    assert "completed" in shown
    assert "all" in shown


def test_the_newest_flows(app: Application, cli: Cli) -> None:
    assert cli("flow", "list") == ["id  queue  name  state  age  done  failed"]
    part = {"name": "part", "queue": "etl"}
    roots = [app.queue.add_flow({"name": "sum", "queue": "sums", "children": [part]}).root.id for _ in range(3)]
    rows = [line.split() for line in cli("flow", "list")[1:]]
    assert [row[:4] for row in rows] == [[root, "sums", "sum", "blocked"] for root in roots[::-1]]
    assert [row[-4:] for row in rows] == [["0", "of", "2", "0"]] * 3
    first = cli.call("flow", "list", "--limit", "2", "--json")
    assert len(first.stdout.splitlines()) == 2
    cursor = first.stderr.split()[-1]
    (last,) = cli.json("flow", "list", "--cursor", cursor)
    assert (last["job_id"], last["counts"]["waiting"]) == (roots[0], 1)
    assert "not a cursor" in cli.refused("flow", "list", "--cursor", "x", code=2)
