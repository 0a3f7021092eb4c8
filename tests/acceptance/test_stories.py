"""Commands of the README and the guide, run with the files that the page shows: several processes, real servers.

A line that starts a worker is run in the background until all others have ended, and must then stop by SIGTERM with
exit code 0. ``# prints: ...`` at the end of a line is what the command must print.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pages import ROOT, STORIES, Story

BACKGROUND = re.compile(r" (worker|beat)\b")
PROGRAMS = {
    "python": [sys.executable],
    "celery": [sys.executable, "-m", "celery"],
    "stratix-kombu": [sys.executable, "-m", "stratix_kombu"],
}


@pytest.fixture
def servers(redis_url: str, sqs_url: str) -> dict[str, str]:
    """The servers of the tests instead of those that the files name: the environment takes precedence over a file."""
    redis = redis_url.rpartition("/")[0] + "/7"
    return {
        "STRATIX_NAMESPACE": f"story{uuid.uuid4().hex[:8]}",
        "STRATIX_REDIS_URL": redis,
        "STRATIX_SQS_ENDPOINT_URL": sqs_url,
        "STRATIX_SQS_WAIT_TIME_SECONDS": "1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "CELERY_BROKER_URL": redis,
        "C_FORCE_ROOT": "1",
    }


@pytest.mark.parametrize("story", STORIES, ids=str)
def test_the_commands_do_what_the_page_says(story: Story, servers: dict[str, str], tmp_path: Path) -> None:
    for name, text in story.files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    own = {name: value for name, value in os.environ.items() if not name.startswith("STRATIX_")}
    environment = {**own, **servers, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    if re.search(r"^store = ", story.files.get("stratix.toml", ""), re.MULTILINE):
        environment["STRATIX_STORE"] = servers["STRATIX_REDIS_URL"]
        del environment["STRATIX_REDIS_URL"]
    lines = story.commands.text.splitlines()
    with _workers([line for line in lines if BACKGROUND.search(line)], tmp_path, environment):
        for line in lines:
            if not BACKGROUND.search(line):
                done = subprocess.run(
                    _command(line), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90
                )
                assert done.returncode == 0, done.stdout + done.stderr
                _, _, promised = line.partition("prints: ")
                assert done.stdout.strip().endswith(promised), done.stderr


def _command(line: str) -> list[str]:
    program, *arguments = shlex.split(line, comments=True)
    return [*PROGRAMS[program], *arguments]


@contextmanager
def _workers(lines: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    logs = [folder / f"worker{number}.log" for number in range(len(lines))]
    processes = []
    try:
        for line, log in zip(lines, logs, strict=True):
            with log.open("w") as stream:
                processes.append(
                    subprocess.Popen(_command(line), cwd=folder, env=environment, stdout=stream, stderr=stream)
                )
        yield
        for process, log in zip(processes, logs, strict=True):
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
