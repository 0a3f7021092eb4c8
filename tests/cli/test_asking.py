"""What removes or overwrites anything asks first, or requires ``--yes``: all commands are gone through."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from stratix_kombu import Application, create_app
from stratix_kombu.cli import main
from tests.cli.conftest import call
from tests.cli.test_help import commands

ASK = {
    "bulk": "bulk remove emails --state waiting",
    "clean": "clean emails --state waiting",
    "dead-letters redrive": "dead-letters redrive emails",
    "drain": "drain emails",
    "job remove": "job remove first",
    "obliterate": "obliterate emails",
    "repeat remove": "repeat remove emails nightly",
    "store copy": "store copy {jobs} {folder}/new.db",
}
"""How each is called."""
READ = (
    *("check", "dead-letters list", "events", "flow list", "flow show", "health", "job logs", "job show", "jobs"),
    *("metrics", "queues", "reasons", "repeat list", "repeat runs", "workers"),
)
RUN = ("beat", "dashboard", "demo", "worker")
KEEP = {
    "job cancel": "the job stays, failed, and can be retried",
    "job priority": "can be changed again",
    "job promote": "the job runs",
    "job rerun": "the job runs again; to discard its result is what is asked for",
    "job retry": "the job runs again",
    "leave": "--send-delayed hands tasks over; none is lost",
    "new": "overwrites nothing, see test_new",
    "pause": "see resume",
    "repeat add": "says what is to be, so that a deployment can say it each time",
    "repeat pause": "see repeat resume",
    "repeat resume": "see repeat pause",
    "repeat run": "adds",
    "resume": "see pause",
    "store migrate": "keeps all rows",
}
"""Commands that change something and do not ask, and why not."""


@pytest.fixture
def jobs(tmp_path: Path) -> Path:
    """A file of five jobs that wait and a repeatable job."""
    path = tmp_path / "jobs.db"
    with open_jobs(path) as app:
        queue = app.queue.get_queue("emails")
        queue.add("n", job_id="first")
        queue.add_bulk([{"name": "n"}] * 4)
        queue.add_repeatable_job("n", every=3_600_000, key="nightly")
    return path


def open_jobs(path: Path) -> Application:
    return create_app({"store": f"sqlite:///{path}"})


def content(path: Path) -> list[Any]:
    with sqlite3.connect(path) as database:
        return list(database.iterdump())


def given(command: str, jobs: Path) -> list[str]:
    words = ASK[command].format(jobs=jobs, folder=jobs.parent).split()
    return words if command == "store copy" else ["--store", str(jobs), *words]


def test_each_command_is_known_to_ask_or_to_have_nothing_to_ask() -> None:
    known = {*ASK, *READ, *RUN, *KEEP}
    assert {name for name, _ in commands(main)} == known
    having = {name for name, command in commands(main) if any("--yes" in one.opts for one in command.params)}
    assert having == ASK.keys()


@pytest.mark.parametrize("command", ASK)
def test_without_a_terminal_and_without_yes_nothing_is_done(jobs: Path, command: str) -> None:
    before = content(jobs)
    done = call(*given(command, jobs))
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.endswith("? There is no terminal to ask on: pass --yes.\n"), done.stderr
    assert content(jobs) == before
    with open_jobs(jobs.parent / "new.db") as new:
        assert new.queue.get_queue_names() == []


@pytest.mark.parametrize("command", ASK)
def test_with_yes_it_is_done(jobs: Path, command: str) -> None:
    done = call(*given(command, jobs), "--yes")
    assert (done.exit_code, "?" in done.output) == (0, False), done.output
    with open_jobs(jobs if command != "store copy" else jobs.parent / "new.db") as app:
        queue = app.queue.get_queue("emails")
        left = (sum(queue.get_job_counts().values()), len(queue.get_repeatable_jobs()))
    kept = {"repeat remove": (5, 0), "job remove": (4, 1), "dead-letters redrive": (5, 1), "store copy": (5, 1)}
    assert left == kept.get(command, (0, 1))


@pytest.mark.parametrize("command", ASK)
def test_on_a_terminal_it_asks_and_no_is_an_answer(jobs: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str, **_options: Any) -> bool:
        asked.append(question)
        return False

    class Terminal:
        """Standard input of which ``isatty`` says yes; nothing else of it is read here."""

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(click, "confirm", answer)
    monkeypatch.setattr(sys, "stdin", Terminal())
    before = content(jobs)
    with pytest.raises(click.ClickException, match="nothing was done"):
        main.main(given(command, jobs), standalone_mode=False)
    assert len(asked) == 1
    assert asked[0].endswith("?")
    assert content(jobs) == before


def test_what_is_asked_says_how_many_and_of_which_age(jobs: Path) -> None:
    def asked(*words: str) -> str:
        return call("--store", str(jobs), *words).stderr.removeprefix("Error: ").partition("?")[0]

    assert asked("clean", "emails") == "Remove 0 completed jobs from emails"
    assert asked("clean", "emails", "--state", "waiting") == "Remove 5 waiting jobs from emails"
    older = asked("clean", "emails", "--state", "waiting", "--grace", "7 days", "--limit", "3")
    assert older == "Remove at most 3 waiting jobs older than 7 d from emails"
    assert call("--store", str(jobs), "pause", "emails").exit_code == 0
    assert asked("clean", "emails", "--state", "waiting") == "Remove 5 waiting jobs from emails"
    assert asked("job", "remove", "a", "b") == "Remove 2 jobs, and fail what depends on them"


def test_nothing_to_remove_is_nothing_to_ask(jobs: Path) -> None:
    done = call("--store", str(jobs), "job", "remove")
    assert (done.exit_code, done.stderr) == (0, "no ids were given: nothing to do\n")
