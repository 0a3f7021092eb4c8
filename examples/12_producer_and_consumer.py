"""Producer and consumer apart: two programs that share their configuration and nothing else. The producer does not ask
for jobs (`app.run()` and `app.start()` do), so it takes none; it may be gone before a consumer begins. Run
`... producer` and `... consumer` in two terminals; without a word the one is started by the other (in one process where
the driver is memory, which no other can see).
"""

import logging
import subprocess
import sys
import time

from stratix_kombu import create_app, queue_plugin

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr


def make_app():
    app = create_app()
    app.register(queue_plugin, default_job_options={"attempts": 3, "backoff": 20})
    return app


def produce():
    app = make_app()
    tasks = app.queue.get_queue("tasks")
    jobs = tasks.add_bulk([{"name": "square", "data": number} for number in range(1, 6)])
    print("added", len(jobs), flush=True)
    app.close()


def make_consumer():
    app = make_app()
    tasks = app.queue.create_queue("tasks", concurrency=5)

    @tasks.process
    def square(job):
        if job.data == 3 and not job.attempts_made:
            raise ConnectionError("a fault that a second attempt gets over")
        return job.data**2

    return app, tasks


if __name__ == "__main__":
    role = sys.argv[1] if sys.argv[1:] else "both"
    if role == "producer":
        produce()
    elif role == "consumer":
        make_consumer()[0].run()  # until SIGTERM or Ctrl-C
    else:
        app, tasks = make_consumer()
        if app.queue.describe().startswith("memory"):
            produce()
        else:
            subprocess.run([sys.executable, __file__, "producer"], check=True)
        with app:
            app.start()
            while tasks.get_job_counts()["completed"] < 5:
                time.sleep(0.02)
            print("results", sorted(job.return_value for job in tasks.get_jobs("completed")))
            print("attempts", sum(job.attempts_made for job in tasks.get_jobs("completed")))
