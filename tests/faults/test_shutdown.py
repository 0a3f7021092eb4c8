"""Worker processes that are asked to stop, under load, on real brokers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import create_app
from tests.faults.worker_processes import ROOT
from tests.waiting import until

LEASE_MS = 120_000
"""Much longer than a test: what another worker has before that was handed back."""
HOOKS = ["before_start", "after_start", "before_close", "before_close again", "after_close", "returned"]
LONG_S = 300.0


@pytest.fixture
def patient(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with which nothing is recovered within a test, and no message sent again."""
    if settings["driver"] == "sqs":  # what a poll brought that ended with its process is seen again so soon
        settings["sqs"]["visibility_timeout"] = 5
    return {**settings, "worker": {"lease_duration": LEASE_MS, "redelivery_grace": LEASE_MS}}


@contextmanager
def stopping(settings: dict[str, Any], notes: Path, seconds: float, concurrency: int = 4) -> Iterator[Any]:
    """A worker that has started."""
    order = {"settings": settings, "notes": str(notes), "seconds": seconds, "concurrency": concurrency}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.stopping_process", json.dumps(order)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while process.stdout.readline() not in ("after_start\n", ""):
            pass
        yield process
    finally:
        process.kill()
        process.communicate()


def _end(process: Any) -> list[str]:
    """SIGTERM, and what the process says from then on."""
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=60)
    assert errors == ""
    return str(out).splitlines()


def _lines(notes: Path, word: str) -> Counter[str]:
    if not notes.exists():
        return Counter()
    lines = (line.split() for line in notes.read_text(encoding="utf-8").splitlines())
    return Counter(job_id for what, job_id in lines if what == word)


def test_what_runs_too_long_is_handed_back_at_once(patient: dict[str, Any], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with create_app(patient) as app:
        app.start()
        queue = app.queue.get_queue("work")
        jobs = [queue.add("plain"), queue.add("loop"), queue.add("plain")]
        with stopping({**patient, "shutdown_timeout": 0.3}, first, LONG_S) as worker:
            until(lambda: len(_lines(first, "began")) == 3, 30)
            assert _end(worker) == HOOKS[2:], "the hooks in order, and no error"
            assert worker.returncode == 0
        assert queue.get_job_counts()["active"] == 0
        assert len(_lines(first, "cancelled")) == 1
        with stopping(patient, second, 0):
            for job in jobs:
                job.wait_until_finished(timeout=60)
        assert _lines(second, "ended") == {job.id: 1 for job in jobs}
        assert {job.refresh().attempts_made for job in jobs} == {1}


def test_what_ends_in_time_is_waited_for(patient: dict[str, Any], tmp_path: Path) -> None:
    """The rest stays in the queue, also what the worker had received already."""
    notes = tmp_path / "notes"
    with create_app(patient) as app:
        app.start()
        queue = app.queue.get_queue("work")
        jobs = queue.add_bulk([{"name": "plain"}] * 6)
        with stopping(patient, notes, 1.0, concurrency=2) as worker:
            until(lambda: len(_lines(notes, "began")) >= 2, 30)
            assert _end(worker) == HOOKS[2:]
            assert worker.returncode == 0
        counts = queue.get_job_counts()
        assert counts["completed"] == len(_lines(notes, "began")) == len(_lines(notes, "ended")) < 6
        with stopping(patient, notes, 0):
            until(lambda: queue.get_job_counts()["completed"] == 6, 60)
        assert _lines(notes, "began") == {job.id: 1 for job in jobs}


def test_a_rolling_restart_loses_and_repeats_nothing(patient: dict[str, Any], tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    jobs: list[str] = []
    with create_app(patient) as app, ExitStack() as stack:
        app.start()
        queue = app.queue.get_queue("work")

        def load() -> None:
            jobs.extend(job.id for job in queue.add_bulk([{"name": "plain"}, {"name": "loop"}] * 10))

        load()
        workers = [stack.enter_context(stopping(patient, notes, 0.05)) for _ in range(4)]
        for worker in workers:
            load()
            stack.enter_context(stopping(patient, notes, 0.05))
            began = sum(_lines(notes, "began").values())
            load()
            until(lambda began=began: sum(_lines(notes, "began").values()) > began, 30)  # type: ignore[misc]
            assert _end(worker) == HOOKS[2:]
            assert worker.returncode == 0
        until(lambda: queue.get_job_counts()["completed"] == len(jobs), 60)
    assert _lines(notes, "began") == _lines(notes, "ended") == dict.fromkeys(jobs, 1)


@pytest.mark.parametrize(("again", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_it_at_once(redis_url: str, tmp_path: Path, again: signal.Signals, code: int) -> None:
    notes = tmp_path / "notes"
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"twice{code}"}
    app = create_app(settings)
    app.queue.get_queue("work").add("plain")
    with stopping(settings, notes, LONG_S) as worker:
        until(lambda: len(_lines(notes, "began")) == 1, 30)
        worker.send_signal(signal.SIGTERM)
        assert worker.stdout.readline() == "before_close\n"
        until(lambda: worker.send_signal(again) or worker.poll() is not None, 30)  # the first ones are its twins
        assert worker.returncode == code
    app.close()


def test_a_signal_that_comes_twice_is_one(redis_url: str) -> None:
    """GNU ``timeout`` and orchestrators signal a process and its group, which it belongs to."""
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"doubled{uuid.uuid4().hex[:8]}"}
    with create_app(settings) as app:
        app.start()
        queue = app.queue.get_queue("work")
        count = 24
        queue.add_bulk([{"name": "plain"}] * count)
        order = {"settings": {**settings, "shutdown_timeout": 0.2}, "count": count}
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.doubled_process", json.dumps(order)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stderr == ""
        assert json.loads(done.stdout) == [0] * count
        counts = queue.get_job_counts()
        assert (counts["active"], counts["waiting"]) == (0, count)
