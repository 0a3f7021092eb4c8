"""The tasks of ``celery_side`` with the bridge: for ``stratix-kombu worker`` and for ``celery worker``."""

from __future__ import annotations

import asyncio
import os

from celery import Celery

from stratix_kombu.celery import install

URL = os.environ.get("BENCHMARK_REDIS_URL", "redis://127.0.0.1:6379")
app = Celery("benchmark", broker=f"{URL}/3", backend=f"{URL}/3")
app.conf.update(broker_connection_retry_on_startup=True, task_default_queue="benchmark")
install(app, namespace="bench")


@app.task(name="noop", shared=False)
def noop(number: int) -> int:
    return number


@app.task(name="waits", shared=False)
async def waits(number: int) -> int:
    await asyncio.sleep(0.01)
    return number


@app.task(name="total", shared=False)
def total(numbers: list[int]) -> int:
    return sum(numbers)
