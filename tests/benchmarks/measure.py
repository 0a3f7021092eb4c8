"""One round of measurements of one side, on an empty server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.benchmarks.sides import Side

POLL_S = 0.02
LATENCY_SAMPLES = 100
LATENCY_GAP_S = 0.01


@dataclass(frozen=True, slots=True)
class Round:
    """Speeds in jobs a second, latencies in milliseconds, server reads per job."""

    add: float
    floor: float
    """Of a script of three commands, called one by one by the plain client of Redis."""
    together: float
    """Added by a hundred tasks of an event loop at a time; 0 = it has no calls for asyncio."""
    bulk: float
    drain: float
    p50: float
    p99: float
    add_reads: float
    bulk_reads: float
    drain_reads: float


def measure(side: Side, singles: int, bulk: int) -> Round:
    """Add one by one, by asyncio and in bulk, drain all, then time single jobs on the idle worker."""
    side.redis.flushall()
    side.begin()
    side.add_one_by_one(10)  # connections and scripts are loaded before the clock runs
    add, add_reads = _timed(side, singles, side.add_one_by_one)
    floor, _ = _timed(side, singles, side.call_script)
    together = _timed(side, singles, side.add_together)[0] if side.has_asyncio else 0.0
    added, bulk_reads = _timed(side, bulk, side.add_bulk)
    with side.worker():
        drain, drain_reads = _drain(side, 10 + singles * (1 + side.has_asyncio) + bulk)
        side.latency()
        samples = sorted(_sample(side) for _ in range(LATENCY_SAMPLES))
    p50, p99 = (samples[int(len(samples) * share)] * 1000 for share in (0.5, 0.99))
    return Round(add, floor, together, added, drain, p50, p99, add_reads, bulk_reads, drain_reads)


def _timed(side: Side, count: int, work: Callable[[int], None]) -> tuple[float, float]:
    reads, begin = side.reads(), time.perf_counter()
    work(count)
    elapsed = time.perf_counter() - begin
    return count / elapsed, (side.reads() - reads - 1) / count


def _drain(side: Side, total: int) -> tuple[float, float]:
    """From the first finished job that is seen until the last one; the process's start is not counted."""
    while not (first := side.finished()):
        time.sleep(POLL_S)
    reads, begin, polls = side.reads(), time.perf_counter(), 1
    while side.finished() < total:
        polls += 1
        time.sleep(POLL_S)
    elapsed = time.perf_counter() - begin
    return (total - first) / elapsed, (side.reads() - reads - polls - 1) / (total - first)


def _sample(side: Side) -> float:
    time.sleep(LATENCY_GAP_S)
    return side.latency()
