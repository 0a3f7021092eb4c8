"""redbeat: entries in Redis, fired by its own scheduler."""

from __future__ import annotations

import time
from typing import Any

from celery.beat import Service
from celery.schedules import schedule
from celery.signals import beat_init
from redbeat import RedBeatSchedulerEntry

from tests.companions.programs import Given

given = Given()
app = given.app(
    redbeat_redis_url=given.url,
    redbeat_lock_timeout=60,
    redbeat_key_prefix=f"{given.prefix}:",
    beat_schedule={"fixed": {"task": "proj.tick", "schedule": 0.3, "args": ("fixed",)}},
)
given.install(app)


@app.task(name="proj.tick")
def tick(name: str) -> None:
    given.note(name)


def use() -> Any:
    service = Service(app, scheduler_cls="redbeat.RedBeatScheduler")
    scheduler = service.scheduler
    scheduler.max_interval = 0.1
    beat_init.send(sender=service)  # it takes its lock
    entry = RedBeatSchedulerEntry("later", "proj.tick", schedule(0.3, app=app), args=["later"], app=app)
    entry.save()
    while given.notes().count("fixed") < 2 or given.notes().count("later") < 2:
        scheduler.tick()
        time.sleep(0.05)
    runs = RedBeatSchedulerEntry.from_key(entry.key, app=app).total_run_count
    scheduler.close()
    return [sorted(set(given.notes())), runs >= 2]


if __name__ == "__main__":
    given.run(app, use)
