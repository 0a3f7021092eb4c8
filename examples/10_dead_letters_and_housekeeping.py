"""Dead letters, deduplication, and housekeeping: what failed for good is kept apart and sent back when the fault is
fixed; jobs that are there already are not added again; queues are drained, cleaned and removed.
"""

import logging
import time
from datetime import timedelta

from stratix_kombu import create_app

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr

app = create_app()
mail = app.queue.create_queue("mail", concurrency=4, dead_letter="mail-dead")
dead = app.queue.get_queue("mail-dead")
reachable = {"ada@example.com"}


@mail.process
def send(job):
    if job.data["to"] not in reachable:
        raise OSError(f"cannot reach {job.data['to']}")
    return f"sent to {job.data['to']}"


def wait_for(condition):
    while not condition():
        time.sleep(0.02)


with app:
    app.start()
    for to in ("ada@example.com", "bob@example.com", "eve@example.com"):
        mail.add("welcome", {"to": to}, attempts=2, backoff=10)
    wait_for(lambda: dead.get_job_counts()["waiting"] == 2)
    letter = min(dead.get_jobs("waiting"), key=lambda job: job.data["data"]["to"])
    print(letter.name, letter.data["reason"], letter.data["attempts"])

    reachable.add("bob@example.com")
    print(dead.redrive(filter=lambda letter: letter["data"]["to"].startswith("bob")))
    wait_for(lambda: mail.get_job_counts()["completed"] == 2)

    # At most one unfinished job under an id; one within a time; the last one of many.
    later = timedelta(hours=1)
    first = mail.add("digest", {"n": 1}, deduplication={"id": "digest"}, delay=later)
    print(mail.add("digest", {"n": 2}, deduplication={"id": "digest"}, delay=later).id == first.id)
    for text in ("a", "ab", "abc"):
        mail.add("save", {"text": text}, deduplication={"id": "save", "replace": True}, delay=later)
    print(sorted(str(job.data) for job in mail.get_jobs("delayed")))

    print(mail.drain(delayed=True), len(mail.clean(state="completed")), mail.retry_jobs(count=1))
    wait_for(lambda: not mail.get_jobs(["waiting", "active", "delayed"]))
    print(mail.obliterate() + dead.obliterate() > 0, mail.get_jobs())
