"""Output where characters are missing, where streams are closed or full, and where the reader has gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stratix_kombu import Application
from stratix_kombu.cli import main
from stratix_kombu.model.text import printable
from tests.cli.command_processes import write_module
from tests.waiting import WAIT_S, until

NAME = "größe-日本 \U0001f600 \u202eabc\u2069"
SAID = "grund: größe \u2014 日本\x1b[2J\x9b31m\u202e"
COMMANDS = (
    ["queues"],
    ["jobs"],
    ["job", "show", "first"],
    ["job", "logs", "first"],
    ["flow", "show", "first"],
    ["flow", "show", "first", "--summary"],
    ["flow", "list"],
    ["events"],
    ["metrics"],
    ["metrics", "--prometheus"],
    ["repeat", "list"],
    ["repeat", "runs", "mail", "hourly"],
    ["dead-letters", "list", "dead"],
    ["check"],
    ["health"],
    ["repeat", "pause", "mail", "mail:hourly"],
    ["repeat", "remove", "mail", "mail:hourly", "--yes"],
)
HAVE_JSON = (
    "queues",
    "jobs",
    "events",
    "metrics",
    "flow list",
    "repeat list",
    "repeat runs",
    "dead-letters list",
    "check",
)


@pytest.fixture
def filled(app: Application) -> Application:
    """Jobs whose names, data and reasons are of all scripts."""
    queue = app.queue.create_queue("mail", dead_letter="dead")
    first = queue.add(NAME, {"größe": SAID}, job_id="first")
    first.log(SAID)
    first.update_progress(SAID)
    queue.add(NAME, job_id="second", dependencies=[first])
    first.cancel(SAID)
    bad = queue.add(NAME, job_id="bad")
    queue.process(lambda job: (_ for _ in ()).throw(ValueError(SAID)))
    queue.add_repeatable_job(NAME, every=3_600_000, key="hourly")
    app.start(queues=["mail"])
    until(lambda: bad.refresh().state == "failed", WAIT_S)
    return app


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "utf-8"])
def test_every_command_shows_what_the_encoding_does_not_have(filled: Application, config: Path, encoding: str) -> None:
    runner = CliRunner(charset=encoding)

    def run(*arguments: str) -> bytes:
        result = runner.invoke(main, ["--config", str(config), *arguments])
        assert not isinstance(result.exception, (UnicodeError, OSError)), result.exception
        assert result.exit_code in (0, 1), result.output
        return result.stdout_bytes

    known = NAME.encode(encoding, "backslashreplace")
    shown = b""
    for arguments in COMMANDS:
        out = run(*arguments)
        assert not {0x1B, 0x9B} & set(out) if encoding != "utf-8" else b"\x1b" not in out
        assert "\u202e" not in out.decode(encoding), "it would turn round what follows"
        shown += out
        if " ".join(arguments) in HAVE_JSON or arguments[:2] in (["job", "show"], ["flow", "show"]):
            text = run(*arguments, "--json")
            values = [json.loads(text)] if b"\n  " in text else [json.loads(line) for line in text.splitlines()]
            assert values or arguments[0] == "dead-letters"
            assert text.isascii() or encoding == "utf-8"
            assert not {0x1B} & set(text)
            assert "\u202e" not in text.decode(encoding)
    assert known.split()[0] in shown
    assert (b"\\u65e5" in shown) is (encoding != "utf-8")


def test_json_says_the_same_everywhere(filled: Application, config: Path) -> None:
    for encoding in ("utf-8", "ascii"):
        result = CliRunner(charset=encoding).invoke(main, ["--config", str(config), "job", "show", "first", "--json"])
        found = json.loads(result.stdout)
        assert (found["name"], found["data"], found["failed_reason"]) == (NAME, {"größe": SAID}, SAID)


def test_what_changes_the_order_of_characters_is_escaped() -> None:
    assert printable("a\u202eb\u2066c\u200fd\u2028e\x9bf\x1bg\ufeffה") == (
        "a\\u202eb\\u2066c\\u200fd\\u2028e\\x9bf\\x1bg\ufeffה"
    )


# -- streams that are not there -------------------------------------------------------------------


@pytest.fixture
def folder(config: Path) -> Path:
    return write_module(config)


def shell(folder: Path, command: str, **more: Any) -> subprocess.CompletedProcess[str]:
    line = command.replace("stratix-kombu", f"{sys.executable} -m stratix_kombu")
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, **more
    )


@pytest.mark.parametrize(
    "streams", ["2>&-", ">/dev/full 2>/dev/full", ">&- 2>&- <&- --log-format json", "2>/dev/full --log-format json"]
)
def test_a_worker_starts_without_a_stream_to_log_to(folder: Path, app: Application, streams: str) -> None:
    command = f"exec {sys.executable} -m stratix_kombu worker --app shop:app {streams}"
    worker = subprocess.Popen(["sh", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        job = app.queue.get_queue("emails").add("welcome", "ada")
        job.wait_until_finished(timeout=60)
        if Path("/proc").exists():
            opened = [os.readlink(f"/proc/{worker.pid}/fd/{number}") for number in range(3)]
            assert not any("socket" in one for one in opened), "no connection has the number of a standard stream"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize("command", ["--help", "jobs --json", "job show one"])
def test_a_full_disk_is_one_line(folder: Path, app: Application, command: str) -> None:
    app.queue.get_queue("emails").add("welcome", job_id="one")
    done = shell(folder, f"STRATIX_CONFIG=settings.toml stratix-kombu {command} >/dev/full")
    assert (done.returncode, done.stderr) == (2, "Error: the output cannot be written: No space left on device\n")


@pytest.mark.parametrize("command", ["jobs --limit 0", "jobs --limit 0 --ids", "events --limit 5000 --follow --json"])
def test_a_reader_that_goes_is_no_error(folder: Path, app: Application, command: str) -> None:
    app.queue.get_queue("emails").add_bulk([{"name": "welcome", "data": "x" * 200}] * 2_000)
    done = shell(folder, f"{{ stratix-kombu {command} --config settings.toml; echo $? >&2; }} | head -1")
    assert done.stderr == "0\n"
    assert len(done.stdout.splitlines()) == 1


def test_what_was_asked_for_is_done_though_nobody_reads(folder: Path, app: Application) -> None:
    """Nor does the exit code say that all is well because the answer could not be written."""
    queue = app.queue.get_queue("emails")
    queue.add_bulk([{"name": "welcome", "opts": {"delay": 3_600_000}}] * 5)
    script = """
        stratix-kombu jobs --ids | { stratix-kombu job promote -; echo $? >&2; } | :
        { stratix-kombu pause emails reports; echo $? >&2; } | :
        { stratix-kombu health; echo $? >&2; } | :
        { stratix-kombu health --json; echo $? >&2; } | :
    """
    done = shell(folder, f"export STRATIX_CONFIG=settings.toml; {script}")
    assert queue.get_job_counts()["waiting"] + queue.get_job_counts()["paused"] == 5
    assert all(app.queue.get_queue(name).is_paused() for name in ("emails", "reports"))
    assert [line for line in done.stderr.splitlines() if line.isdigit()] == ["0", "0", "1", "1"]


def test_a_stderr_that_is_full_changes_nothing(folder: Path) -> None:
    done = shell(folder, "STRATIX_DRIVER=memory stratix-kombu queues 2>/dev/full")
    assert (done.returncode, done.stdout.split()[0]) == (0, "queue"), "the note that stderr does not take is left out"
    assert shell(folder, "stratix-kombu queues --app nowhere >/dev/full 2>/dev/full").returncode == 2


def test_without_stdout_nothing_is_said(folder: Path, app: Application) -> None:
    app.queue.get_queue("emails").add("welcome")
    done = shell(folder, "stratix-kombu queues --config settings.toml >&-")
    assert (done.returncode, done.stderr) == (0, "")
