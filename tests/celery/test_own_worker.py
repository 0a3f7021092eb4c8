"""Celery tasks in ``stratix-kombu worker``, besides what the tests of all hosts say: crashes, both kinds of worker at
once, signals, processes that are replaced and scaled."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import NotRegistered, TaskRevokedError, TimeLimitExceeded, WorkerLostError

from tests.celery.conftest import lines
from tests.celery.workers import Project
from tests.processes import lives
from tests.waiting import until

WAIT_S = 60


def test_a_late_task_runs_again_after_its_worker_was_killed(on_redis: Project, notes: str) -> None:
    worker = on_redis.start_worker("own", 2)
    late, early = on_redis.task("hang_once").delay(notes), on_redis.task("note").delay(notes, "early", 60)
    until(lambda: len(lines(notes)) == 2, WAIT_S)
    worker.kill()
    with on_redis.worker("own"):
        assert late.get(timeout=WAIT_S) == "ran"
        with pytest.raises(WorkerLostError):
            early.get(timeout=WAIT_S)
    assert sorted(lines(notes)) == ["early", "ran", "ran"]


def test_both_kinds_of_worker_consume_one_queue(on_redis: Project) -> None:
    results = [on_redis.task("pid").delay() for _ in range(60)]
    stock = on_redis.make(bridge=False)
    adopted = [stock.tasks["proj.pid"].delay() for _ in range(60)]
    with on_redis.worker("own", 2) as own, on_redis.worker("threads", 2) as other:
        until(lambda: all(one.ready() for one in (*results, *adopted)), WAIT_S)
        later = list[Any]()

        def both_have_run() -> bool:
            later.extend(on_redis.task("pid").delay() for _ in range(10))
            return {one.get(timeout=WAIT_S) for one in later} == {own.process.pid, other.process.pid}

        until(both_have_run, WAIT_S)
    assert {one.state for one in (*results, *adopted)} == {"SUCCESS"}
    assert all(record.attempts_started == 1 for record in _records(on_redis, [one.id for one in results]))
    stock.close()


def _records(project: Project, ids: list[str]) -> list[Any]:
    return list(project.app.stratix.queue.engine.store.queries.get(ids))


def test_what_does_not_run(on_redis: Project, notes: str) -> None:
    stock = on_redis.make(bridge=False)
    revoked = on_redis.task("note").delay(notes)
    revoked.revoke()
    expired = stock.tasks["proj.note"].apply_async((notes,), expires=-10)
    unknown, foreign = on_redis.app.send_task("proj.nobody_knows"), stock.send_task("proj.nobody_knows")
    left_out = on_redis.task("outside").delay(5)
    with on_redis.worker("own"):
        with pytest.raises(TaskRevokedError):
            revoked.get(timeout=WAIT_S)
        with pytest.raises(NotRegistered):
            unknown.get(timeout=WAIT_S)
        until(lambda: (expired.state, foreign.state) == ("REVOKED", "FAILURE"), WAIT_S)
        assert left_out.get(timeout=WAIT_S) == 5
    assert lines(notes) == []
    stock.close()


def test_signals_are_sent_in_order(on_redis: Project, notes: str, tmp_path: Path) -> None:
    heard = tmp_path / "signals"
    heard.touch()
    with on_redis.worker("own", signals=str(heard)):
        assert on_redis.task("add").delay(1, 2).get(timeout=WAIT_S) == 3
        until(lambda: "task_postrun add" in lines(str(heard)), WAIT_S)
        with pytest.raises(ValueError, match="boom"):
            on_redis.task("boom").delay().get(timeout=WAIT_S)
        until(lambda: "task_postrun boom" in lines(str(heard)), WAIT_S)
    assert lines(str(heard)) == [
        *("worker_init", "worker_process_init", "worker_ready"),
        *("task_received add", "task_prerun add", "task_success add SUCCESS", "task_postrun add"),
        *("task_received boom", "task_prerun boom", "task_failure boom", "task_postrun boom"),
        *("worker_shutting_down", "worker_process_shutdown", "worker_shutdown"),
    ]


def test_processes_are_replaced_after_some_tasks(on_redis: Project) -> None:
    results = [on_redis.task("pid").delay() for _ in range(40)]
    worker = on_redis.start_worker("own", 1, "--processes=2", "--max-tasks-per-child=5")
    try:
        pids = Counter(one.get(timeout=WAIT_S) for one in results)
        assert len(pids) >= 3
        assert all(record.attempts_started == 1 for record in _records(on_redis, [one.id for one in results]))
    finally:
        worker.end()
    assert worker.process.returncode == 0
    until(lambda: not any(lives(pid) for pid in pids), WAIT_S)


def test_a_hard_time_limit_ends_the_process(on_redis: Project, notes: str) -> None:
    worker = on_redis.start_worker("own", 1, "--processes=1", "--max-tasks-per-child=1000", "-Q", on_redis.queue.name)
    try:
        before = on_redis.task("pid").delay().get(timeout=WAIT_S)
        slow = on_redis.task("slow").apply_async((notes,), link_error=on_redis.task("on_error_id").s(notes))
        with pytest.raises(TimeLimitExceeded):
            slow.get(timeout=WAIT_S)
        until(lambda: lines(notes)[-1] == f"task {slow.id}", WAIT_S)
        assert lines(notes)[0] == "began"
        assert on_redis.task("pid").delay().get(timeout=WAIT_S) != before
        assert not lives(before)
    finally:
        worker.end()


def test_a_process_that_is_killed_is_started_again(on_redis: Project, notes: str) -> None:
    worker = on_redis.start_worker("own", 1, "--processes=2")
    try:
        pid = on_redis.task("pid").delay().get(timeout=WAIT_S)
        os.kill(pid, signal.SIGKILL)
        until(lambda: f"worker {pid} ended with exit code -9" in worker.text(), WAIT_S)
        assert on_redis.task("add").delay(1, 2).get(timeout=WAIT_S) == 3
        until(lambda: len(re.findall(r"worker \d+ runs jobs", worker.text())) == 3, WAIT_S)
    finally:
        worker.end()


def test_as_many_processes_as_the_backlog_needs(on_redis: Project, tmp_path: Path) -> None:
    gate, notes = tmp_path / "gate", tmp_path / "notes"
    worker = on_redis.start_worker("own", 1, "--processes=1-3")
    try:
        results = [on_redis.task("wait_for").delay(str(gate), str(notes)) for _ in range(6)]
        until(lambda: notes.exists() and len(lines(str(notes))) == 3, WAIT_S)
        assert "3 workers now" in worker.text()
        gate.touch()
        assert {one.get(timeout=WAIT_S) for one in results} == {"done"}
        until(lambda: "1 workers now" in worker.text(), WAIT_S)
    finally:
        worker.end()
