"""Fan out and fan in: a job runs when the jobs it depends on have completed, and reads their results. One that fails
fails those that need it, with a reason that names it; retrying it by hand lets them wait again.
"""

import logging

from stratix_kombu import JobFailed, create_app

logging.getLogger("stratix_kombu.worker").setLevel(logging.CRITICAL)  # what fails here is meant to: not on stderr

app = create_app()
etl = app.queue.create_queue("etl", concurrency=4)
broken = {"third"}


@etl.process("extract")
def extract(job):
    if job.data["source"] in broken:
        raise OSError(f"the source {job.data['source']} is down")
    return len(job.data["source"])


@etl.process("load")
def load(job):
    return sum(job.get_dependency_results().values())


if __name__ == "__main__":
    with app:
        app.start()
        parts = [etl.add("extract", {"source": source}) for source in ("first", "second")]
        print(etl.add("load", dependencies=parts).wait_until_finished(timeout=30))

        third = etl.add("extract", {"source": "third"})
        total = etl.add("load", dependencies=[*parts, third])
        try:
            total.wait_until_finished(timeout=30)
        except JobFailed as failure:
            print(failure.reason.replace(third.id, "<third>"))
        broken.clear()
        third.retry()
        print(total.wait_until_finished(timeout=30))
