"""Fair groups: the jobs of one queue belong to tenants, and each tenant has its turn, on every driver.

A tenant that adds a thousand jobs at once delays nobody: another one's single job starts about as many starts later
as there are tenants with jobs. ``group_concurrency`` bounds how many jobs of one group are active at a time, over all
workers.
"""

import threading
import time
from collections import Counter

from stratix_kombu import create_app

app = create_app()
imports = app.queue.create_queue("imports", concurrency=4)
exports = app.queue.create_queue("exports", concurrency=6, group_concurrency=2)

order = []
lock = threading.Lock()
running = Counter()
most = Counter()


@imports.process
def load(job):
    order.append(job.opts["group"])


@exports.process
def dump(job):
    with lock:
        running[job.data] += 1
        most[job.data] = max(most[job.data], running[job.data])
    time.sleep(0.01)
    with lock:
        running[job.data] -= 1


# Before anything starts: one tenant's many jobs, and others' few.
jobs = imports.add_bulk([{"name": "row", "opts": {"group": "acme"}}] * 200)
jobs += [imports.add("row", group="bolt")]
jobs += imports.add_bulk([{"name": "row", "opts": {"group": f"tenant-{n}"}} for n in range(10) for _ in range(1 + n)])

with app:
    app.start()
    for job in jobs:
        job.wait_until_finished(timeout=60)
    print("bolt is among the first:", order.index("bolt") < 20)
    print("so is every tenant:", all(order.index(f"tenant-{n}") < 30 for n in range(10)))
    print("acme has what is left:", order.count("acme"), set(order[-100:]) == {"acme"})

    jobs = exports.add_bulk(
        [{"name": "dump", "data": one, "opts": {"group": one}} for one in ("acme", "bolt", "cord") for _ in range(10)]
    )
    for job in jobs:
        job.wait_until_finished(timeout=60)
    print("at most two of one tenant at a time:", max(most.values()) <= 2)
