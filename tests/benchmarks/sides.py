"""The two contestants behind one face: what is measured is the same for both."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

ROOT = Path(__file__).resolve().parents[2]
BULK_PAGE = 1000
TASKS = 100
FLOOR = """
redis.call('HSET', KEYS[1], 'name', ARGV[1], 'data', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[3], KEYS[1])
redis.call('LPUSH', KEYS[3], KEYS[1])
return 1
"""


class Side(ABC):
    """One way to run background jobs on the Redis at ``url``."""

    name: str
    command: tuple[str, ...]
    has_asyncio = False

    def __init__(self, url: str) -> None:
        self.redis = redis.Redis.from_url(url)
        self.environment = {**os.environ, "BENCHMARK_REDIS_URL": url}

    def begin(self) -> None:  # noqa: B027 - most have nothing to do
        """Start a round as a producer that has not waited for anything yet."""

    def close(self) -> None:  # noqa: B027
        """Let go of the server."""

    @abstractmethod
    def add_one_by_one(self, count: int) -> None: ...

    def call_script(self, count: int) -> None:
        """The least that adding can cost: a hash, an order and a list, in one call of redis-py."""
        digest = self.redis.script_load(FLOOR)
        for number in range(count):
            keys = (f"floor:{number}", "floor:order", "floor:list")
            self.redis.evalsha(digest, 3, *keys, "noop", f'{{"number":{number}}}', number)
        self.redis.delete("floor:order", "floor:list", *(f"floor:{number}" for number in range(count)))

    def add_together(self, count: int) -> None:
        """By tasks of an event loop, ``TASKS`` at a time."""
        raise NotImplementedError

    @abstractmethod
    def add_bulk(self, count: int) -> None: ...

    @abstractmethod
    def finished(self) -> int:
        """Jobs whose result is stored; one round trip."""

    @abstractmethod
    def latency(self) -> float:
        """Seconds from before the add until the handler runs, of one job."""

    def reads(self) -> int:
        """Socket reads the server has done: the round trips of all clients."""
        return int(self.redis.info("stats")["total_reads_processed"])

    @contextmanager
    def worker(self) -> Iterator[None]:
        process = subprocess.Popen(
            self.command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class CelerySide(Side):
    name = "Celery"
    command = (
        *(sys.executable, "-m", "celery", "-A", "tests.benchmarks.celery_side", "worker"),
        *("-P", "threads", "-c", "10", "-l", "ERROR", "-Q", "benchmark"),
    )

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from tests.benchmarks import celery_side

        self._tasks = celery_side
        self._results = redis.Redis.from_url(f"{url}/2")

    def add_one_by_one(self, count: int) -> None:
        for number in range(count):
            self._tasks.noop.apply_async((number,))

    def add_bulk(self, count: int) -> None:
        with self._tasks.app.producer_or_acquire() as producer, producer.batch(max_size=500):
            for number in range(count):
                self._tasks.noop.apply_async((number,), producer=producer, retry=False)

    def finished(self) -> int:
        return int(self._results.dbsize())

    def latency(self) -> float:
        before = time.time()
        return float(self._tasks.instant.apply_async().get(timeout=30)) - before


class StratixSide(Side):
    name = "stratix_kombu"
    command = (sys.executable, "-m", "tests.benchmarks.stratix_side")
    has_asyncio = True

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._app: Any = None

    def begin(self) -> None:
        """After waiting for a job the program keeps reading events, in competition with what is measured."""
        from tests.benchmarks import stratix_side

        self.close()
        self._app = stratix_side.make_app()
        self._queue = self._app.queue.get_queue("benchmark")

    def close(self) -> None:
        if self._app is not None:
            self._app.close()

    def add_one_by_one(self, count: int) -> None:
        for number in range(count):
            self._queue.add("noop", {"number": number})

    def add_together(self, count: int) -> None:
        async def main() -> None:
            add = self._queue.aio.add
            for start in range(0, count, TASKS):
                page = range(start, min(start + TASKS, count))
                await asyncio.gather(*(add("noop", {"number": number}) for number in page))

        asyncio.run(main())

    def add_bulk(self, count: int) -> None:
        for start in range(0, count, BULK_PAGE):
            page = range(start, min(start + BULK_PAGE, count))
            self._queue.add_bulk([{"name": "noop", "data": {"number": number}} for number in page])

    def finished(self) -> int:
        return int(self._queue.get_job_counts()["completed"])

    def latency(self) -> float:
        before = time.time()
        return float(self._queue.add("instant").wait_until_finished(timeout=30)) - before
