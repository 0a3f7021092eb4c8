"""A worker process of the fault tests: ``python -m tests.faults.worker_process '<json>'``.

Each start of a handler appends the job's id to a file, so that a test can count runs however the process ends.
"""

from __future__ import annotations

import json
import sys
import time

from stratix_kombu import Job, create_app


def main() -> None:
    order = json.loads(sys.argv[1])
    app = create_app(order["settings"])
    queue = app.queue.create_queue(order["queue"], concurrency=order["concurrency"])

    @queue.process()
    def record(job: Job) -> str:
        with open(order["runs"], "a", encoding="utf-8") as runs:
            runs.write(f"{job.id}\n")
        time.sleep(order["seconds"])
        return job.name

    app.run()


if __name__ == "__main__":
    main()
