"""Dead letters by hand: the handler itself decides what can never succeed, files it in another queue, and fails at
once; everything else is tried again. The id of the letter is made from the job's, so a handler that runs twice files
it once. (The queue option `dead_letter`, in 10_dead_letters_and_housekeeping.py, does this for every job that has
failed for good, in the same step, and `redrive` sends letters back.)
"""

import logging
import time
import traceback

from stratix_kombu import UnrecoverableError, create_app

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr

app = create_app()
main = app.queue.create_queue("main-tasks", concurrency=3)
dead = app.queue.create_queue("dead-letter")
reports = []


class InvalidOrder(Exception):
    """No attempt can mend it."""


def process_task(job):
    if job.data["amount"] < 0:
        raise InvalidOrder("the amount is negative")
    if not job.attempts_made:
        raise ConnectionError("the shop does not answer")
    return f"{job.data['amount']} paid"


@main.process
def handle(job):
    try:
        return process_task(job)
    except InvalidOrder as error:
        letter = {
            "original_job": {"id": job.id, "name": job.name, "data": job.data},
            "error": {"message": str(error), "type": type(error).__name__, "stack": traceback.format_exc()},
            "timestamp": time.time_ns() // 1_000_000,
        }
        dead.add("failed-task", letter, job_id=f"{job.id}.dead")
        raise UnrecoverableError(f"moved to the dead letters: {error}") from error


@dead.process
def notify(job):
    original, error = job.data["original_job"], job.data["error"]
    reports.append(f"{original['name']} {original['data']}: {error['type']}, {error['message']}")
    return "the administrator knows"


if __name__ == "__main__":
    with app:
        app.start()
        good = main.add("order", {"amount": 5}, attempts=3, backoff=10)
        bad = main.add("order", {"amount": -1}, attempts=3, backoff=10)
        print(good.wait_until_finished(timeout=30), "in attempt", good.refresh().attempts_made)
        while dead.get_job_counts()["completed"] < 1 or bad.get_state() != "failed":
            time.sleep(0.02)
        print(bad.refresh().failed_reason, "after attempt", bad.attempts_made)
        print(*reports)
