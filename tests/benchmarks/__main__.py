"""``python -m tests.benchmarks``: interleaved rounds, medians, ratios."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.benchmarks import stores
from tests.benchmarks.measure import Round, measure
from tests.benchmarks.stores import KINDS
from tests.services import redis_server

MARKS = {"add": 2.0, "bulk": 8.0, "drain": 4.0}
"""Least ratios to Celery."""
AGAINST_ADD = ("together", "bulk")
"""Held against Celery's ``apply_async``, one by one."""
SPEEDS = (*MARKS, "floor", "together")
ROWS = {
    "add": "added one by one, jobs/s",
    "floor": "floor: a script of three commands, calls/s (ratio of add to it)",
    "together": "added by 100 tasks of asyncio at a time, jobs/s (ratio to one by one)",
    "bulk": "added in bulk, jobs/s (ratio to one by one)",
    "drain": "drained by one worker of ten slots, jobs/s",
    "p50": "latency on an idle worker, p50 ms",
    "p99": "latency on an idle worker, p99 ms",
    "add_reads": "server reads per job, add",
    "bulk_reads": "server reads per job, bulk",
    "drain_reads": "server reads per job, drain",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side, in turn (5)")
    parser.add_argument("--singles", type=int, default=3000, help="jobs added one by one (3000)")
    parser.add_argument("--bulk", type=int, default=10000, help="jobs added in bulk (10000)")
    parser.add_argument("--store", action="append", choices=["all", *KINDS], help="stores beside each other instead")
    options = parser.parse_args()
    if options.store:
        kinds = [*KINDS] if "all" in options.store else options.store
        stores.report(stores.run(kinds, options.rounds, options.singles, options.bulk))
        return
    with redis_server() as url:
        report(*run(url.rsplit("/", 1)[0] if url.count("/") > 2 else url, options))


def run(url: str, options: argparse.Namespace) -> tuple[list[Round], list[Round]]:
    os.environ["BENCHMARK_REDIS_URL"] = url
    from tests.benchmarks.sides import CelerySide, StratixSide

    console, sides = Console(), (CelerySide(url), StratixSide(url))
    rounds: tuple[list[Round], list[Round]] = ([], [])
    for number in range(options.rounds):
        for side, results in zip(sides, rounds, strict=True):
            results.append(measure(side, options.singles, options.bulk))
            now = results[-1]
            console.print(
                f"round {number + 1}/{options.rounds} {side.name:14} add {now.add:8.0f}  floor {now.floor:8.0f}  "
                f"together {now.together:8.0f}  bulk {now.bulk:8.0f}  "
                f"drain {now.drain:7.0f}  p50 {now.p50:5.2f} ms  p99 {now.p99:5.2f} ms"
            )
    for side in sides:
        side.close()
    return rounds


def report(celery: list[Round], stratix: list[Round]) -> None:
    table = Table(title="medians")
    for title in ("", "Celery", "stratix_kombu", "ratio", "mark"):
        table.add_column(title, justify="left" if not title else "right")
    for field in fields(Round):
        theirs = median(getattr(one, field.name) for one in celery)
        ours = median(getattr(one, field.name) for one in stratix)
        ratio = _ratio(field.name, theirs, ours, celery, stratix)
        mark = MARKS.get(field.name)
        verdict = "" if mark is None else f"{'reached' if ratio >= mark else 'MISSED'} ({mark:g}x)"
        digits = 0 if field.name in SPEEDS else 2
        table.add_row(ROWS[field.name], f"{theirs:.{digits}f}", f"{ours:.{digits}f}", f"{ratio:.2f}", verdict)
    Console(width=120).print(table)


def _ratio(name: str, theirs: float, ours: float, celery: list[Round], stratix: list[Round]) -> float:
    if name == "floor":
        return median(one.add / one.floor for one in stratix)
    base = median(one.add for one in celery) if name in AGAINST_ADD else theirs
    return ours / base if base else 0.0


if __name__ == "__main__":
    main()
