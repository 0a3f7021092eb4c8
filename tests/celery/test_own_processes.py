"""Celery tasks in several processes of our own worker, on each transport; and what a project sees of the worker: its
names, signals and options, Django's connections."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from stratix_kombu.signals import DOUBLED_S
from tests.celery.conftest import lines
from tests.celery.workers import Project
from tests.processes import lives
from tests.waiting import until

WAIT_S = 60


def test_by_the_command_line_of_celery(on_redis: Project) -> None:
    """With the same options."""
    options = ("-Q", on_redis.queue.name, "--processes", "2", "--max-tasks-per-child", "100")
    worker = on_redis.start_worker("own by celery", 1, *options)
    try:
        pids = set[int]()

        def both_have_run() -> bool:
            results = [on_redis.task("pid").delay() for _ in range(10)]
            pids.update(one.get(timeout=WAIT_S) for one in results)
            return len(pids) == 2

        until(both_have_run, WAIT_S)
    finally:
        worker.end()
    assert worker.process.returncode == 0
    until(lambda: not any(lives(pid) for pid in pids), WAIT_S)


def test_one_that_is_being_replaced_is_asked_to_stop(on_redis: Project, notes: str) -> None:
    """What runs in it has its time: that is no second signal."""
    worker = on_redis.start_worker("own", 2, "--processes=1", "--max-tasks-per-child=1", "-Q", on_redis.queue.name)
    try:
        slow = on_redis.task("note").delay(notes, "slow", 5.0)
        until(lambda: lines(notes) == ["slow"], WAIT_S)
        assert on_redis.task("add").delay(1, 1).get(timeout=WAIT_S) == 2
        until(lambda: "no further job is started here" in worker.text(), WAIT_S)
        retired = time.monotonic()
        until(lambda: time.monotonic() > retired + 2 * DOUBLED_S, WAIT_S)
    finally:
        worker.end()
    assert worker.process.returncode == 0
    assert slow.get(timeout=WAIT_S) == "slow"
    assert on_redis.queue.get_job(slow.id).state == "completed"


@pytest.mark.parametrize(
    ("project", "option"),
    [
        ("redis", "--max-memory-per-child=1"),  # a kilobyte, which any process uses: one task
        ("rabbitmq", "--max-tasks-per-child=2"),
        ("sqs", "--max-tasks-per-child=2"),
    ],
    indirect=["project"],
)
def test_processes_are_replaced(project: Project, option: str) -> None:
    """Each task runs once, whatever ends between them, and no process runs more than it may."""
    results = [project.task("pid").delay() for _ in range(4)]
    worker = project.start_worker("own", 1, "--processes=1", option, "-Q", project.queue.name, ready=False)
    try:
        pids = Counter(one.get(timeout=WAIT_S) for one in results)
    finally:
        worker.end()
    assert max(pids.values()) <= 2
    assert worker.process.returncode == 0
    records = project.app.stratix.queue.engine.store.queries.get([one.id for one in results])
    assert [record.attempts_started for record in records] == [1] * 4
    until(lambda: not any(lives(pid) for pid in pids), WAIT_S)


def test_each_process_has_a_name(on_redis: Project) -> None:
    """What is asked of all of them is answered by each: answers are distinguished by names, as are events."""
    worker = on_redis.start_worker("own", 1, "--processes=2")
    first, host = worker.name.split("@")
    names = {f"{first}-1@{host}", f"{first}-2@{host}"}
    try:
        until(lambda: {name for one in on_redis.app.control.ping(timeout=1) for name in one} == names, WAIT_S)
        until(lambda: set(on_redis.app.control.inspect(timeout=1).active_queues() or ()) == names, WAIT_S)
    finally:
        worker.end()


def test_a_queue_that_is_added_when_the_worker_is_set_up(on_redis: Project) -> None:
    """As the guide of Celery shows it, for a queue of each worker's own."""
    with on_redis.worker("own", 1, direct_queue=True) as worker:
        result = on_redis.task("add").apply_async((1, 2), queue=f"{worker.name.partition('@')[0]}.dq")
        assert result.get(timeout=WAIT_S) == 3
        assert on_redis.task("add").delay(2, 2).get(timeout=WAIT_S) == 4


def test_connections_of_django(on_redis: Project, tmp_path: Path) -> None:
    """Celery closes those of a thread before and after each task."""
    with on_redis.worker("own", 1, django=str(tmp_path / "db.sqlite3")) as worker:
        found = [on_redis.task("connects").delay().get(timeout=WAIT_S) for _ in range(2)]
        assert "Traceback" not in worker.text()
    assert found == [False, False]
