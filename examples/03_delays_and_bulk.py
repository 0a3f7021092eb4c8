"""Jobs for later, and many jobs in one step. Delays of any length are kept in the store: no broker's time limit
matters, and no worker's memory holds them. Finished jobs are kept as long as the options say.
"""

from datetime import datetime, timedelta, timezone

from stratix_kombu import create_app

app = create_app({"queues": {"reports": {"concurrency": 8}}})
reports = app.queue.get_queue("reports")
reports.process(lambda job: job.data["month"] * 100)

if __name__ == "__main__":
    with app:
        app.start()
        soon = reports.add("monthly", {"month": 1}, delay=timedelta(milliseconds=150))
        at = reports.add("monthly", {"month": 2}, run_at=datetime.now(timezone.utc) + timedelta(milliseconds=50))
        later = reports.add("monthly", {"month": 3}, delay=timedelta(days=30))
        print(at.wait_until_finished(timeout=30), soon.wait_until_finished(timeout=30), later.get_state())
        later.promote()
        print(later.wait_until_finished(timeout=30))

        jobs = reports.add_bulk(
            [
                {"name": "monthly", "data": {"month": number}, "opts": {"remove_on_complete": {"count": 500}}}
                for number in range(100)
            ]
        )
        print(sum(job.wait_until_finished(timeout=30) for job in jobs))
        print(reports.get_job_counts())
        for job in reports.get_jobs():
            job.remove()
