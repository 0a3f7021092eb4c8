"""Pools whose children come and go: replaced, killed, scaled, restarted, spawned. Each task runs once, and succeeds."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.celery.conftest import lines
from tests.celery.workers import ROOT, Project
from tests.waiting import WAIT_S, until

ENDED = {"SUCCESS", "FAILURE", "REVOKED"}
PATIENT: dict[str, Any] = {"worker_proc_alive_timeout": 60.0}
"""A child that takes longer to start, by default 4 s, is killed, and the next one too: an interpreter may need them."""


def delay(project: Project, notes: str, count: int, name: str = "note", *more: Any) -> list[Any]:
    return [project.task(name).delay(notes, f"{name}-{number}", *more) for number in range(count)]


FORKS_S = 150
"""For some eighty processes, each of which is forked, connects, and ends: on a busy machine one takes a second."""


def states(results: list[Any], timeout: float = WAIT_S) -> list[str]:
    until(lambda: all(one.state in ENDED for one in results), timeout)
    return [one.state for one in results]


@pytest.mark.timeout(3 * FORKS_S)
@pytest.mark.parametrize(("project", "tasks"), [("redis", 1), ("rabbitmq", 5)], indirect=["project"])
def test_children_that_are_replaced(project: Project, notes: str, tasks: int) -> None:
    """Their parent has published when it was imported, and talks to the store while it forks."""
    with project.worker("prefork", 4, worker_max_tasks_per_child=tasks, at_import=notes, **PATIENT):
        results = delay(project, notes, 60 * tasks)
        spawning = [project.task("spawn").delay(notes) for _ in range(10)]
        assert set(states([*results, *spawning], FORKS_S)) == {"SUCCESS"}
        assert set(states([project.app.AsyncResult(one.result) for one in spawning], FORKS_S)) == {"SUCCESS"}
    expected = [*(one.result for one in results), *["spawned"] * 10, "at import"]
    assert sorted(lines(notes)) == sorted(expected)


def test_children_that_are_killed_scaled_and_restarted(on_redis: Project, notes: str) -> None:
    worker = on_redis.start_worker("prefork", 4, "--autoscale=8,1", worker_pool_restarts=True, follows=True, **PATIENT)
    try:
        good, slow, killed, endless = [], [], [], []
        for number in range(4):
            slow.append(on_redis.task("slow").delay(notes))
            killed.append(on_redis.task("killed").delay(notes, "killed"))
            endless.append(on_redis.task("note").delay(notes, "endless", 60))
            good += delay(on_redis, notes, 30, "note", 0.02)
            if number % 2:
                on_redis.app.control.pool_restart(destination=[worker.name], reply=True, timeout=WAIT_S)
            until(lambda: lines(notes).count("endless") == len(endless), WAIT_S)
            on_redis.app.control.revoke(endless[-1].id, terminate=True)
        assert states(good) == ["SUCCESS"] * len(good)
        assert states(endless) == ["REVOKED"] * 4
        assert states(slow) == ["FAILURE"] * 4
        assert states(killed) == ["FAILURE"] * 4
        assert {type(one.result).__name__ for one in slow} == {"TimeLimitExceeded"}
        assert {type(one.result).__name__ for one in killed} == {"WorkerLostError"}
    finally:
        worker.end()
    assert sorted(lines(notes)) == sorted([*(one.result for one in good), *["began", "killed", "endless"] * 4])


def test_children_that_are_spawned(on_redis: Project, notes: str) -> None:
    """A fresh interpreter, which imports the project: with handlers, and what the command line says."""
    worker = on_redis.start_worker(
        "prefork", 2, "--pool-start-method", "spawn", "--max-tasks-per-child", "10", **PATIENT
    )
    try:
        results = delay(on_redis, notes, 15)
        spawning = on_redis.task("spawn").delay(notes)
        job = on_redis.queue.add("greet", {"name": "Ada"})
        assert job.wait_until_finished(60)["hello"] == "Ada"
        assert on_redis.queue.add("fork").wait_until_finished(60) == 0  # what the child returns is no outcome
        assert set(states([*results, spawning])) == {"SUCCESS"}
        assert set(states([on_redis.app.AsyncResult(spawning.result)])) == {"SUCCESS"}
        names = {one.id for one in on_redis.queue.get_workers()}
        assert len(names) == 1, names
    finally:
        worker.end()
    assert sorted(lines(notes)) == sorted([*(one.result for one in results), "spawned"])


def test_children_are_heard_until_they_have_ended() -> None:
    """Also of a task that was begun unnoticed while the pool stopped: a child waits until its parent has read what it
    wrote. Celery does not read it; a short outcome is waited for in vain for 30 s, a long one for ever."""
    command = [sys.executable, "-m", "tests.celery.stopped_pool"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.split() == ["1", "1"], done.stderr
