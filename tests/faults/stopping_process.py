"""A worker process that is asked to stop: ``python -m tests.faults.stopping_process '<json>'``.

It prints what happens to it, line by line; each start and each end of a handler is a line in a file.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from stratix_kombu import Job, create_app
from stratix_kombu.lifecycle import closing


def main() -> None:
    order = json.loads(sys.argv[1])
    # To hand back takes a while on a busy machine.
    closing.close_within.__defaults__ = (60.0, *(closing.close_within.__defaults__ or ())[1:])
    app = create_app(order["settings"])
    queue = app.queue.create_queue("work", concurrency=order["concurrency"])

    def note(line: str) -> None:
        with open(order["notes"], "a", encoding="utf-8") as notes:
            notes.write(f"{line}\n")

    @queue.process()
    def plain(job: Job) -> None:
        note(f"began {job.id}")
        time.sleep(order["seconds"])
        note(f"ended {job.id}")

    @queue.process("loop")
    async def on_loop(job: Job) -> None:
        note(f"began {job.id}")
        try:
            await asyncio.sleep(order["seconds"])
        except asyncio.CancelledError:
            note(f"cancelled {job.id}")
            raise
        note(f"ended {job.id}")

    queue.on("error", lambda error: print("error", error, flush=True))
    for name in ("before_start", "after_start", "before_close", "after_close"):
        app.hook(name, lambda name=name: print(name, flush=True))
    app.hook("before_close", lambda: print("before_close again", flush=True))
    app.run()
    print("returned", flush=True)


if __name__ == "__main__":
    main()
