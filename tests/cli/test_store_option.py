"""``--store``: a file, and nothing else is configured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import create_app
from tests.cli.command_processes import running

MODULE = """
from stratix_kombu import create_app

app = create_app({settings})


@app.queue.get_queue("emails").process("welcome")
def welcome(job):
    return f"sent to {{job.data}}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(MODULE.format(settings=""))
    return tmp_path


def cli(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STRATIX_")}
    command = [sys.executable, "-m", "stratix_kombu", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_workers_of_a_file(folder: Path) -> None:
    """Several of them, and another process adds; the other commands look into the same file."""
    named = ["--app", "shop:app", "--store", "jobs.db"]
    with running(folder, "worker", *named, "--processes", "2") as worker:
        worker.says("emails (1)")
        worker.says("sqlite (store sqlite:///jobs.db)")
        settings: Any = {"store": f"sqlite:///{folder}/jobs.db"}
        with create_app(settings) as app:
            assert app.queue.get_queue("emails").add("welcome", "ada").wait_until_finished(timeout=30) == "sent to ada"
        queue = json.loads(cli(folder, "queues", *named, "--json").stdout)
        assert (queue["name"], queue["counts"]["completed"]) == ("emails", 1)
        assert worker.ended(signal.SIGTERM) == 0, worker.err
    checked = cli(folder, "check", *named)
    assert checked.returncode == 0
    assert "SQLite 3." in checked.stdout


def test_a_file_that_cannot_be_used(folder: Path) -> None:
    (folder / "jobs.db").write_text("no database, but long enough to be looked at" * 100)
    named = ["--app", "shop:app", "--store", "jobs.db"]
    checked = cli(folder, "check", *named)
    assert (checked.returncode, "is no database of SQLite" in checked.stdout) == (1, True)
    health = cli(folder, "health", *named)
    assert (health.returncode, "is no database of SQLite" in health.stdout + health.stderr) == (2, True)
    assert cli(folder, "worker", *named).returncode == 2


def test_an_application_that_names_its_store(folder: Path) -> None:
    (folder / "shop.py").write_text(MODULE.format(settings='{"driver": "memory"}'))
    done = cli(folder, "queues", "--app", "shop:app", "--store", "jobs.db")
    assert (done.returncode, "itself configures where its jobs are" in done.stderr) == (2, True)
    assert not (folder / "jobs.db").exists()
    secret = cli(folder, "queues", "--app", "shop:app", "--store", "redis://:s3cret@localhost/0")
    assert (secret.returncode, "s3cret" in secret.stderr + secret.stdout) == (2, False)
