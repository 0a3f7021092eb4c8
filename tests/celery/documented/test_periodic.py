"""Periodic tasks: https://docs.celeryq.dev/en/stable/userguide/periodic-tasks.html

An entry becomes the same message, whether the scheduler is Celery's own or that of the bridge. Entries that are due in
the store are in tests/celery/test_beat.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler
from celery.schedules import crontab, solar

from tests.celery.test_beside_routes import both, taken

Entries = dict[str, dict[str, Any]]


def plain(app: Celery, name: str) -> None:
    app.conf.beat_schedule = {"every": {"task": "tasks.add", "schedule": 30.0, "args": (16, 16)}}


def with_options(app: Celery, name: str) -> None:
    options = {"queue": f"{name}own", "priority": 3, "expires": 60}
    entry = {"task": "tasks.add", "schedule": timedelta(seconds=30), "kwargs": {"x": 1}, "options": options}
    app.conf.beat_schedule = {"every": entry}


def added(app: Celery, name: str) -> None:
    app.add_periodic_task(10.0, app.signature("tasks.test", ("hello",)), name="add every 10", expires=10)


def added_by_handler(app: Celery, name: str) -> None:
    """ "Setting these up from within the on_after_configure handler"."""

    @app.on_after_configure.connect(weak=False)
    def setup_periodic_tasks(sender: Celery, **kwargs: Any) -> None:
        sender.add_periodic_task(crontab(hour=7, minute=30, day_of_week=1), sender.signature("tasks.test", ("Monday",)))

    app.conf.beat_schedule  # noqa: B018


def sun(app: Celery, name: str) -> None:
    schedule = solar("sunset", -37.81753, 144.96715)
    app.conf.beat_schedule = {"sunset": {"task": "tasks.add", "schedule": schedule, "args": (16, 16)}}


STATEMENTS: list[tuple[str, Callable[[Celery, str], None], str, Any]] = [
    ("Run the tasks.add task every 30 seconds", plain, "", [16, 16]),
    ("This can be any argument supported by apply_async", with_options, "own", []),
    ("will add the entry to the beat_schedule setting behind the scenes", added, "", ["hello"]),
    ("Setting these up from within the on_after_configure handler", added_by_handler, "", ["Monday"]),
    ("a task to be executed according to sunrise, sunset, dawn or dusk", sun, "", [16, 16]),
]


@pytest.mark.parametrize(("words", "set_up", "queue", "args"), STATEMENTS, ids=[one[1].__name__ for one in STATEMENTS])
def test_entries(redis_url: str, words: str, set_up: Callable[[Celery, str], None], queue: str, args: Any) -> None:
    with both(redis_url) as apps:
        answers = []
        for app, name in apps.values():
            set_up(app, name)
            scheduler = Scheduler(app, lazy=False)
            found = [one for one in scheduler.schedule.values() if one.task.startswith("tasks.")]
            for entry in found:
                scheduler.apply_async(entry, advance=False)
            sent = taken(app, name + queue)[name + queue]
            rules = [str(one.schedule).replace(name, "") for one in found]
            options = [{**one.options, "queue": str(one.options.get("queue")).replace(name, "")} for one in found]
            answers.append([sorted(one.name for one in found), rules, options, sent])
    assert answers[0] == answers[1], words
    assert answers[0][-1] == [args], words


def test_crontabs_are_in_the_zone_of_the_project(redis_url: str) -> None:
    """ "you can change the time zone used using the timezone setting"."""
    with both(redis_url, timezone="Europe/London") as apps:
        due = []
        for app, _ in apps.values():
            rule = crontab(hour=12, minute=0, app=app, nowfun=lambda: datetime(2026, 7, 1, 10, 0, tzinfo=timezone.utc))
            due.append(rule.remaining_estimate(datetime(2026, 7, 1, 9, 0, tzinfo=timezone.utc)))
    assert due[0] == due[1] == timedelta(hours=1)
