"""Listening to a queue, from any process, and the asyncio side: `queue.aio` and `job.aio` have the same methods, and
`async def` handlers run by the hundred on one loop.
"""

import asyncio
import threading

from stratix_kombu import create_app

app = create_app()
pages = app.queue.create_queue("pages", concurrency=100)
finished = threading.Event()
seen = []


@pages.process("fetch")
async def fetch(job):
    await asyncio.sleep(0.02)
    await job.aio.update_progress(100)
    return f"page {job.data}"


@pages.on("completed")
def heard(job, result):
    seen.append(result)
    if len(seen) == 50:
        finished.set()


async def main():
    jobs = await pages.aio.add_bulk([{"name": "fetch", "data": number} for number in range(50)])
    return [await job.aio.wait_until_finished(timeout=30) for job in jobs]


if __name__ == "__main__":
    with app:
        app.start()
        print(asyncio.run(main())[-1])
        print("all were heard:", finished.wait(30), len(seen))
