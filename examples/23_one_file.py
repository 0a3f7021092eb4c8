"""No server: the jobs are in one file, which any number of processes of this host share. They survive the end of all of
them. Here one application adds, another one works later, as two processes would; and what was limited stays limited.
"""

import tempfile
from pathlib import Path

from stratix_kombu import create_app
from stratix_kombu.types import AppSettings

FOLDER = Path(tempfile.mkdtemp())  # yours is where the file is to stay
SETTINGS: AppSettings = {"store": f"sqlite:///{FOLDER}/jobs.db"}


def producer():
    with create_app(SETTINGS) as app:
        orders = app.queue.get_queue("orders")
        paid = orders.add("pay", {"amount": 5})
        orders.add("ship", {"to": "Ada"}, dependencies=[paid])
        return orders.get_job_counts()


def worker():
    app = create_app(SETTINGS)
    orders = app.queue.create_queue("orders", concurrency=4)
    orders.process("pay", lambda job: job.data["amount"])
    orders.process("ship", lambda job: f"to {job.data['to']} for {sum(job.get_dependency_results().values())}")
    with app:
        (ship,) = orders.get_jobs("blocked")
        app.start()
        return ship.wait_until_finished(timeout=30)


if __name__ == "__main__":
    counts = producer()
    print("left in the file:", counts["waiting"], "waiting,", counts["blocked"], "blocked")
    print(worker())
    with create_app(SETTINGS) as app:
        print("completed:", app.queue.get_queue("orders").get_job_counts()["completed"])
