"""Queues of which nothing is known: a typing error, or a queue before its first job."""

from __future__ import annotations

from pathlib import Path

import pytest

from stratix_kombu import Application
from tests.cli.conftest import Cli

EACH = (
    "queues",
    "jobs",
    "reasons",
    "metrics",
    "events",
    "pause",
    "resume",
    "drain --yes",
    "clean --yes",
    "obliterate --yes",
    "repeat list",
    "repeat add NAME n --every 1s",
    "bulk retry NAME --yes",
    "job retry --state failed --queue",
    "dead-letters list",
    "dead-letters redrive --yes",
)


@pytest.mark.parametrize("command", EACH)
def test_a_command_on_a_queue_of_which_nothing_is_known_says_so(app: Application, cli: Cli, command: str) -> None:
    words = command.split() if "NAME" in command else [*command.split(), "NAME"]
    app.queue.get_queue("emails").add("welcome")
    typed = cli.call(*(word.replace("NAME", "emial") for word in words))
    note = "note: nothing is known of a queue 'emial': no job, no worker, no setting; did you mean 'emails'?\n"
    assert (typed.exit_code, typed.stderr) == (0, note), "and it does what was asked"


def test_a_queue_can_be_paused_before_its_first_job(app: Application, cli: Cli) -> None:
    first = cli.call("pause", "emails")
    assert (first.exit_code, first.stdout) == (0, "paused emails\n")
    assert first.stderr == "note: nothing is known of a queue 'emails': no job, no worker, no setting\n"
    assert app.queue.get_queue("emails").is_paused()
    again = cli.call("resume", "emails")
    assert (again.exit_code, again.stderr) == (0, ""), "it has a setting now"
    app.queue.get_queue("reports").add("n")
    assert cli.call("jobs", "reports").stderr == ""


def test_a_queue_is_known_by_its_configuration_or_a_repeatable_job(app: Application, cli: Cli, config: Path) -> None:
    config.write_text(f"queues = {{ reports = {{ concurrency = 2 }} }}\n{config.read_text('utf-8')}", "utf-8")
    app.queue.get_queue("ops").add_repeatable_job("n", every=1000)
    for name in ("reports", "ops"):
        shown = cli.call("jobs", name)
        assert (shown.exit_code, shown.stderr) == (0, "")
    assert cli.call("jobs", "nobody").stderr.endswith("no setting; known: ops, reports\n")


def test_of_many_queues_only_one_that_is_near_is_named(app: Application, cli: Cli) -> None:
    for number in range(13):
        app.queue.get_queue(f"shop-{number}").add("n")
    assert cli.call("jobs", "nobody").stderr.endswith("no setting\n")
    assert cli.call("jobs", "shop_3").stderr.endswith("no setting; did you mean 'shop-3'?\n")
