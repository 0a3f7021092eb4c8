"""What others do with the same databases, where they are installed: huey on SQLite, procrastinate on PostgreSQL."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

FILE, DATABASE = "BENCHMARK_HUEY", "BENCHMARK_PROCRASTINATE"
SLOTS = 10


@cache
def huey_tasks() -> Any:
    """An instance of huey with its tasks; it stores results, and neither states nor events."""
    from huey import SqliteHuey

    huey = SqliteHuey("benchmark", filename=os.environ[FILE], results=True)

    @huey.task(name="noop")
    def noop(number: int) -> int:
        return number + 1

    @huey.task(name="instant")
    def instant() -> float:
        return time.time()

    huey.noop, huey.instant = noop, instant
    return huey


@cache
def procrastinate_tasks() -> Any:
    """An application of procrastinate, whose calls are synchronous."""
    import procrastinate

    app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=os.environ[DATABASE]))
    _with_tasks(app)
    app.open()
    return app


def _with_tasks(app: Any) -> None:
    @app.task(name="noop")
    def noop(number: int) -> int:
        return number

    @app.task(name="instant", pass_context=True)
    def instant(context: Any, path: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(str(time.time()))

    app.noop, app.instant = noop, instant


def worker_of_procrastinate() -> Any:
    """For its command."""
    import procrastinate

    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ[DATABASE]))
    _with_tasks(app)
    return app


def run_huey() -> None:
    """Its worker."""
    huey_tasks().create_consumer(workers=4, worker_type="thread", initial_delay=0.01, max_delay=0.1).run()


if DATABASE in os.environ:
    app = worker_of_procrastinate()
