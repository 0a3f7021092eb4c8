"""Tuning: many jobs in one step, references instead of large data, concurrency by the kind of work, what is kept of
jobs that have ended, and the options of the connection to Redis.
"""

import asyncio
import os
import time
from datetime import timedelta

from stratix_kombu import PayloadTooLarge, create_app, queue_plugin

app = create_app({"driver": os.environ.get("STRATIX_DRIVER", "memory")})
app.register(
    queue_plugin,
    # Read by the driver redis; others do not look at it.
    redis={
        "connectTimeout": 10_000,
        "maxRetriesPerRequest": 3,
        "enableReadyCheck": True,
        "autoResendUnfulfilledCommands": True,
        "connectionNamespace": "queue",
        "enableOfflineQueue": True,
        "connectRetryStrategy": lambda attempt: min(attempt * 200, 5000),
    },
    # Whatever a job does not say itself. Other ways to say it: True (none), {"count": 1000, "age": ...}.
    defaultJobOptions={"removeOnComplete": 1000, "removeOnFail": timedelta(days=7)},
    worker={"stalled_check_interval": 200},  # by age they are looked for this often: 30 s where it is not said
)

# Much waiting, little computing: coroutines by the hundred. Much computing: as many slots as processors, and with
# processor={"sandboxed": True} in processes of their own (11_sandboxes.py).
io_queue = app.queue.create_queue("io-tasks", concurrency=50)
cpu_queue = app.queue.create_queue("cpu-tasks", concurrency=4)
images = app.queue.create_queue("images", concurrency=4, max_payload_bytes=64 * 1024)
bucket = {"s3://bucket/image.jpg": b"x" * 1_000_000}


@io_queue.process
async def fetch(job):
    await asyncio.sleep(0.05)
    return job.data["id"]


@cpu_queue.process
def compute(job):
    return sum(number * number for number in range(job.data))


@images.process
def resize(job):
    return len(bucket[job.data["image_url"]]) // 2


def wait_for(condition):
    while not condition():
        time.sleep(0.02)


async def many():
    jobs = await io_queue.aio.add_bulk([{"name": "task1", "data": {"id": number}} for number in range(60)])
    return await asyncio.gather(*(job.aio.wait_until_finished(timeout=60) for job in jobs))


if __name__ == "__main__":
    with app:
        app.start()
        results = asyncio.run(many())
        print(results == list(range(60)))
        print(cpu_queue.add("squares", 1000).wait_until_finished(timeout=30))

        try:
            images.add("process-image", {"image_data": "x" * 1_000_000})
        except PayloadTooLarge as refused:
            print(refused)
        reference = {"image_url": "s3://bucket/image.jpg"}
        print(images.add("process-image", reference).wait_until_finished(timeout=30))

        # By count: the newest ten are kept. By age: removed when it is old enough. A program that waits for a result
        # should be quick, or keep enough: a job that is gone has none.
        images.add_bulk([{"name": "n", "data": reference, "opts": {"remove_on_complete": 10}}] * 20)
        wait_for(lambda: images.get_jobs(["waiting", "active"]) == [])
        print(images.get_job_counts()["completed"])
        aged = cpu_queue.add("squares", 10, removeOnComplete={"age": timedelta(milliseconds=50)})
        wait_for(lambda: cpu_queue.get_job(aged.id) is None)
        print("the old one is gone")
