"""``python -m tests.benchmarks.canvas``: chords and chains by each kind of worker, from the call to the result;
interleaved rounds, medians, ratios to stock Celery."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import redis
from celery import chain, chord

from tests.benchmarks.tasks import BRIDGED, CELERY, OWN, ROOT
from tests.services import redis_server

WORKERS = {
    "Celery": (CELERY, ("-P", "threads", "-c", "10")),
    "bridge": (BRIDGED, ("-P", "threads", "-c", "10")),
    "own worker": (OWN, ("-c", "10")),
}
WAIT_S = 120


def chords(side: Any, count: int, size: int) -> None:
    """So many chords at once."""
    header = [side.noop.s(number) for number in range(size)]
    results = [chord(header, side.total.s()).apply_async() for _ in range(count)]
    assert [result.get(timeout=WAIT_S) for result in results] == [sum(range(size))] * count


def a_chain(side: Any, length: int) -> None:
    """One chain."""
    result = chain(side.noop.s(1), *(side.noop.s() for _ in range(length - 1))).apply_async()
    assert result.get(timeout=WAIT_S) == 1


ROWS: dict[str, Callable[[Any], None]] = {
    "60 chords of 10": lambda side: chords(side, 60, 10),
    "chain of 300": lambda side: a_chain(side, 300),
    "chord of 1500": lambda side: chords(side, 1, 1500),
}


@contextmanager
def worker(url: str, name: str) -> Iterator[Any]:
    """A worker that has run a task; returns the module of its application."""
    from tests.benchmarks import bridge_side, celery_side

    redis.Redis.from_url(url).flushall()
    command, pool = WORKERS[name]
    side: Any = celery_side if name == "Celery" else bridge_side
    process = subprocess.Popen(
        [sys.executable, *command, *pool],
        cwd=ROOT,
        env={**os.environ, "BENCHMARK_REDIS_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        chords(side, 1, 3)
        yield side
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def measure(url: str, side: Any, row: str) -> tuple[float, float, int, int]:
    """Seconds; of those of the server's processor; commands that the server was sent; and those within scripts."""
    server = redis.Redis.from_url(url)

    def used() -> tuple[float, float, int, int]:
        cpu, stats = server.info("cpu"), server.info("commandstats")
        calls = sum(one["calls"] for one in stats.values())
        scripts = sum(one["calls"] for name, one in stats.items() if name in ("cmdstat_evalsha", "cmdstat_eval"))
        return time.perf_counter(), cpu["used_cpu_user"] + cpu["used_cpu_sys"], scripts, calls

    before = used()
    ROWS[row](side)
    after = used()
    return tuple(second - first for first, second in zip(before, after, strict=True))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.canvas", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, ...]]] = {}
    with redis_server() as url:
        url = url.rsplit("/", 1)[0]
        os.environ["BENCHMARK_REDIS_URL"] = url
        for _ in range(options.rounds):
            for name in WORKERS:
                with worker(url, name) as side:
                    for row in ROWS:
                        found.setdefault((row, name), []).append(measure(url, side, row))
    for row in ROWS:
        stock = [median(one) for one in zip(*found[row, "Celery"], strict=True)]
        for name in WORKERS:
            seconds, cpu, scripts, calls = (median(one) for one in zip(*found[row, name], strict=True))
            print(
                f"{row:16} {name:10} {seconds * 1000:7.0f} ms, {seconds / stock[0]:5.2f} of Celery's;"
                f" server {cpu * 1000:6.0f} ms, {cpu / stock[1]:5.2f}; {scripts:6.0f} scripts, {calls:7.0f} commands"
            )


if __name__ == "__main__":
    main()
