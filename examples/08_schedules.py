"""Schedules: functions of this process that run by the clock, and add jobs to queues.

They are not kept anywhere. Where several processes run the same program, a lock or ``once=True`` sees to it that only
one of them acts.
"""

import time

from stratix_kombu import create_app, schedule_plugin

app = create_app()
app.register(schedule_plugin)
emails = app.queue.create_queue("emails", concurrency=4)
emails.process(lambda job: f"{job.name} {job.data}")


async def nightly():
    await emails.aio.add("nightly-backup", {"type": "full"})


app.schedule.cron("30 3 * * *", nightly)
app.schedule.cron("0 9 * * 1", lambda: emails.add("weekly-report", {"recipients": ["manager@example.com"]}))
app.schedule.cron("0 0 1 * *", lambda: emails.add("monthly-invoice"), timezone="Asia/Shanghai")
app.schedule.interval("10 minutes", lambda: emails.add("health-check", {"endpoints": ["api/health"]}))
app.schedule.interval("1 hour", lambda: emails.add("hourly-stats"), limit=24)


@app.schedule.interval("0.5 s", limit=2, name="twice", once=True)
def twice():
    emails.add("twice")


def reports():
    # Only one of all processes adds the job.
    lock = app.distributed_lock.acquire("daily-task-lock", 30_000)
    if lock:
        try:
            emails.add("generate-reports")
        finally:
            app.distributed_lock.release("daily-task-lock")


daily = app.schedule.register(cron="* * * * * *", handler=reports, name="daily", limit=1)


def done():
    # Of the others some may be due just now.
    return sorted(job.name for job in emails.get_jobs("completed") if job.name in ("generate-reports", "twice"))


with app:
    app.start()
    while len(done()) < 3:
        time.sleep(0.02)
    print(done())

    sync = app.schedule.register({"cron": "*/5 * * * *", "handler": lambda: emails.add("data-sync"), "name": "sync"})
    app.schedule.pause(sync)
    print([one.name for one in app.schedule.list() if one.paused])
    app.schedule.resume(sync)
    print(app.schedule.unregister(sync), len(app.schedule.list()))

    with app.distributed_lock.hold("import", ttl=30_000, timeout=5) as lock:
        print(lock.extend(60_000), app.distributed_lock.acquire("import", 1000))
