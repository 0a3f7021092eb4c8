"""Django with django-celery-results and django-celery-beat, on SQLite."""

from __future__ import annotations

import time
from typing import Any

import django
from celery import Celery, chain, chord
from celery.beat import Service
from django.conf import settings

from tests.companions.programs import OWN, Given, until, wait
from tests.companions.tasks import define

given = Given()
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(given.folder / "db.sqlite3"),
            "OPTIONS": {"timeout": 30},
        }
    },
    INSTALLED_APPS=["django_celery_results", "django_celery_beat"],
    USE_TZ=True,
    CELERY_BROKER_URL=given.url,
    CELERY_TASK_DEFAULT_QUEUE=f"{given.prefix}q",
    CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP=True,
    CELERY_RESULT_BACKEND="django-db",
    CELERY_RESULT_EXTENDED=True,
    CELERY_TASK_TRACK_STARTED=True,
)
django.setup()
from django.core.management import call_command  # noqa: E402
from django_celery_beat.models import IntervalSchedule, PeriodicTask  # noqa: E402
from django_celery_results.models import TaskResult  # noqa: E402

app = Celery("proj")
app.config_from_object("django.conf:settings", namespace="CELERY")
given.install(app, results="also")


tasks = define(app)
add, total, boom, again = tasks.add, tasks.total, tasks.boom, tasks.again


@app.task(name="proj.tick")
def tick(name: str) -> None:
    given.note(name)


def rows() -> list[list[Any]]:
    found = TaskResult.objects.exclude(task_name__in=(*OWN, "proj.tick"))
    return sorted([one.task_name, one.status, one.result, one.task_args, one.task_kwargs] for one in found)


def use() -> Any:
    call_command("migrate", verbosity=0)
    results = [
        add.delay(1, 2),
        boom.delay(),
        again.delay(),
        chain(add.s(1, 1), add.s(2)).apply_async(),
        chain(boom.s(), add.s(2)).apply_async(),
    ]
    values = [wait(one) for one in results]
    revoked = add.apply_async((1, 1), countdown=3600)
    chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async()
    until(lambda: len([one for one in rows() if one[1] in ("SUCCESS", "FAILURE")]) == 10, 30)
    return {"values": values, "rows": rows(), "state": revoked.state}


def beat() -> Any:
    call_command("migrate", verbosity=0)
    often, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="ticks", task="proj.tick", interval=often, args='["often"]')
    PeriodicTask.objects.create(name="once", task="proj.tick", interval=often, args='["once"]', one_off=True)
    service = Service(app, scheduler_cls="django_celery_beat.schedulers:DatabaseScheduler")

    def is_over() -> bool:
        """The scheduler disables what runs once when it looks at it again."""
        notes = given.notes()
        enabled = PeriodicTask.objects.get(name="once").enabled
        return notes.count("often") >= 2 and "once" in notes and not enabled

    while not is_over():
        service.scheduler.tick()
        service.scheduler.sync()
        time.sleep(0.05)
    runs = PeriodicTask.objects.get(name="ticks").total_run_count
    return [given.notes().count("once"), runs >= 2, PeriodicTask.objects.get(name="once").enabled]


if __name__ == "__main__":
    given.run(app, beat if given.said.get("beat") else use)
