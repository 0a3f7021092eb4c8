"""Repeatable jobs: cron expressions, intervals, limits, windows, and how they are looked at and changed.

They are kept in the store: any number of processes with a clock fires each slot once, and the job of a slot is one as
any other, with retries and progress. Deploying the same program twice makes no second one.
"""

import time
from datetime import datetime, timedelta, timezone

from stratix_kombu import create_app

app = create_app()
queue = app.queue.create_queue("maintenance", concurrency=4)


@queue.process
def work(job):
    return f"{job.name} {job.data}"


# Every night at 3:30, every Monday at 9, and on the first of each month by the time of Shanghai.
queue.add_repeatable_job("nightly-backup", {"type": "full"}, cron="30 3 * * *")
queue.add_repeatable_job("weekly-report", {"format": "pdf"}, cron="0 9 * * 1")
queue.add_repeatable_job("monthly-invoice", {"generate": True}, cron="0 0 1 * *", timezone="Asia/Shanghai")

# Every ten minutes; every hour, ten times.
queue.add_repeatable_job("health-check", {"endpoints": ["api"]}, every=timedelta(minutes=10))
queue.add_repeatable_job("hourly-task", every=60 * 60 * 1000, limit=10)

# Six fields have seconds first: each minute from 9 to 17 on week-days, within a window of time.
queue.add_repeatable_job(
    "business-hours-task",
    cron="0 * 9-17 * * 1-5",
    start_date=datetime(2099, 1, 1, tzinfo=timezone.utc),
    end_date=datetime(2099, 12, 31, tzinfo=timezone.utc),
)

# Once now, then every night; and one that is quick enough to be watched here.
queue.add_repeatable_job("immediate-then-scheduled", cron="0 0 * * *", immediately=True)
queue.add_repeatable_job("tick", {"n": 1}, key="tick", every=100, limit=3, attempts=2)

with app:
    app.start()
    names = sorted(one.name for one in queue.get_repeatable_jobs())
    print(len(names), names[0], names[-1])

    while len(queue.get_jobs("completed")) < 4:
        time.sleep(0.02)
    print(sorted(job.return_value for job in queue.get_jobs("completed")))

    # Look, pause, run by hand, replace, remove.
    (ticks,) = (one for one in queue.get_repeatable_jobs() if one.key == "tick")
    print(ticks.runs, ticks.next_run)
    print(queue.run_repeatable_job("tick").wait_until_finished(timeout=10))
    changed = queue.add_repeatable_job("tick", {"n": 2}, key="tick", every=timedelta(hours=1))
    queue.pause_repeatable_job("tick")
    print(changed.data, changed.every, queue.remove_repeatable_job(name="nightly-backup", cron="30 3 * * *"))
    for one in queue.get_repeatable_jobs():
        queue.remove_repeatable_job(key=one.key)
    print(queue.get_repeatable_jobs())
