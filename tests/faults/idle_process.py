"""A worker process whose queues have nothing to do. Says ``ready`` with what it needs, once all of them rest."""

from __future__ import annotations

import json
import sys
import threading

from stratix_kombu import create_app
from tests.waiting import until

if __name__ == "__main__":
    app = create_app(json.loads(sys.argv[1]))
    for number in range(int(sys.argv[2])):
        app.queue.get_queue(f"q{number}").process("n", lambda job: job.data)
    app.start()
    until(lambda: not any(one.name.endswith("-consumer") for one in threading.enumerate()), 60)
    print(f"ready {threading.active_count()}", flush=True)
    sys.stdin.read()
    app.close()
