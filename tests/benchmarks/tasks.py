"""``python -m tests.benchmarks.tasks``: Celery tasks drained by each kind of worker, interleaved rounds, medians,
ratios to stock Celery."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import redis

from tests.services import redis_server

ROOT = Path(__file__).resolve().parents[2]
CELERY = ("-m", "celery", "-A", "tests.benchmarks.celery_side", "worker", "-l", "ERROR", "-Q", "benchmark")
BRIDGED = ("-m", "celery", "-A", "tests.benchmarks.bridge_side", "worker", "-l", "ERROR", "-Q", "benchmark")
OWN = ("-m", "stratix_kombu", "worker", "-A", "tests.benchmarks.bridge_side", "--log-level", "error", "-Q", "benchmark")
ROWS = {
    "threads 10": (CELERY, ("-P", "threads", "-c", "10")),
    "bridge, threads 10": (BRIDGED, ("-P", "threads", "-c", "10")),
    "own worker, 10 threads": (OWN, ("-c", "10")),
    "prefork 2": (CELERY, ("-P", "prefork", "-c", "2")),
    "bridge, prefork 2": (BRIDGED, ("-P", "prefork", "-c", "2")),
    "own worker, 2 processes": (OWN, ("-c", "10", "--processes", "2")),
    "own worker, 200 waits": (OWN, ("-c", "200")),
}
WAITS = "own worker, 200 waits"
"""Coroutines that wait 10 ms, 200 at a time in one process."""
POLL_S = 0.02


def drain(url: str, row: str, count: int) -> float:
    """Tasks a second, from the first result that is seen to the last one."""
    server = redis.Redis.from_url(url)
    server.flushall()
    command, pool = ROWS[row]
    finished = _add(url, command is CELERY, count, "waits" if row == WAITS else "noop")
    environment = {**os.environ, "BENCHMARK_REDIS_URL": url}
    process = subprocess.Popen(
        [sys.executable, *command, *pool],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (first := finished()):
            time.sleep(POLL_S)
        begin = time.perf_counter()
        while finished() < count:
            time.sleep(POLL_S)
        return (count - first) / (time.perf_counter() - begin)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _add(url: str, stock: bool, count: int, name: str) -> Callable[[], int]:
    """Add tasks; returns a function that counts those that have ended."""
    from tests.benchmarks import bridge_side, celery_side

    side: Any = celery_side if stock else bridge_side
    for number in range(count):
        getattr(side, name).apply_async((number,))
    if stock:
        results = redis.Redis.from_url(f"{url}/2")
        return lambda: int(results.dbsize())
    queue = bridge_side.app.stratix_bridge.queue.get_queue("benchmark")
    return lambda: int(queue.get_job_counts()["completed"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tasks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=5000)
    options = parser.parse_args()
    speeds: dict[str, list[float]] = {row: [] for row in ROWS}
    with redis_server() as url:
        url = url.rsplit("/", 1)[0]
        os.environ["BENCHMARK_REDIS_URL"] = url
        for _ in range(options.rounds):
            for row, found in speeds.items():
                found.append(drain(url, row, options.tasks))
                print(f"{row:26} {found[-1]:8.0f}", flush=True)
    stock = ""
    for row, found in speeds.items():
        stock = row if ROWS[row][0] is CELERY else stock
        print(
            f"{row:26} {median(found):8.0f} tasks/s, {median(found) / median(speeds[stock]):5.2f} of Celery's {stock}"
        )


if __name__ == "__main__":
    main()
