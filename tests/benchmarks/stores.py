"""Each store in the same run: adding one by one and in bulk, draining by one worker of ten slots, latency."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import peers, store_side
from tests.postgres_server import database_of, postgres_server
from tests.services import redis_server

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("memory", "sqlite", "redis", "postgres")
PAGE = 1000
WARM = 10
POLL_S = 0.02
SAMPLES = 50
GAP_S = 0.02
HUEY, PROCRASTINATE = "huey on SQLite", "procrastinate on PostgreSQL"
PEERS = {"SQLite": HUEY, "SQLite, synchronous=normal": HUEY, "PostgreSQL": PROCRASTINATE}


@dataclass(frozen=True)
class Figures:
    """Jobs a second, and milliseconds."""

    add: float
    bulk: float
    drain: float
    p50: float
    p99: float


class Contestant(ABC):
    """One way to run jobs."""

    name: str
    command: tuple[str, ...] = ()

    @abstractmethod
    def add(self, number: int) -> None: ...

    @abstractmethod
    def add_bulk(self, numbers: range) -> None: ...

    @abstractmethod
    def finished(self) -> int: ...

    @abstractmethod
    def latency(self) -> float:
        """Seconds from before the add until the handler runs."""

    def close(self) -> None:  # noqa: B027 - most have nothing to do
        pass

    @contextmanager
    def worker(self) -> Iterator[None]:
        process = subprocess.Popen(self.command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class Ours(Contestant):
    """stratix_kombu on a store; in memory the worker is this process."""

    command = (sys.executable, "-m", "tests.benchmarks.store_side")

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        os.environ[store_side.STORE] = url
        self._within = url == "memory://"
        self._app = store_side.make_app()
        self._queue = store_side.serve(self._app) if self._within else self._app.queue.get_queue("benchmark")

    def add(self, number: int) -> None:
        self._queue.add("noop", {"number": number})

    def add_bulk(self, numbers: range) -> None:
        self._queue.add_bulk([{"name": "noop", "data": {"number": number}} for number in numbers])

    def finished(self) -> int:
        return int(self._queue.get_job_counts()["completed"])

    def latency(self) -> float:
        before = time.time()
        return float(self._queue.add("instant").wait_until_finished(timeout=30)) - before

    @contextmanager
    def worker(self) -> Iterator[None]:
        if not self._within:
            with super().worker():
                yield
            return
        self._app.start()
        yield

    def close(self) -> None:
        if self._within:
            self._queue.obliterate(force=True)
        self._app.close()


class Huey(Contestant):
    name = HUEY
    command = (sys.executable, "-c", "from tests.benchmarks.peers import run_huey; run_huey()")

    def __init__(self, file: str) -> None:
        os.environ[peers.FILE] = file
        peers.huey_tasks.cache_clear()
        self._huey = peers.huey_tasks()

    def add(self, number: int) -> None:
        self._huey.noop(number)

    def add_bulk(self, numbers: range) -> None:
        for number in numbers:  # it has no call for many
            self._huey.noop(number)

    def finished(self) -> int:
        return int(self._huey.result_count())

    def latency(self) -> float:
        before = time.time()
        return float(self._huey.instant().get(blocking=True, timeout=30, backoff=1.0, max_delay=0.005)) - before


class Procrastinate(Contestant):
    name = PROCRASTINATE
    command = (sys.executable, "-m", "procrastinate", "-a", "tests.benchmarks.peers.app", "worker", "-c", "10")

    def __init__(self, url: str) -> None:
        os.environ[peers.DATABASE] = url
        self._url = url
        peers.procrastinate_tasks.cache_clear()
        self._app = peers.procrastinate_tasks()
        self._app.schema_manager.apply_schema()
        self._answer = f"{tempfile.mkdtemp()}/instant"

    def add(self, number: int) -> None:
        self._app.noop.defer(number=number)

    def add_bulk(self, numbers: range) -> None:
        self._app.noop.batch_defer(*({"number": number} for number in numbers))

    def finished(self) -> int:
        query = "SELECT count(*) AS count FROM procrastinate_jobs WHERE status = 'succeeded'"
        return int(self._app.connector.execute_query_one(query)["count"])

    def latency(self) -> float:
        Path(self._answer).unlink(missing_ok=True)
        before = time.time()
        self._app.instant.defer(path=self._answer)
        deadline = before + 30
        while time.time() < deadline:
            text = Path(self._answer).read_text() if os.path.exists(self._answer) else ""
            if text:
                return float(text) - before
            time.sleep(0.0005)
        raise TimeoutError

    def close(self) -> None:
        self._app.close()
        del os.environ[peers.DATABASE]


def measure(contestant: Contestant, singles: int, bulk: int) -> Figures:
    """One round, on an empty store."""
    for number in range(WARM):
        contestant.add(number)
    add = _speed(singles, lambda: [contestant.add(number) for number in range(singles)])
    pages = [range(start, min(start + PAGE, bulk)) for start in range(0, bulk, PAGE)]
    added = _speed(bulk, lambda: [contestant.add_bulk(page) for page in pages])
    total = WARM + singles + bulk
    with contestant.worker():
        while not (first := contestant.finished()):
            time.sleep(POLL_S)
        begin = time.perf_counter()
        while contestant.finished() < total:
            time.sleep(POLL_S)
        drain = (total - first) / max(time.perf_counter() - begin, POLL_S)
        contestant.latency()
        samples = sorted(_sample(contestant) for _ in range(SAMPLES))
    contestant.close()
    p50, p99 = (samples[int(len(samples) * share)] * 1000 for share in (0.5, 0.99))
    return Figures(add, added, drain, p50, p99)


def _speed(count: int, work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return count / (time.perf_counter() - begin)


def _sample(contestant: Contestant) -> float:
    time.sleep(GAP_S)
    return contestant.latency()


@contextmanager
def contestants(kinds: list[str]) -> Iterator[list[Callable[[], Contestant]]]:
    """What makes each contestant anew, on a server that runs meanwhile."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="stratix-benchmark-"))
        made: list[Callable[[], Contestant]] = []

        def file() -> str:
            return f"{folder}/{time.monotonic_ns()}.db"

        if "memory" in kinds:
            made.append(lambda: Ours("memory", "memory://"))
        if "sqlite" in kinds:
            made.append(lambda: Ours("SQLite", f"sqlite:///{file()}"))
            made.append(lambda: Ours("SQLite, synchronous=normal", f"sqlite:///{file()}?synchronous=normal"))
            if find_spec("huey"):
                made.append(lambda: Huey(file()))
        if "redis" in kinds:
            redis = stack.enter_context(redis_server())
            made.append(lambda: _on_redis(redis))
        if "postgres" in kinds:
            url = stack.enter_context(postgres_server("fsync=on"))
            made.append(lambda: Ours("PostgreSQL", f"{stack.enter_context(database_of(url))}?migrate=auto"))
            if find_spec("procrastinate"):
                made.append(lambda: Procrastinate(stack.enter_context(database_of(url))))
        yield made


