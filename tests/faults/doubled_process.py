"""Workers that are each sent the same signal twice: ``python -m tests.faults.doubled_process '<json>'``.

They are forked from this process, which has imported everything. It prints their exit codes as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from typing import Any

from stratix_kombu import Job, create_app

MAX_GAP_S = 0.02
"""Far within what counts as one signal, so that it does not matter how late they are handled."""


def work(settings: dict[str, Any], began: int) -> None:
    """One worker; it writes a byte once its handler runs, which does not end by itself."""
    app = create_app(settings)
    queue = app.queue.create_queue("work")

    @queue.process("plain")
    def plain(job: Job) -> None:
        os.write(began, b"b")
        while True:
            time.sleep(60)

    app.run()


def main() -> None:
    order = json.loads(sys.argv[1])
    reads, writes = os.pipe()
    workers = []
    for _ in range(order["count"]):
        pid = os.fork()
        if not pid:
            work(order["settings"], writes)
            sys.exit()
        workers.append(pid)
    began = 0
    while began < len(workers):
        began += len(os.read(reads, 100))
    for number, pid in enumerate(workers):
        os.kill(pid, signal.SIGTERM)
        time.sleep(random.choice((0, random.uniform(0, 0.0005), random.uniform(0, MAX_GAP_S))) if number % 3 else 0)
        os.kill(pid, signal.SIGTERM)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]))


if __name__ == "__main__":
    main()
