"""Daemonization, and the parts of the pages on workers and periodic tasks that are about processes:
https://docs.celeryq.dev/en/stable/userguide/daemonizing.html"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.celery.beside import value
from tests.celery.workers import ROOT, Project
from tests.waiting import WAIT_S, until


def on_both_sides(redis_url: str, script: Callable[[Project], Any]) -> Any:
    """What a script answers with stock Celery and with the bridge, which must be the same."""
    projects = [Project(redis_url, redis_url, conf={"bridge": bridge}) for bridge in (False, True)]
    try:
        with ThreadPoolExecutor(2) as pool:
            stock, bridge = pool.map(script, projects)
    finally:
        for one in projects:
            one.app.backend.remove_pending_result = lambda result: result
            one.close()
    assert bridge == stock
    return bridge


def take_no_more(project: Project, worker: str) -> None:
    """Have a worker consume no longer, and wait until it knows that all its tasks have ended."""
    control, queue = project.app.control, project.app.conf.task_default_queue
    until(lambda: control.cancel_consumer(queue, reply=True, timeout=5, limit=1, destination=[worker]), WAIT_S)
    inspect = control.inspect([worker], timeout=5, limit=1)
    until(lambda: [(inspect.reserved() or {}).get(worker), (inspect.active() or {}).get(worker)] == [[], []], WAIT_S)


@pytest.mark.timeout(240)
def test_multi(redis_url: str, tmp_path: Path) -> None:
    """ "celery multi start … restart … stopwait", with %n in the paths of pid and log."""

    def script(project: Project) -> Any:
        folder = tmp_path / project.prefix
        folder.mkdir()
        options = [f"--pidfile={folder}/%n.pid", f"--logfile={folder}/%n%I.log"]

        def multi(command: str) -> int:
            worker = ["-A", "tests.celery.project", "-c", "1", "-Q", project.app.conf.task_default_queue, "-l", "INFO"]
            given = [*options, *(worker if command != "stopwait" else [])]
            line = [sys.executable, "-m", "celery", "multi", command, f"w{project.prefix}", *given]
            quiet = subprocess.DEVNULL
            done = subprocess.run(line, cwd=ROOT, env=project.environment(), timeout=90, stdout=quiet, stderr=quiet)
            return done.returncode

        pid = folder / f"w{project.prefix}.pid"
        found: list[Any] = [multi("start"), value(project.task("add").delay(1, 2))]
        first = pid.read_text()
        found += [multi("restart"), value(project.task("add").delay(2, 3))]
        until(lambda: pid.exists() and pid.read_text().endswith("\n") and pid.read_text() != first, WAIT_S)
        log = (folder / f"w{project.prefix}.log").read_text()
        found += [multi("stopwait"), pid.exists(), "ready." in log, "proj.add" in log]
        return found

    assert on_both_sides(redis_url, script) == [0, 3, 0, 5, 0, False, True, True]


def test_files_of_workers(redis_url: str, tmp_path: Path) -> None:
    """ "-f %n-%i.log will result in three log files"; "--statedb" names the file of what was revoked; "-B" embeds
    beat in the worker.

    It is told to stop when it holds no task. Celery 5.7 gives up a task that a child has been sent and has not yet
    accepted; a child that runs one of these waits 30 s for somebody to read its result, with the bridge or without it
    (``GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT`` in billiard)."""

    def script(project: Project) -> Any:
        folder = tmp_path / project.prefix
        folder.mkdir()
        entry = {"task": "proj.add", "schedule": 0.3, "args": [40, 2]}
        options = [
            "-n",
            f"{project.prefix}@test",
            "-Q",
            project.app.conf.task_default_queue,
            f"--statedb={folder}/%n.state",
        ]
        files = [f"--logfile={folder}/%n-%i.log", "-l", "INFO", "-B", "-s", f"{folder}/schedule"]
        command = [sys.executable, "-m", "celery", "-A", "tests.celery.project", "worker", "-c", "2", *options, *files]
        environment = project.environment(beat_schedule={"often": entry})

        def run(until_it: Callable[[], Any]) -> int:
            with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
                try:
                    until(until_it, WAIT_S)
                    take_no_more(project, f"{project.prefix}@test")
                finally:
                    process.terminate()
                return process.wait(WAIT_S)

        def logged(text: str) -> Callable[[], bool]:
            return lambda: any(text in file.read_text() for file in folder.glob("*.log"))

        found = [run(logged(": 42"))]
        found.append(sorted(file.name.removeprefix(project.prefix) for file in folder.glob("*.log")))
        found.append(bool([*folder.glob("*.state*")]))
        return found

    assert on_both_sides(redis_url, script) == [0, ["-0.log", "-1.log", "-2.log"], True]
