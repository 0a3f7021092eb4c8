"""Queues by priority: the next one is worked on when the one before has `drained`, that is, has nothing waiting and
nothing running any more. `process` may be called by a listener, again and again: the same function is registered
once. A queue that has begun goes on when a higher one gets work again; where single jobs should overtake, give them a
`priority` in one queue, and where each should have its share, a `concurrency` of its own.
"""

import time

from stratix_kombu import create_app

app = create_app()
high = app.queue.create_queue("high-priority-tasks", concurrency=2)
normal = app.queue.create_queue("normal-priority-tasks", concurrency=2)
low = app.queue.create_queue("low-priority-tasks", concurrency=2)
ended = []


def work(job):
    time.sleep(0.02)
    ended.append(job.queue_name.partition("-")[0])
    return job.name


high.on("drained", lambda: normal.process(work))
normal.on("drained", lambda: low.process(work))


def begin():
    """A queue that is empty from the beginning does not drain: go on to the next one."""
    for queue in (high, normal, low):
        queue.process(work)
        counts = queue.get_job_counts()
        if counts["waiting"] + counts["active"]:
            return


if __name__ == "__main__":
    jobs = []
    for queue, name in ((low, "background-task"), (normal, "regular-task"), (high, "urgent-task")):
        jobs += queue.add_bulk([{"name": name}] * 4)
    begin()
    with app:
        app.start()
        for job in jobs:
            job.wait_until_finished(timeout=30)
        print(*ended)
        high.add("urgent-task").wait_until_finished(timeout=30)  # drains once more; all handlers are there already
        print(len(ended))
