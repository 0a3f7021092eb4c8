"""Signals of the system that our own worker answers, and whom it refuses to run for, as Celery's does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from celery.exceptions import WorkerLostError

from tests.celery.conftest import lines
from tests.celery.workers import ROOT, Project
from tests.waiting import until

WAIT_S = 60

LEASE_MS = 120_000
"""Much longer than a test: what another worker has before that was handed back."""


@pytest.mark.parametrize("host", ["own", "own by celery"])
def test_sighup_and_sigusr1(on_redis: Project, notes: str, host: str) -> None:
    """It tells what it executes; and starts again in the same process, when what runs has ended."""
    note, pid = on_redis.task("note"), on_redis.task("pid")
    with on_redis.worker(host, 2) as worker:
        slow = note.delay(notes, "ran", 2)
        until(lambda: Path(notes).exists() and lines(notes) == ["ran"], WAIT_S)
        worker.process.send_signal(signal.SIGUSR1)
        until(lambda: "in note_" in worker.text(), WAIT_S)
        worker.process.send_signal(signal.SIGHUP)
        assert slow.get(timeout=WAIT_S) == "ran"
        until(lambda: worker.text().count("runs jobs of") == 2, WAIT_S)
        assert pid.delay().get(timeout=WAIT_S) == worker.process.pid
        assert lines(notes) == ["ran"]


@pytest.mark.parametrize("processes", [1, 2])
def test_sigquit_hands_back_at_once(on_redis: Project, notes: str, tmp_path: Path, processes: int) -> None:
    """Also when the worker stops already; but what ends within the soft timeout has ended."""
    patient = {"lease_duration": LEASE_MS, "redelivery_grace": LEASE_MS}
    early_notes, heard = tmp_path / "early", tmp_path / "heard"
    heard.touch()
    more = {"worker": patient, "worker_soft_shutdown_timeout": 2.0, "signals": str(heard)}
    worker = on_redis.start_worker("own", 3, f"--processes={processes}", **more)
    late = on_redis.task("hang_once").delay(notes, "late")
    early = on_redis.task("note").delay(str(early_notes), "early", 60)
    until(lambda: lines(notes) == ["late"] and early_notes.exists(), WAIT_S)
    in_time = on_redis.task("note").delay(str(tmp_path / "in time"), "in time", 0.5)
    until(lambda: (tmp_path / "in time").exists(), WAIT_S)
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping, waiting for" in worker.text(), WAIT_S)
    worker.process.send_signal(signal.SIGQUIT)
    assert worker.process.wait(20) == 0, worker.text()
    assert in_time.state == "SUCCESS", worker.text()
    assert on_redis.queue.get_job_counts()["active"] == 0, worker.text()
    assert type(early.result) is WorkerLostError
    assert lines(str(heard)).count("worker_shutdown") == processes
    with on_redis.worker("own", worker=patient):
        assert late.get(timeout=30) == "late"


def test_a_cold_shutdown_is_told(on_redis: Project) -> None:
    with on_redis.worker("own", imports=["tests.celery.told"]) as worker:
        worker.process.send_signal(signal.SIGQUIT)
        assert worker.process.wait(20) == 0
        assert "told shutting down: SIGQUIT Cold 0" in worker.text()


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
@pytest.mark.parametrize(
    ("command", "force"),
    [
        ("celery -A {} worker", False),
        ("stratix_kombu -A {} worker", False),
        ("celery -A {} stratix worker --max-tasks-per-child 3", False),
        ("stratix_kombu -A {} worker --processes 2", False),
        ("stratix_kombu -A {} worker --processes 2", True),
    ],
)
def test_root_and_pickles(on_redis: Project, command: str, force: bool) -> None:
    """Refused with exit code 1, before anything is consumed; warned, once for all processes, where it is forced."""
    environment = on_redis.environment(accept_content=["json", "pickle"])
    if not force:
        del environment["C_FORCE_ROOT"]
    result = on_redis.task("pid").delay()
    arguments = [sys.executable, "-m", *command.format("tests.celery.project").split()]
    process = subprocess.Popen(
        arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        if force:
            assert result.get(timeout=WAIT_S)
            process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert said.count("absolutely not recommended") == force, said
    assert ("is a very bad idea" in said) is not force, said
    if not force:
        assert process.returncode == 1, said
        assert result.state == "PENDING"
