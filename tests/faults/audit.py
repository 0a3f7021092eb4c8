"""The audit at the end of a run: every job ended exactly once and as it had to, and nothing is left over."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
from redis import Redis

from stratix_kombu import Queue
from stratix_kombu.drivers.contract import TransportDriver
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.codec import decode
from stratix_kombu.model.record import JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.testing.stores import audit
from tests.faults.work import Work
from tests.faults.worker_processes import runs_of
from tests.waiting import until

DEPTH_S = 20.0


def audit_run(work: Work, engine: Engine, runs: Path) -> list[str]:
    """What is wrong after all jobs of ``work`` have ended; empty if nothing is. For a queue with healthy workers."""
    problems = audit(engine.store)
    jobs = {one.id: one for state in State for one in _all(engine, work.queue.name, state)}
    if set(jobs) != set(work.results):
        problems.append(f"added and not there, or the other way round: {set(jobs) ^ set(work.results)}")
    handled = runs_of(runs)
    ends = _ends(engine, work.queue.name)
    for job_id, result in work.results.items():
        job = jobs.get(job_id)
        if job is None:
            continue
        state = "failed" if result is None else "completed"
        if job.state != state or decode(job.result) != result:
            how = f"{job.result} {job.failed_reason or ''}"
            problems.append(f"{job_id} is {job.state} with {how}, not {state} with {result!r}")
        if ends[job_id] != 1:
            problems.append(f"{job_id} was reported to have ended {ends[job_id]} times")
        if handled[job_id] > job.attempts_started:
            problems.append(f"{job_id} ran {handled[job_id]} times in {job.attempts_started} attempts")
        lost = job.stalled_count
        if job.attempts_started > job.attempts_made + lost:
            problems.append(f"{job_id}: {job.attempts_started} starts, {job.attempts_made} made, {lost} leases lost")
        if state == "completed" and not handled[job_id]:
            problems.append(f"{job_id} is completed and never ran")
    return problems


def _all(engine: Engine, queue: str, state: State) -> Iterator[JobRecord]:
    cursor = ""
    while True:
        page, cursor = engine.store.queries.scan(queue, state, cursor)
        yield from page
        if not cursor:
            return


def _ends(engine: Engine, queue: str) -> Counter[str]:
    heard = engine.store.events.read(queue, "0", limit=100_000)
    return Counter(one.job_id for one in heard if one.name in ("completed", "failed"))


def no_message_left(driver: TransportDriver, queue: str) -> None:
    """Wait until the workers, which live, have dropped the messages of jobs that have ended."""
    until(lambda: driver.depth(queue) == 0, DEPTH_S)


TABLES_STAYING = ("counters", "leader", "schema_version", "namespace", "presence", "sqlite_sequence")


def rows_in_database(url: str, namespace: str) -> list[str]:
    """The same for PostgreSQL."""
    with psycopg.connect(url.partition("?")[0], autocommit=True) as connection:
        connection.execute(f"SET search_path = stratix_{namespace}")  # type: ignore[call-overload]
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        mine = [name for (name,) in found if name not in TABLES_STAYING]
        return [one for one in mine if connection.execute(f"SELECT 1 FROM {one} LIMIT 1").fetchone()]  # type: ignore[call-overload]


def rows_left(url: str) -> list[str]:
    """The tables that are not empty."""
    with sqlite3.connect(url.removeprefix("sqlite:///").partition("?")[0]) as file:
        tables = [name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        mine = [name for name in tables if name not in TABLES_STAYING]
        left = [name for name in mine if file.execute(f"SELECT 1 FROM {name} LIMIT 1").fetchone()]
    file.close()
    return left


STAYING = ("number", "named", "graph", "walk", "process", "processes")
"""Counters of a namespace: what they counted is never counted again. And the processes that died a moment ago."""


def keys_left(queue: Queue, server: str, prefix: str) -> list[str]:
    """Remove the queue; the keys that are left of it. What Kombu declares is no message, and stays; what has a time to
    live goes by itself: answers that may be asked for again, processes, and who wakes which clock."""
    until(lambda: not queue.get_workers(), DEPTH_S)  # those that died: their queue is not forgotten before
    queue.obliterate(force=True)
    if server.startswith("sqlite:"):
        return rows_left(server)
    if server.startswith("postgresql:"):
        return rows_in_database(server, prefix)
    with Redis.from_url(server) as client:
        keys = [key.decode() for key in client.scan_iter(f"*{prefix}*", count=1000) if client.ttl(key) == -1]
    ours = [key for key in keys if not key.startswith("_kombu.binding")]
    return [key for key in ours if key.partition("}:")[2] not in STAYING]
