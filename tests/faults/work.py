"""The work of the fault tests: batches of jobs of every kind, the handlers for them, and how each has to end."""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from pathlib import Path
from typing import Any

from stratix_kombu import Job, Queue, StoreUnavailable
from tests.waiting import until

ADD_S = 60.0
WATCH = {"lease_duration": 1_500, "stalled_check_interval": 200, "redelivery_grace": 1_000, "max_stalled_count": 1_000}
"""Quick to notice; a job of these tests may lose its worker as often as it happens."""


def register_handlers(queue: Any, runs: Path, reached: Any = lambda step: None) -> None:
    """Handlers for all jobs of a batch. Each start appends the job's id to ``runs``; ``reached`` is called within."""

    def begun(job: Job) -> None:
        note(runs, job.id)
        reached("handler")

    @queue.process("value")
    def value(job: Job) -> int:
        begun(job)
        time.sleep(0.005)
        return int(job.data)

    @queue.process("coroutine")
    async def coroutine(job: Job) -> int:
        begun(job)
        await asyncio.sleep(0.005)
        return int(job.data)

    @queue.process("total")
    def total(job: Job) -> int:
        begun(job)
        return sum(job.get_dependency_results().values())

    @queue.process("flaky")
    def flaky(job: Job) -> int:
        begun(job)
        if job.attempts_made < 1:
            raise OSError("not yet")
        return int(job.data)

    @queue.process("held")
    def held(job: Job) -> int:
        """Runs until the file that is its data exists; returns who ran it."""
        begun(job)
        while not Path(job.data).exists():
            time.sleep(0.02)
        return os.getpid()

    @queue.process("held_coroutine")
    async def held_coroutine(job: Job) -> int:
        begun(job)
        while not Path(job.data).exists():
            await asyncio.sleep(0.02)
        return os.getpid()

    @queue.process("bad")
    def bad(job: Job) -> None:
        begun(job)
        raise ValueError("always")


def note(path: Path, line: str) -> None:
    """Append a line in one write, so that a process that dies leaves no half of one."""
    with open(path, "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


class Work:
    """Adds batches to a queue, and knows how each job has to end: its result, or None for one that has to fail."""

    def __init__(self, queue: Queue, seed: int) -> None:
        self.queue = queue
        self.results: dict[str, Any] = {}
        self._random = random.Random(seed)
        self._batches = 0

    def add_batch(self) -> None:
        """Nine jobs: plain ones, one on the event loop, one that fails at first, one that fails for good, one that is
        delayed, and what depends on them."""
        self._batches += 1
        first, second = self._random.randint(1, 99), self._random.randint(1, 99)
        a, b, c, flaky, bad = (self._id(kind) for kind in ("a", "b", "c", "flaky", "bad"))
        jobs = [
            self._job(a, "value", first, first),
            self._job(b, "value", second, second, priority=self._random.randint(0, 9)),
            self._job(c, "coroutine", 1, 1, delay=self._random.randint(20, 300)),
            self._job(flaky, "flaky", 5, 5, attempts=3, backoff=20),
            self._job(bad, "bad", 0, None, attempts=2, backoff=20),
            self._job(self._id("total"), "total", 0, first + second + 6, dependencies=[a, b, c, flaky], attempts=5),
            self._job(self._id("needs"), "value", 0, None, dependencies=[a, bad]),
            self._job(self._id("anyhow"), "value", 7, 7, dependencies=[bad], dependencies_mode="optional"),
            self._job(self._id("flaky2"), "flaky", 2, 2, attempts=2),
        ]
        self._add_surely(jobs)

    def probe(self, timeout: float = 60) -> None:
        """A job that is added now is run: the workers consume, not only live."""
        job_id = self._id(f"probe-{uuid.uuid4().hex[:6]}")
        self._add_surely([self._job(job_id, "value", 3, 3)])
        until(lambda: self._state(job_id) == "completed", timeout)

    def ended(self, but: int = 0) -> bool:
        """Whether no more than ``but`` jobs are unfinished."""
        try:
            counts = self.queue.get_job_counts()
        except StoreUnavailable:
            return False
        return sum(counts.values()) - counts["completed"] - counts["failed"] <= but

    def finish(self, but: int = 0, timeout: float = 60) -> None:
        """Wait until all jobs but this many have ended; raises with those that do not."""
        deadline = time.monotonic() + timeout
        while not self.ended(but):
            left = time.monotonic() < deadline or self.queue.get_jobs(["waiting", "active", "delayed", "blocked"])
            assert left is True, [(job.id, job.state, job.attempts_started, job.opts) for job in left]
            time.sleep(0.02)

    def _state(self, job_id: str) -> str:
        try:
            job = self.queue.get_job(job_id)
        except StoreUnavailable:
            return "unknown"
        return "gone" if job is None else str(job.get_state())

    def _id(self, kind: str) -> str:
        return f"{kind}-{self._batches}"

    def _job(self, job_id: str, name: str, data: int, result: Any, **options: Any) -> dict[str, Any]:
        self.results[job_id] = result
        return {"name": name, "data": data, "opts": {"job_id": job_id, **options}}

    def _add_surely(self, jobs: list[dict[str, Any]]) -> None:
        """Again until the store answers: their ids make it safe."""
        deadline = time.monotonic() + ADD_S
        while True:
            try:
                self.queue.add_bulk(jobs)
                return
            except StoreUnavailable:
                assert time.monotonic() < deadline, "the store did not come back"
                time.sleep(0.1)


def seed_of(name: str) -> int:
    """A seed for a test, the same in every run; ``STRATIX_TEST_SEED`` gives another one. Printed with failures."""
    seed = int(os.environ.get("STRATIX_TEST_SEED", "1"))
    print(f"{name}: STRATIX_TEST_SEED={seed}")
    return seed
