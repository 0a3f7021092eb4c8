"""Worker pools: a main queue hands its jobs out to queues with a concurrency of their own, and waits for their
results. A handler that waits keeps its slot, so the main queue needs a slot for each job under way: `async def`
handlers make that cheap. And none may wait for a job of its own queue: when all slots are taken by jobs that wait, no
slot is left for what they wait for. Such a job should depend on the other instead; a `timeout` makes sure that
nothing waits forever.
"""

import asyncio
import logging

from stratix_kombu import JobFailed, UnrecoverableError, create_app

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr

app = create_app()
main = app.queue.create_queue("main-tasks", concurrency=100)
pools = {
    "image-processing": app.queue.create_queue("image-worker-pool", concurrency=2),
    "video-processing": app.queue.create_queue("video-worker-pool", concurrency=1),
    "text-processing": app.queue.create_queue("text-worker-pool", concurrency=5),
}
nested = app.queue.create_queue("nested", concurrency=1)


@main.process
async def hand_out(job):
    pool = pools.get(job.data["type"])
    if pool is None:
        raise UnrecoverableError(f"no pool for the type {job.data['type']!r}")
    pool_job = await pool.aio.add(job.data["type"], job.data["data"])
    return await pool_job.aio.wait_until_finished(timeout=30)


@pools["image-processing"].process
def image(job):
    return f"image {job.data}"


@pools["video-processing"].process
def video(job):
    return f"video {job.data}"


@pools["text-processing"].process
async def text(job):
    await asyncio.sleep(0.01)
    return f"text {job.data}"


@nested.process("waits")
def waits(job):
    # The only slot is ours: the other job cannot begin.
    return nested.add("part").wait_until_finished(timeout=0.3)


@nested.process("part")
def part(job):
    return "a part"


@nested.process("whole")
def whole(job):
    return f"made of {', '.join(job.get_dependency_results().values())}"


def reason_of(job):
    try:
        return job.wait_until_finished(timeout=30)
    except JobFailed as failed:
        return failed.reason


if __name__ == "__main__":
    with app:
        app.start()
        jobs = [main.add("task", {"type": kind, "data": n}) for n in range(3) for kind in pools]
        print(sorted(job.wait_until_finished(timeout=30) for job in jobs))
        print(reason_of(main.add("task", {"type": "sound-processing", "data": 0})))

        print(reason_of(nested.add("waits")).partition(":")[0])
        print(reason_of(nested.add("whole", dependencies=[nested.add("part")])))
