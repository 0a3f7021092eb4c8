"""A Celery worker proves that it takes messages, and not only that its process lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.celery.workers import Project
from tests.services import end, free_port, start_redis, wait_for_port
from tests.waiting import until

GRACE_MS = 3_000


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_without_a_broker_is_idle_until_it_is_back(redis_url: str, tmp_path: Path, pool: str) -> None:
    port = free_port()
    broker = start_redis(str(tmp_path), port)
    wait_for_port(port, broker)
    project = Project(f"redis://127.0.0.1:{port}/0", redis_url, conf={"stratix": {"store": redis_url}})

    def idle_ms() -> int:
        (worker,) = project.app.stratix.queue.store.queries.workers(project.queue.name)
        assert worker.idle_ms is not None
        return int(worker.idle_ms)

    def healthy() -> bool:
        return bool(project.app.stratix.check_health(within=GRACE_MS, workers="all"))

    try:
        with project.worker(pool):
            assert project.task("add").delay(1, 2).get(timeout=30) == 3
            until(healthy, 30)
            end(broker)
            until(lambda: idle_ms() > GRACE_MS, 30)
            assert not healthy()
            broker = start_redis(str(tmp_path), port)
            wait_for_port(port, broker)
            until(lambda: idle_ms() < GRACE_MS, 60)
            until(healthy, 30)
            assert project.task("add").delay(1, 2).get(timeout=30) == 3
    finally:
        end(broker)
        project.close()


def test_no_slot_can_run_anything(redis_url: str, tmp_path: Path) -> None:
    """Handlers that go on after their time hold the pool's threads."""
    project = Project(redis_url, redis_url, conf={"stratix": {"store": redis_url}})
    go_on = tmp_path / "go-on"
    try:
        with project.worker("threads", 2):
            data = {"notes": str(tmp_path / "notes"), "gate": str(go_on)}
            jobs = [project.queue.add("patient", data, timeout=50) for _ in range(2)]
            until(lambda: all(job.refresh().state == "failed" for job in jobs), 30)
            problem = "no slot can run anything, 2 of 2 are held"

            def heard() -> bool:
                return any(problem in one for one in project.app.stratix.check_health(1_500, "all").problems)

            until(heard, 30)
            go_on.touch()
            until(lambda: project.app.stratix.check_health(within=5_000, workers="all").ok, 30)
    finally:
        project.close()
