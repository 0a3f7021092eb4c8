"""stratix_kombu on the same Redis; run as a module it is the worker process."""

from __future__ import annotations

import os
import time
from typing import Any

from stratix_kombu import Job, create_app, queue_plugin

URL = os.environ.get("BENCHMARK_REDIS_URL", "redis://127.0.0.1:6379")
SLOTS = 10


def make_app() -> Any:
    app = create_app()
    app.register(queue_plugin, driver="redis", redis={"url": f"{URL}/0"}, namespace="bench")
    return app


def noop(job: Job) -> Any:
    return job.data["number"]


def instant(job: Job) -> float:
    return time.time()


def main() -> None:
    app = make_app()
    queue = app.queue.create_queue("benchmark", concurrency=SLOTS)
    queue.process("noop", noop)
    queue.process("instant", instant)
    app.run()


if __name__ == "__main__":
    main()
