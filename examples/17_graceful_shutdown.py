"""Graceful shutdown: hooks run before the application closes, while everything still works. The documented hook
pauses the queue, waits for the active jobs and closes all queues. A pause holds for all workers everywhere and
outlives the process: it is for stopping the whole service. To stop one process of many, leave the hook out:
`app.close()`, which `app.run()` calls on SIGTERM and Ctrl-C, takes no more jobs, waits for the active ones, and hands
the rest to the others at once.
"""

import threading
import time

from stratix_kombu import create_app

MAX_WAIT_S = 30


def make_app():
    app = create_app()
    emails = app.queue.create_queue("emails", concurrency=2)
    begun = threading.Semaphore(0)

    @emails.process
    def send(job):
        begun.release()
        time.sleep(0.3)
        return job.data

    return app, emails, begun


def close_gracefully(app):
    """The hook as documented, step by step."""
    print("closing: waiting for jobs")
    emails = app.queue.get_queue("emails")
    emails.pause()  # no further job starts
    deadline = time.monotonic() + MAX_WAIT_S
    while emails.get_job_counts()["active"] and time.monotonic() < deadline:
        time.sleep(0.05)
    app.queue.close_all()
    print("all queues are closed")


if __name__ == "__main__":
    first, emails, begun = make_app()
    first.hook("beforeClose", lambda: close_gracefully(first))
    observer = create_app()
    watched = observer.queue.get_queue("emails")
    first.start()
    emails.add_bulk([{"name": "welcome", "data": number} for number in range(5)])
    begun.acquire(timeout=30)
    begun.acquire(timeout=30)
    print("ended in time:", first.close())
    counts = watched.get_job_counts()
    print("active", counts["active"], "completed and paused", counts["completed"] + counts["paused"])

    second, _, _ = make_app()  # the next version of the program, say
    with second:
        second.start()
        watched.resume()
        while watched.get_job_counts()["completed"] < 5:
            time.sleep(0.02)
        print(sorted(job.return_value for job in watched.get_jobs("completed")))
    observer.close()
