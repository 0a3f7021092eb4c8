"""Several worker processes behind one limit."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from typing import Any

from stratix_kombu import create_app
from tests.waiting import until

WORKERS = 4
MAX, DURATION_MS = 100, 2000
JOBS = 500
USED = 0.85
"""How much of the rate is used, on a machine that does other things too; by itself it is more than 0.95."""

PROGRAM = """
import json, sys
from stratix_kombu import create_app
settings, limiter = json.loads(sys.argv[1]), json.loads(sys.argv[2])
app = create_app(settings)
queue = app.queue.create_queue("api", concurrency=20, limiter=limiter)
queue.process(lambda job: job.processed_on)
app.hook("after_start", lambda: print("ready", flush=True))
app.run()
"""


def test_a_limit_is_exact_over_all_processes_and_is_used(settings: dict[str, Any]) -> None:
    """No window of its length holds more starts than it allows, the rate is used while jobs wait, and a job is deferred
    about once."""
    settings = {**settings, "namespace": f"rate{uuid.uuid4().hex[:8]}"}
    limiter = {"max": MAX, "duration": DURATION_MS}
    command = [sys.executable, "-c", PROGRAM, json.dumps(settings), json.dumps(limiter)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        with create_app(settings) as app:
            queue = app.queue.get_queue("api")
            queue.add_bulk([{"name": "call"}] * JOBS)
            until(lambda: queue.get_job_counts()["completed"] == JOBS, 60)
            starts = sorted(job.return_value for job in queue.get_jobs("completed"))
            assert all(later - first >= DURATION_MS for first, later in zip(starts, starts[MAX:], strict=False))
            if settings["driver"] == "redis":  # elsewhere the transport may be the slower one
                assert starts[-1] - starts[0] <= (JOBS / MAX - 1) * DURATION_MS / USED
            told = app.queue.store.events.read("api", "0", limit=100_000)
            assert sum(one.name == "delayed" for one in told) <= 1.2 * JOBS
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            assert worker.stdout is not None
            worker.stdout.close()
