"""What a person types wrong: the message says which option it is, what is wrong and what to write."""

from __future__ import annotations

import pytest

from stratix_kombu import Application
from tests.cli.conftest import Cli

UNIT = "'60000' has no unit: write '60000 ms', '60000 s' or '60000 minutes'"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("repeat add ops check --every", "--every"),
        ("jobs --since", "--since"),
        ("bulk retry ops --since", "--since"),
        ("clean ops --grace", "--grace"),
        ("health --within", "--within"),
    ],
)
def test_an_interval_names_its_unit(app: Application, cli: Cli, command: str, option: str) -> None:
    assert f"Invalid value for '{option}': {UNIT}\n" in cli.refused(*command.split(), "60000", code=2)
    wrong = cli.refused(*command.split(), "10 minuts", code=2)
    assert f"Invalid value for '{option}': '10 minuts' is not an interval; did you mean 'minutes'?" in wrong


@pytest.mark.parametrize("more", [["--hours", "2"], ["--by-name"], ["--hours", "2", "--by-name"]])
def test_metrics_of_minutes_or_of_hours(app: Application, cli: Cli, more: list[str]) -> None:
    app.queue.get_queue("ops").add("check")
    assert "--minutes stands alone: give it, or --hours" in cli.refused("metrics", "--minutes", "5", *more, code=2)
    assert len(cli("metrics", "ops")) == 11
    assert len(cli("metrics", "ops", "--minutes", "5")) == 6
    assert len(cli("metrics", "ops", "--hours", "2")) == 3


def test_an_interval_in_milliseconds_or_seconds(app: Application, cli: Cli) -> None:
    for key, every in (("a", "60000 ms"), ("b", "60s"), ("c", "1 minute")):
        cli("repeat", "add", "ops", "check", "--every", every, "--key", key)
    assert {one.every for one in app.queue.get_repeatable_jobs()} == {60_000}


@pytest.mark.parametrize("command", ["run", "runs", "pause", "resume", "remove"])
def test_a_key_of_no_repeatable_job_names_the_command_that_lists_them(app: Application, cli: Cli, command: str) -> None:
    cli("repeat", "add", "ops", "check", "--every", "1 minute", "--key", "right")
    said = cli.refused("repeat", command, "ops", "wrong", code=1)
    assert said == "Error: queue 'ops' has no repeatable job with the key 'wrong': see 'repeat list'\n"
    assert cli("repeat", "list")[1].split()[:2] == ["ops", "right"]


def test_data_that_is_a_text_without_quotes(app: Application, cli: Cli) -> None:
    said = cli.refused("repeat", "add", "ops", "check", "--every", "1 s", "--data", "hello", code=2)
    assert """'hello' is not JSON: write '"hello"' for a text""" in said


def test_a_module_without_that_attribute_and_without_an_application(cli: Cli) -> None:
    said = cli.refused("queues", "--app", "json:nosuch", code=2)
    assert said == "Error: 'json' has no 'nosuch'\n", "and not a list of all that it has"
    assert cli.refused("queues", "--app", "json:lods", code=2) == "Error: 'json' has no 'lods'; did you mean 'loads'?\n"


@pytest.mark.parametrize("verb", ["retry", "cancel", "promote", "rerun", "logs", "priority"])
def test_a_command_about_one_job_without_job(cli: Cli, verb: str) -> None:
    assert f"no such command {verb!r}; write 'job {verb} ID'\n" in cli.refused(verb, "4711", code=2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("1e400", "'1e400' is not JSON: 1e400 is too large for a number"),
        ('{"a": [-2e999]}', "is not JSON: -2e999 is too large for a number"),
        ("NaN", "'NaN' is not JSON: NaN is no number of JSON"),
        ("[1, -Infinity]", "is not JSON: -Infinity is no number of JSON"),
    ],
)
def test_a_number_that_json_does_not_have(cli: Cli, data: str, words: str) -> None:
    said = cli.refused("repeat", "add", "ops", "check", "--every", "1 h", "--data", data, code=2)
    assert f"Invalid value for --data: {data!r}"[:30] in said
    assert words in said


def test_a_level_may_be_written_as_pythons_logging_does(cli: Cli) -> None:
    """As people do who come from Celery."""
    said = cli.refused("worker", "--app", "not_there:app", "--log-level", "INFO", code=2)
    assert "'not_there'" in said
    assert "--log-level" not in said
