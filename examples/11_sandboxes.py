"""Sandboxes: handlers in child processes, for work that keeps the interpreter busy, crashes, hangs or hoards memory.
The children import the module or the file of a handler. (Handlers may stand in the script that is run, too: then the
children import that, and what the main program does belongs under `__main__`, as with multiprocessing.) The last line
shows what two sandboxes gain over two threads on the same work.
"""

import logging
import time
from datetime import timedelta
from pathlib import Path

from processors.images import count_primes, crash, hang, hoard

from stratix_kombu import JobFailed, create_app

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr

app = create_app()
images = app.queue.create_queue(
    "image-processing",
    concurrency=2,
    processor={"sandboxed": True, "maxSandboxes": 2, "timeout": 10_000, "maxMemoryUsage": 256, "killBehavior": "force"},
)
threads = app.queue.create_queue("on-threads", concurrency=2)
threads.process("count", count_primes)
for name, handler in {"count": count_primes, "crash": crash, "hang": hang, "hoard": hoard}.items():
    images.process(name, handler)
images.process("thumbnail", Path(__file__).with_name("processors") / "thumbnail.py")


def reason_of(job):
    try:
        return job.wait_until_finished(timeout=60)
    except JobFailed as failed:
        return failed.reason


def seconds_for(queue):
    for job in queue.add_bulk([{"name": "count", "data": 20_000}] * 2):  # both children are warm then
        job.wait_until_finished(timeout=60)
    begin = time.monotonic()
    jobs = queue.add_bulk([{"name": "count", "data": 40_000}] * 4)
    assert {job.wait_until_finished(timeout=60) for job in jobs} == {4203}
    return time.monotonic() - begin


with app:
    app.start()
    print(reason_of(images.add("crash")))
    print(reason_of(images.add("hang", timeout=timedelta(milliseconds=100))))
    print("max_memory_usage (256 MB)" in reason_of(images.add("hoard")))
    print(reason_of(images.add("count", 100)), reason_of(images.add("thumbnail", [1920, 1080])))
    on_threads, in_sandboxes = seconds_for(threads), seconds_for(images)
    print(f"two threads: {on_threads:.2f} s, two sandboxes: {in_sandboxes:.2f} s")
