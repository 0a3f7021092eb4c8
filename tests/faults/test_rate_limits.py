"""Several worker processes behind one limit."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import pytest

from stratix_kombu import Application, Queue, create_app
from stratix_kombu.testing.stores import audit
from tests.waiting import until

WORKERS = 3
USED = 0.95
"""How much of the rate is used while jobs wait."""
GUARD = 0.02
"""How much farther than the limit says starts are apart: by so much of the duration a handler may begin late."""
TICK_S, USUAL_S = 0.01, 0.01

PROGRAM = """
import json, sys, time
from stratix_kombu import create_app
settings, queues = json.loads(sys.argv[1]), json.loads(sys.argv[2])
app = create_app(settings)
for name, options in queues.items():
    app.queue.create_queue(name, concurrency=20, **options).process(lambda job: [job.processed_on, time.time() * 1000])
app.hook("after_start", lambda: print("ready", flush=True))
app.run()
"""


@contextmanager
def workers(settings: dict[str, Any], queues: dict[str, Any]) -> Iterator[None]:
    command = [sys.executable, "-c", PROGRAM, json.dumps(settings), json.dumps(queues)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


class Stalls:
    """How long this machine let nobody run: by how much sleeps took longer than usual, each of them counted."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            before = time.time()
            time.sleep(TICK_S)
            if (late := time.time() - before - TICK_S) > USUAL_S:
                self._found.append((before * 1000, late * 1000))

    def between(self, first_ms: float, last_ms: float) -> float:
        return sum(late for at, late in self._found if first_ms <= at <= last_ms)


class Starts:
    """When jobs started: as the store granted it, and as their handlers saw it."""

    def __init__(self, *queues: Queue, name: str = "") -> None:
        jobs = [job for queue in queues for job in queue.get_jobs("completed") if name in ("", job.name)]
        pairs = [job.return_value for job in jobs]
        assert all(began >= granted - 1 for granted, began in pairs), "a handler began before it might"
        self.granted = sorted(granted for granted, _ in pairs)
        self._pairs = pairs

    def check(self, most: int, duration_ms: int) -> None:
        """No window of the duration holds more starts than it may. To handlers neither, but for those that the machine
        has delayed by more than the guard."""
        guard_ms = duration_ms * GUARD
        began = sorted(min(began, granted + guard_ms) for granted, began in self._pairs)
        for starts, shortest in ((self.granted, duration_ms), (began, duration_ms - 1)):
            assert all(later - first >= shortest for first, later in zip(starts, starts[most:], strict=False))

    def check_rate(self, stalls: Stalls, at_best_ms: float) -> None:
        """They took no longer than they must have taken, but for what the rate may be lower."""
        first, last = self.granted[0], self.granted[-1]
        assert last - first - stalls.between(first, last) <= at_best_ms / USED


def wait_for(queue: Queue, jobs: int) -> None:
    until(lambda: queue.get_job_counts()["completed"] == jobs, 60)


def deferrals(app: Application, queue: Queue) -> int:
    heard = app.queue.store.events.read(queue.name, "0", limit=100_000)
    return sum(one.name == "delayed" for one in heard)


@pytest.fixture
def on_redis(redis_url: str) -> dict[str, Any]:
    return {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"rate{uuid.uuid4().hex[:8]}"}


def test_a_limit_is_exact_over_all_processes(settings: dict[str, Any]) -> None:
    """On each driver; how fast it is depends on the transport."""
    limiter = {"max": 50, "duration": 1000}
    with workers(settings, {"api": {"limiter": limiter}}), create_app(settings) as app:
        app.start()
        queue = app.queue.get_queue("api")
        queue.add_bulk([{"name": "call"}] * 200)
        wait_for(queue, 200)
        Starts(queue).check(50, 1000)


def test_every_kind_of_limit_is_exact_and_used(on_redis: dict[str, Any]) -> None:
    """All of them at the same time, in the same processes: each is used while its jobs wait."""
    limiter = {"max": 60, "duration": 1500}
    queues = {
        "queue": {"limiter": limiter},
        "in-order": {"limiter": {**limiter, "bounce_back": False}},
        "bucket": {"limiter": {"max": 20, "refill_rate": 40, "initial_tokens": 10}},
        "jobs": {},
        "one": {},
        "other": {},
    }
    own, shared = {"max": 30, "duration": 1500}, {**limiter, "key": "partner"}
    with workers(on_redis, queues), create_app(on_redis) as app, Stalls() as stalls:
        app.start()
        queue, in_order, bucket, jobs, one, other = (app.queue.get_queue(name) for name in queues)
        for plain in (queue, in_order, bucket):
            plain.add_bulk([{"name": "call"}] * 290)
        jobs.add_bulk([{"name": name, "opts": {"limiter": own}} for name in ("a", "b") for _ in range(145)])
        jobs.add_bulk([{"name": "free"}] * 10)
        for sharing in (one, other):
            sharing.add_bulk([{"name": "call", "opts": {"limiter": shared}}] * 145)
        for each, count in zip((queue, in_order, bucket, jobs, one, other), (290,) * 3 + (300, 145, 145), strict=True):
            wait_for(each, count)
        for starts in (Starts(queue), Starts(in_order), Starts(one, other)):
            starts.check(60, 1500)
            starts.check_rate(stalls, 289 // 60 * 1500)
        for name in ("a", "b"):
            Starts(jobs, name=name).check(30, 1500)
            Starts(jobs, name=name).check_rate(stalls, 144 // 30 * 1500)
        Starts(bucket).check_rate(stalls, (290 - 10) * 1000 / 40)
        taken = enumerate(Starts(bucket).granted)
        assert all(j - i + 1 <= 20 + (last - first) * 40 / 1000 for (i, first), (j, last) in combinations(taken, 2))
        assert not any(deferrals(app, each) for each in (queue, in_order, bucket, jobs, one, other)), "all stay waiting"


def test_removed_paused_and_late_jobs_do_not_break_the_bound(on_redis: dict[str, Any]) -> None:
    limiter = {"max": 20, "duration": 500}
    with workers(on_redis, {"api": {"limiter": limiter}}), create_app(on_redis) as app:
        app.start()
        queue = app.queue.get_queue("api")
        queue.add_bulk([{"name": "call"}] * 200)
        until(lambda: queue.get_job_counts()["completed"] >= 30, 60)
        queue.pause()
        gone = queue.get_jobs("paused")[::3]
        for job in gone:
            job.remove()
        queue.resume()
        until(lambda: queue.get_job_counts()["completed"] >= 60, 60)
        queue.pause()
        resumes = time.monotonic() + 1.0  # more than a window passes
        until(lambda: time.monotonic() >= resumes)
        queue.resume()
        wait_for(queue, 200 - len(gone))
        Starts(queue).check(20, 500)
        assert audit(app.queue.store) == []