def _on_redis(url: str) -> Contestant:
    from redis import Redis

    with Redis.from_url(url) as client:
        client.flushall()
    return Ours("Redis", url)


def run(kinds: list[str], rounds: int, singles: int, bulk: int) -> dict[str, list[Figures]]:
    """Rounds of all, in turn."""
    found: dict[str, list[Figures]] = {}
    with contestants(kinds) as made:
        for number in range(rounds):
            for make in made:
                contestant = make()
                now = measure(contestant, singles, bulk)
                found.setdefault(contestant.name, []).append(now)
                print(f"round {number + 1}/{rounds} {contestant.name:28} {json.dumps(_rounded(now))}", flush=True)
    return found


def _rounded(figures: Figures) -> dict[str, float]:
    return {name: round(value, 2 if name[0] == "p" else None) for name, value in vars(figures).items()}


def report(found: dict[str, list[Figures]]) -> None:
    """The best of the rounds, since other programs only slow them down; and ratios to the peer on the same database."""
    best = {
        name: Figures(*(_best(field, [getattr(one, field) for one in rounds]) for field in Figures.__annotations__))
        for name, rounds in found.items()
    }
    table = Table(title="jobs a second; milliseconds on an idle worker; in brackets: ratio to the peer")
    for column in ("", "added one by one", "in bulk", "drained", "p50", "p99"):
        table.add_column(column, justify="right" if column else "left")
    for name, ours in best.items():
        peer = best.get(PEERS.get(name, ""))
        cells = [_cell(getattr(ours, one), getattr(peer, one) if peer else 0) for one in ("add", "bulk", "drain")]
        table.add_row(name, *cells, f"{ours.p50:.1f}", f"{ours.p99:.1f}")
    Console(width=120).print(table)


def _best(field: str, values: list[float]) -> float:
    return min(values) if field.startswith("p") else max(values)


def _cell(value: float, peer: float) -> str:
    return f"{value:,.0f}" + (f" ({value / peer:.1f})" if peer else "")
