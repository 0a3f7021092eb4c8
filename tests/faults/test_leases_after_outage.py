"""A store that is away for longer than a lease, or a machine that stands still with all its processes: no lease could
be renewed, and the workers live. What they run is not given to others as soon as the store is back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import create_app
from tests.faults.servers import OwnRedis
from tests.faults.worker_processes import runs_of, worker_process
from tests.postgres_server import PostgresServer
from tests.waiting import until

LEASE_MS = 12_000
JOBS = 8
JOB_S = 22.0
"""Longer than a lease and its absence."""


@pytest.fixture(params=["redis", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A store's server of this test alone."""
    if request.param == "redis":
        redis = OwnRedis(keeps=True)
        redis.start()
        yield redis
        redis.close()
    else:
        postgres = PostgresServer()
        postgres.start()
        yield postgres
        postgres.remove()


def store_of(server: Any) -> str:
    return str(server.url) if isinstance(server, OwnRedis) else f"{server.url}?migrate=auto"


def stand_still(server: Any, workers: list[subprocess.Popen[bytes]]) -> Callable[[], None]:
    """All of them; what ends it."""

    def go_on() -> None:
        for worker in workers:
            os.kill(worker.pid, signal.SIGCONT)
        server.thaw()

    server.freeze()
    for worker in workers:
        os.kill(worker.pid, signal.SIGSTOP)
    return go_on


def freeze(server: Any, workers: list[subprocess.Popen[bytes]]) -> Callable[[], None]:
    server.freeze()
    return server.thaw


def end(server: Any, workers: list[subprocess.Popen[bytes]]) -> Callable[[], None]:
    server.kill()
    return server.start


@pytest.mark.parametrize("absence", [freeze, end, stand_still])
def test_jobs_of_workers_that_live_run_once(
    server: Any, absence: Callable[..., Callable[[], None]], redis_url: str, tmp_path: Path
) -> None:
    runs, watch = tmp_path / "runs", {"lease_duration": LEASE_MS, "stalled_check_interval": 100}
    settings = {
        "driver": redis_url,
        "store": store_of(server),
        "namespace": f"away{uuid.uuid4().hex[:8]}",
        "worker": watch,
    }
    with ExitStack() as stack:
        app = stack.enter_context(create_app(settings))
        queue = app.queue.get_queue("q")
        jobs = queue.add_bulk([{"name": "n"}] * JOBS)
        workers = [
            stack.enter_context(worker_process(settings, "q", runs, concurrency=JOBS // 2, seconds=JOB_S))
            for _ in range(2)
        ]
        until(lambda: runs_of(runs).total() == JOBS, 60)
        back = absence(server, workers)
        ends = time.monotonic() + LEASE_MS / 1000 + 1
        until(lambda: time.monotonic() > ends, 60)
        back()
        for job in jobs:
            job.wait_until_finished(timeout=120)
            job.refresh()
            assert (job.attempts_started, job.attempts_made) == (1, 1)
        assert set(runs_of(runs).values()) == {1}
