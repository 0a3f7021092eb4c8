"""Attempts with fixed, exponential and custom back-off, and an error that ends a job at once. A function that computes
delays is called by the worker, which must know it: it is named in the worker's own `backoffs`.
"""

import logging

from stratix_kombu import JobFailed, UnrecoverableError, create_app
from stratix_kombu.types import BackoffOpts

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr


def gently(attempts_made):
    """Milliseconds to wait before the next attempt."""
    return 10 * attempts_made**2


app = create_app()
payments = app.queue.create_queue("payments", concurrency=4, backoffs={"gently": gently})


@payments.process("charge")
def charge(job):
    if job.data["card"] == "stolen":
        raise UnrecoverableError("the card is stolen")
    if job.attempts_made < job.data["fails"]:
        raise ConnectionError("the bank does not answer")
    return f"charged after {job.attempts_made} failures"


if __name__ == "__main__":
    with app:
        app.start()
        backoffs: list[BackoffOpts] = [
            {"type": "fixed", "delay": 20},
            {"type": "exponential", "delay": 10, "jitter": 0.5},
            {"custom": "gently"},
        ]
        for backoff in backoffs:
            job = payments.add("charge", {"card": "good", "fails": 2}, attempts=3, backoff=backoff)
            print(backoff, "->", job.wait_until_finished(timeout=30))
        stolen = payments.add("charge", {"card": "stolen", "fails": 0}, attempts=5)
        try:
            stolen.wait_until_finished(timeout=30)
        except JobFailed as failure:
            print("failed:", failure.reason, "after", stolen.refresh().attempts_made, "attempt")
