"""What people see: the commands in a real terminal."""

from __future__ import annotations

import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stratix_kombu import Application
from tests.cli.command_processes import write_module
from tests.services import require
from tests.waiting import until

COLUMNS = 80


class Terminal:
    """A terminal of 80 columns, in tmux, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._tmux = [require("tmux"), "-L", f"stratix-{uuid.uuid4().hex[:8]}", "-f", "/dev/null"]
        size = ("-x", str(COLUMNS), "-y", "40")
        self._run("new-session", "-d", *size, "-c", str(folder), "env PS1='$ ' TERM=xterm-256color sh")
        self.waits_for("$")

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, text=True, timeout=30).stdout

    def type(self, *keys: str) -> None:
        """Type text, or keys such as ``Enter`` and ``C-c``."""
        self._run("send-keys", *keys)

    def command(self, *arguments: str) -> None:
        """Clear the screen and run a command; its exit code is shown behind it."""
        self.type("clear", "Enter")
        until(lambda: self.screen().strip() == "$", 30)
        line = shlex.join([sys.executable, "-m", "stratix_kombu", *arguments])
        self.type(f"{line}; echo code=$?", "Enter")

    def screen(self, colours: bool = False) -> str:
        """What is on it: long lines as one, with escapes for colours if they are asked for."""
        return self._run("capture-pane", "-p", "-J", "-S", "-100", *(["-e"] if colours else []))

    def waits_for(self, words: str) -> str:
        until(lambda: words in self.screen(), 60)
        return self.screen()

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(config: Path) -> Iterator[Terminal]:
    terminal = Terminal(write_module(config))
    yield terminal
    terminal.close()


def test_a_worker_until_ctrl_c(terminal: Terminal, app: Application) -> None:
    terminal.command("worker", "--app", "shop:app", "--processes", "2")
    terminal.waits_for("runs jobs of emails (3), reports (1)")
    job = app.queue.get_queue("emails").add("welcome", "ada")
    job.wait_until_finished(timeout=60)
    terminal.waits_for("sending to ada")
    assert "\x1b[32mINFO" in terminal.screen(colours=True).replace("[39m", "")
    terminal.type("C-c")
    shown = terminal.waits_for("code=0")
    assert "Traceback" not in shown


def test_watching_queues_until_ctrl_c(terminal: Terminal, app: Application) -> None:
    emails = app.queue.get_queue("emails")
    emails.add("welcome")
    terminal.command("queues", "--config", "settings.toml", "--watch", "--interval", "0.2")
    terminal.waits_for("emails no ")
    emails.pause()
    shown = terminal.waits_for("emails yes ")
    assert shown.count("oldest") == 1, "it is the same table, not another one"
    terminal.type("C-c")
    assert "Traceback" not in terminal.waits_for("code=130")


def test_what_cannot_be_undone_asks(terminal: Terminal, app: Application) -> None:
    queue = app.queue.get_queue("emails")
    queue.add_bulk([{"name": "welcome"}] * 1_500)
    terminal.command("obliterate", "emails", "--config", "settings.toml")
    terminal.waits_for("Remove the queue emails with all of its 1500 jobs (0 active)? [y/N]:")
    terminal.type("n", "Enter")
    assert "nothing was done" in terminal.waits_for("code=1")
    assert queue.get_job_counts()["waiting"] == 1_500
    terminal.command("drain", "emails", "--config", "settings.toml")
    terminal.waits_for("[y/N]:")
    terminal.type("C-c")
    assert "Traceback" not in terminal.waits_for("code=130")
    terminal.command("drain", "emails", "--config", "settings.toml")
    terminal.waits_for("[y/N]:")
    terminal.type("y", "Enter")
    shown = terminal.waits_for("code=0")
    assert "1500/1500" in shown
    assert "removed 1500 jobs" in shown


def test_tables_show_ids_whole(terminal: Terminal, app: Application) -> None:
    queue = app.queue.get_queue("a-queue-with-a-long-name")
    job = queue.add("a-job-with-a-long-name", dependencies=[queue.add("first")])
    job.cancel("because of " + "something " * 40)
    terminal.command("jobs", "--config", "settings.toml")
    shown = terminal.waits_for("code=0")
    assert job.id in shown
    assert "something something" in shown
    assert "\x1b[31mfailed" in terminal.screen(colours=True)
    terminal.command("repeat", "list", "--config", "settings.toml")
    assert "There are no repeatable jobs." in terminal.waits_for("code=0")
