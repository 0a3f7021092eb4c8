"""What a Celery worker does with its jobs when it is asked to stop."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import WorkerLostError

from stratix_kombu.testing.stores import audit
from tests.celery.conftest import lines
from tests.celery.test_canvas import value
from tests.celery.workers import Project
from tests.waiting import WAIT_S, until

LEASE_MS = 120_000
"""Much longer than a test: what another worker has before that was handed back."""


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_leases_are_renewed_while_a_worker_drains(on_redis: Project, tmp_path: Path, pool: str) -> None:
    """SIGTERM: Celery waits for what runs, however long, and nobody else takes it meanwhile."""
    gate = tmp_path / "gate"
    worker = on_redis.start_worker(pool, worker={"lease_duration": 2000})
    running = on_redis.task("progress").delay(str(gate))
    until(lambda: running.state == "PROGRESS", WAIT_S)
    with on_redis.worker(worker={"lease_duration": 2000}):
        worker.process.send_signal(signal.SIGTERM)
        heard = time.monotonic()
        until(lambda: time.monotonic() - heard > 4.5)  # more than two leases
        gate.touch()
        assert value(running) == "done"
        worker.process.wait(WAIT_S)
    assert worker.process.returncode == 0
    assert on_redis.queue.get_job(running.id).attempts_started == 1
    assert on_redis.queue.get_workers() == []


def test_a_rolling_restart_loses_and_repeats_nothing(on_redis: Project, notes: str) -> None:
    note, results = on_redis.task("note"), list[Any]()

    def load() -> None:
        for number in range(len(results), len(results) + 30):
            results.append(note.delay(notes, f"task {number}", 0.05))

    with ExitStack() as stack:
        workers = [stack.enter_context(on_redis.worker()) for _ in range(2)]
        for worker in workers:
            load()
            stack.enter_context(on_redis.worker())
            load()
            worker.process.send_signal(signal.SIGTERM)
            worker.process.wait(WAIT_S)
            assert worker.process.returncode == 0
        assert [value(one) for one in results] == [f"task {number}" for number in range(120)]
    assert sorted(lines(notes)) == sorted(f"task {number}" for number in range(120))


def test_a_cold_shutdown_hands_back_at_once(
    project: Project, notes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a container is stopped: SIGTERM stands for SIGQUIT, and running tasks have the soft timeout to end in."""
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")
    patient = {"lease_duration": LEASE_MS, "redelivery_grace": LEASE_MS}
    early_notes = tmp_path / "early"
    worker = project.start_worker("prefork", 3, worker=patient, worker_soft_shutdown_timeout=2.0)
    late = project.task("hang_once").delay(notes, "late")
    early = project.task("note").delay(str(early_notes), "early", 60)
    until(lambda: lines(notes) == ["late"] and early_notes.exists(), WAIT_S)
    in_time = project.task("note").delay(str(tmp_path / "in time"), "in time", 0.2)
    until(lambda: (tmp_path / "in time").exists(), WAIT_S)
    worker.process.send_signal(signal.SIGTERM)
    worker.process.wait(WAIT_S)
    assert in_time.state == "SUCCESS", worker.text()
    assert project.queue.get_job_counts()["active"] == 0, worker.text()
    assert type(early.result) is WorkerLostError, "it runs at most once, and its failure is stored at once"
    with project.worker(worker=patient):
        assert late.get(timeout=30) == "late"
    assert lines(notes) == ["late"] * 2
    assert lines(str(early_notes)) == ["early"]
    assert audit(project.app.stratix.queue.engine.store) == []


@pytest.mark.parametrize("first", ["SIGTERM", "SIGINT"])
def test_a_warm_shutdown_that_becomes_a_cold_one_hands_back_at_once(
    on_redis: Project, notes: str, tmp_path: Path, first: str
) -> None:
    """SIGTERM and then SIGQUIT, or Ctrl-C twice."""
    patient = {"lease_duration": LEASE_MS, "redelivery_grace": LEASE_MS}
    early_notes = tmp_path / "early"
    worker = on_redis.start_worker("prefork", 2, "--loglevel", "DEBUG", worker=patient)
    late = on_redis.task("hang_once").delay(notes, "late")
    early = on_redis.task("note").delay(str(early_notes), "early", 60)
    until(lambda: lines(notes) == ["late"] and early_notes.exists(), WAIT_S)
    worker.process.send_signal(signal.Signals[first])
    until(lambda: "Stopping Pool" in worker.text(), WAIT_S)
    worker.process.send_signal(signal.SIGQUIT if first == "SIGTERM" else signal.SIGINT)
    worker.process.wait(WAIT_S)
    assert on_redis.queue.get_job_counts()["active"] == 0, worker.text()
    assert type(early.result) is WorkerLostError, "it runs at most once, and its failure is stored at once"
    with on_redis.worker(worker=patient):
        assert late.get(timeout=30) == "late"
    assert lines(notes) == ["late"] * 2
    assert lines(str(early_notes)) == ["early"]


def test_a_worker_that_ends_gives_up_what_is_its_own(on_redis: Project) -> None:
    """Containers with the host's name and network have workers of one name, and each of them is the process 1."""
    claims, names = on_redis.app.stratix_bridge.claims, set[str]()
    for _ in range(2):
        claims.name_worker("celery@host", 1)
        names.add(claims.worker)
    assert len(names) == 2
    assert all(one.startswith(f"celery@host-{os.getpid()}.") for one in names)
