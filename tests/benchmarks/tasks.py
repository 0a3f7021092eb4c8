"""``python -m tests.benchmarks.tasks``: Celery tasks drained by each kind of worker, and what the life of one costs
Redis; interleaved rounds, medians, ratios to stock Celery."""

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


def drain(url: str, row: str, count: int) -> tuple[float, float]:
    """Tasks a second, from the first result that is seen to the last one; and microseconds of Redis's processor a task,
    from before it is added until its worker has ended."""
    server = redis.Redis.from_url(url)
    server.flushall()
    cpu_s = _cpu_s(server)
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
        speed = (count - first) / (time.perf_counter() - begin)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    return speed, (_cpu_s(server) - cpu_s) * 1_000_000 / count


def _cpu_s(server: redis.Redis) -> float:
    used: Any = server.info("cpu")
    return float(used["used_cpu_sys"] + used["used_cpu_user"])


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
    found: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
    with redis_server() as url:
        url = url.rsplit("/", 1)[0]
        os.environ["BENCHMARK_REDIS_URL"] = url
        for _ in range(options.rounds):
            for row, rounds in found.items():
                rounds.append(drain(url, row, options.tasks))
                print("{:26} {:8.0f} {:6.0f}".format(row, *rounds[-1]), flush=True)
    stock = 1.0, 1.0
    for row, rounds in found.items():
        speed, cost = (median(figures) for figures in zip(*rounds, strict=True))
        stock = (speed, cost) if ROWS[row][0] is CELERY else stock
        print(
            f"{row:26} {speed:8.0f} tasks/s, {speed / stock[0]:5.2f} of Celery's; "
            f"Redis {cost:6.0f} us a task, {cost / stock[1]:5.2f} of Celery's"
        )


if __name__ == "__main__":
    main()
