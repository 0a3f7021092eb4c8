"""Fan out and fan in: a job runs when the jobs it depends on have completed, and reads their results. One that fails
fails those that need it, with a reason that names it; retrying it by hand lets them wait again. Those that can do
without it run when all have ended. Dependencies may change until a job begins.
"""

from stratix_kombu import JobFailed, create_app

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


@etl.process("process-data")
def process_data(job):
    (started,) = job.get_dependency_results().values()
    return started * job.data["part"]


if __name__ == "__main__":
    with app:
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

        # A workflow: a first step, three side by side, and one that needs them all.
        init = etl.add("extract", {"source": "abc123"})
        tasks = [etl.add("process-data", {"part": part}, dependencies=[init.id]) for part in (1, 2, 3)]
        final = etl.add("load", {"process_id": "abc123"}, dependencies=[task.id for task in tasks])
        print(final.wait_until_finished(timeout=30))

        # The failed one is optional here: the others' results are enough.
        broken.add("fourth")
        fourth = etl.add("extract", {"source": "fourth"})
        resilient = etl.add("load", dependencies=[*tasks, fourth], dependenciesMode="optional")
        print(resilient.wait_until_finished(timeout=30), fourth.get_state())

        # Dependencies that change.
        later = etl.add("extract", {"source": "later"}, delay=3_600_000)
        job = etl.add("load", dependencies=[later])
        job.add_dependency(init)
        print(sorted(job.get_dependencies().values()), later.get_dependents() == [job.id], job.get_state())
        job.remove_dependency(later.id)
        print(job.wait_until_finished(timeout=30))
