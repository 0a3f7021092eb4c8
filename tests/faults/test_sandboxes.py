"""Workers with sandboxes, in processes of their own: cancelled from here, killed, asked twice to end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, JobFailed, create_app
from tests.faults.worker_processes import ROOT
from tests.processes import children_of, lives
from tests.waiting import until

WAIT_S = 60
PROGRAM = """
import json, sys
from stratix_kombu import create_app
from tests.sandbox import handlers
app = create_app(json.loads(sys.argv[1]))
queue = app.queue.create_queue("work", concurrency=3, processor={"sandboxed": True})
for name in ("deaf", "hold_the_interpreter", "pid", "until_cancelled"):
    queue.process(name, getattr(handlers, name))
app.hook("before_close", lambda: print("closing", flush=True))
app.run()
"""


@contextmanager
def worker(settings: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, json.dumps(settings)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def noted(path: Path) -> list[int]:
    return [int(one) for one in path.read_text().split()] if path.exists() else []


def busy(app: Application, tmp_path: Path) -> list[int]:
    """Let a worker have a child that is idle, one that holds its interpreter, and one with a child of its own."""
    queue = app.queue.get_queue("work")
    deaf, holding = tmp_path / "deaf", tmp_path / "holding"
    queue.add("hold_the_interpreter", str(holding))
    queue.add("deaf", str(deaf))
    until(lambda: len(noted(deaf)) == 2 and noted(holding), WAIT_S)
    idle = queue.add("pid").wait_until_finished(timeout=WAIT_S)
    pids = [*noted(deaf), *noted(holding), idle]
    assert len(set(pids)) == 4
    assert all(lives(one) for one in pids)
    return pids


@pytest.mark.parametrize(("settings", "end"), [("redis", "killed"), ("sqs", "asked twice")], indirect=["settings"])
def test_cancel_from_another_process_and_no_child_is_left(settings: dict[str, Any], tmp_path: Path, end: str) -> None:
    """Not even one whose handler does not give up its interpreter, nor what a handler has started."""
    with create_app(settings) as app, worker(settings) as process:
        app.start()
        queue, hears, deaf = app.queue.get_queue("work"), tmp_path / "hears", tmp_path / "not"
        jobs = [queue.add("until_cancelled", str(hears)), queue.add("deaf", str(deaf), attempts=3)]
        until(lambda: noted(hears) and len(noted(deaf)) == 2, WAIT_S)
        for job in jobs:
            job.cancel()
        for job in jobs:
            with pytest.raises(JobFailed, match="cancelled"):
                job.wait_until_finished(timeout=WAIT_S)
            assert job.refresh().attempts_made == 1
        until(lambda: not any(lives(one) for one in noted(deaf)), WAIT_S)
        assert "Z" not in children_of(process.pid).values()
        pids = busy(app, tmp_path)
        if end == "killed":
            process.kill()
        else:
            assert process.stdout is not None
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == b"closing\n"
            until(lambda: process.send_signal(signal.SIGTERM) or process.poll() is not None, WAIT_S)
            assert process.returncode == 128 + signal.SIGTERM
        until(lambda: not any(lives(one) for one in pids), WAIT_S)
