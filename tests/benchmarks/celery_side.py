"""Plain Celery: threads pool, Redis broker and result backend."""

from __future__ import annotations

import os
import time

from celery import Celery

URL = os.environ.get("BENCHMARK_REDIS_URL", "redis://127.0.0.1:6379")
app = Celery("benchmark", broker=f"{URL}/1", backend=f"{URL}/2")
app.conf.update(broker_connection_retry_on_startup=True, task_default_queue="benchmark")


@app.task(name="noop", shared=False)
def noop(number: int) -> int:
    return number


@app.task(name="instant", shared=False)
def instant() -> float:
    return time.time()


@app.task(name="total", shared=False)
def total(numbers: list[int]) -> int:
    return sum(numbers)
