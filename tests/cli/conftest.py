"""An application on a real Redis, and the commands on it."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from stratix_kombu import Application, create_app
from stratix_kombu.cli import main


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("STRATIX_") and not name.startswith("STRATIX_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def config(redis_url: str, tmp_path: Path) -> Path:
    """A file of settings: that Redis, in a namespace of its own."""
    file = tmp_path / "settings.toml"
    namespace = f"cli{uuid.uuid4().hex[:8]}"
    file.write_text(f'driver = "redis"\nnamespace = "{namespace}"\n[redis]\nurl = "{redis_url}"\n', encoding="utf-8")
    return file


@pytest.fixture
def app(config: Path) -> Iterator[Application]:
    """The application of these settings, not started."""
    app = create_app(config)
    yield app
    app.close()


def call(*arguments: str, answer: str | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, arguments, input=answer)


def own_commands(group: click.Group) -> list[tuple[str, click.Command]]:
    """The commands of a group, each with its name."""
    with click.Context(group) as context:
        found = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [(name, command) for name, command in found if command is not None]


class Cli:
    """Runs commands on the application of a file of settings."""

    def __init__(self, config: Path) -> None:
        self._config = str(config)

    def call(self, *arguments: str) -> Result:
        return call("--config", self._config, *arguments)

    def __call__(self, *arguments: str, code: int = 0) -> list[str]:
        """The lines of the output, after checking the exit code."""
        result = self.call(*arguments)
        assert result.exit_code == code, result.output
        return result.stdout.splitlines()

    def refused(self, *arguments: str, code: int) -> str:
        """What it says on stderr, when it ends with that code; nothing is printed on stdout."""
        result = self.call(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        return result.stderr

    def json(self, *arguments: str) -> list[Any]:
        """The JSON values of a list."""
        return [json.loads(line) for line in self(*arguments, "--json")]


@pytest.fixture
def cli(config: Path) -> Cli:
    return Cli(config)
