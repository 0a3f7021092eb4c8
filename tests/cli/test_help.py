"""The help, and what the guide says of the commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from stratix_kombu.cli import celery_stratix, main
from tests.cli.conftest import call, own_commands
from tests.pages import PAGES, snippets

PAGE = PAGES["examples/guide/command-line.md"]


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in own_commands(group):
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def test_the_help_says_what_to_do_first() -> None:
    shown = call("--help").stdout
    for words in ("stratix-kombu demo", "STRATIX_APP", "stratix.toml", "Exit codes:", "_STRATIX_KOMBU_COMPLETE"):
        assert words in shown
    overview = shown.partition("Commands:")[2].partition("The application is")[0]
    assert "..." not in overview, "each command says in one short line what it does"


@pytest.mark.parametrize(("name", "command"), list(commands(main)))
def test_every_command_and_option_is_explained(name: str, command: click.Command) -> None:
    shown = call(*name.split(), "--help")
    assert shown.exit_code == 0
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, f"{name} {option.name}"
    lines = [part for line in command.help.splitlines() for part in re.split(r" && | \| | > |  ", line)]
    examples = [shlex.split(line) for line in lines if re.search(rf"(kombu|stratix)( -A \S+)? {name}\b", line)]
    assert examples, f"{name} has an example"
    for words in examples:
        given = words[words.index("stratix" if words[0] == "celery" else "stratix-kombu") + 1 :]
        main.make_context("stratix-kombu", given).close()
        command.make_context(name, given[given.index(name.split()[-1]) + 1 :]).close()


def test_the_guide_names_every_command_and_no_other() -> None:
    named = set()
    for row in re.findall(r"^\| (`.*?) \|", PAGE, re.M):
        words = [one.split() for one in re.findall(r"`([^`]*)`", row)]
        group = words[0][0] if isinstance(dict(own_commands(main)).get(words[0][0]), click.Group) else ""
        for one in words:
            if not one[0].startswith("--"):
                named.add(" ".join([group, *one] if group and one[0] != group else one).removesuffix(" --follow"))
    assert named == {name for name, _ in commands(main)}
    assert {name for name, _ in commands(celery_stratix)} == named - {"beat", "demo", "new"}


def test_the_commands_in_the_guide_can_be_given() -> None:
    lines = [part for snippet in snippets("sh") for line in snippet.text.splitlines() for part in line.split("|")]
    words = [shlex.split(line, comments=True) for line in lines]
    given = [(main, line[1:]) for line in words if line[:1] == ["stratix-kombu"]]
    given += [(celery_stratix, line[4:]) for line in words if line[:1] == ["celery"] and line[3] == "stratix"]
    assert len(given) >= 8
    for root, arguments in given:
        group: click.Command = root
        with click.Context(root) as context:
            while isinstance(group, click.Group):
                name, found, arguments = group.resolve_command(context, arguments)
                assert found is not None, name
                group = found
        missing = [] if arguments else ["id"]  # xargs adds it
        group.make_context(name, [*arguments, *missing])


def test_help_and_completion_load_nothing_heavy() -> None:
    """So that they are quick."""
    heavy = {"celery", "kombu", "redis", "rich", "stratix_kombu.queue"}
    help_ = "from stratix_kombu.cli import main; main(['--help'], standalone_mode=False)"
    assert loaded_by(help_) & heavy == set()


def test_celery_loads_no_command_of_ours_that_is_not_used() -> None:
    """Each of its commands loads the group, for the entry point, also in projects that do not use the bridge."""
    own = {one for one in loaded_by("import celery.bin.celery") if one.startswith("stratix_kombu.")}
    light = ("cli", "cli.commands", "cli.logs", "cli.lookup", "cli.streams", "config", "errors", "foreign", "hints")
    assert own == {f"stratix_kombu.{one}" for one in (*light, "misplaced")}


def loaded_by(program: str) -> set[str]:
    code = f"{program}\nimport sys\nprint('loaded:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.partition("loaded:")[2].split())
