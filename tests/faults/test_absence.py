"""A store that is away for longer than a lease, or a machine that stands still with all its processes: no lease could
be renewed, and the workers live. What they run is not given to others as soon as the store is back; and the time for
which a process stood still is not counted as silence of the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import create_app
from tests.faults.servers import OwnRedis
from tests.faults.worker_processes import ROOT, runs_of, worker_process
from tests.postgres_server import PostgresServer
from tests.waiting import WAIT_S, until

LEASE_MS = 12_000
JOBS = 8
JOB_S = 22.0
"""Longer than a lease and its absence."""
STOPPED_S = 4.0
"""Longer than a second, and what PostgreSQL's own time-out gets beyond it."""


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


def pause(seconds: float) -> None:
    ends = time.monotonic() + seconds
    until(lambda: time.monotonic() > ends, WAIT_S)


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
    return lambda: server.thaw()


def end(server: Any, workers: list[subprocess.Popen[bytes]]) -> Callable[[], None]:
    server.kill()
    return lambda: server.start()


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
        pause(LEASE_MS / 1000 + 1)
        back()
        for job in jobs:
            job.wait_until_finished(timeout=120)
            job.refresh()
            assert (job.attempts_started, job.attempts_made) == (1, 1)
        assert set(runs_of(runs).values()) == {1}


ADDING = """
import sys
from stratix_kombu import create_app
queue = create_app({"driver": sys.argv[1], "store": {"url": sys.argv[2], sys.argv[3]: 1_000}}).queue.get_queue("q")
for line in sys.stdin:
    try:
        print(queue.add(line.strip()).name, flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"""


def test_what_is_asked_by_a_process_that_stands_still_is_answered(server: Any, redis_url: str) -> None:
    """It goes on before the server does, and its patience of one second is over."""
    option = "command_timeout" if isinstance(server, OwnRedis) else "timeout"
    command = [sys.executable, "-c", ADDING, redis_url, store_of(server), option]
    with ExitStack() as stack:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(name: str) -> None:
            print(name, file=process.stdin, flush=True)

        ask("first")
        assert process.stdout.readline() == "first\n"
        for name in ("second", "third"):
            server.freeze()
            ask(name)
            pause(0.3)  # it waits for the answer
            os.kill(process.pid, signal.SIGSTOP)
            pause(STOPPED_S)
            os.kill(process.pid, signal.SIGCONT)
            pause(0.3)
            server.thaw()
            assert process.stdout.readline() == f"{name}\n"
