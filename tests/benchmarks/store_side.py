"""stratix_kombu on the store that the environment names; run as a module it is the worker process."""

from __future__ import annotations

import os
import time
from typing import Any

from stratix_kombu import Job, create_app

SLOTS = 10
STORE = "BENCHMARK_STORE"


def make_app() -> Any:
    url = os.environ[STORE]
    return create_app({"store": url, "namespace": "bench", **({"driver": "memory"} if url == "memory://" else {})})


def noop(job: Job) -> Any:
    return job.data["number"]


def instant(job: Job) -> float:
    return time.time()


def serve(app: Any) -> Any:
    """Have the application run jobs once it is started; the queue."""
    queue = app.queue.create_queue("benchmark", concurrency=SLOTS)
    queue.process("noop", noop)
    queue.process("instant", instant)
    return queue


if __name__ == "__main__":
    worker = make_app()
    serve(worker)
    worker.run()
