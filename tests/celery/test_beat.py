"""``celery beat -S stratix``: the project's entries, and repeatable jobs, with several beats at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import ImproperlyConfigured
from celery.schedules import crontab, schedule, solar

from stratix_kombu.celery.beat import StratixScheduler, next_slot
from stratix_kombu.stores.postgres.session import Session
from tests.celery.conftest import lines
from tests.celery.workers import ROOT, Project
from tests.waiting import WAIT_S, until


class Beat:
    """A beat in a process of its own."""

    def __init__(self, project: Project, schedule: dict[str, Any], folder: Path) -> None:
        settings = {"broker": project.broker, "store": project.store, "prefix": project.prefix}
        text = json.dumps({**settings, "beat_schedule": schedule})
        environment = {**os.environ, "STRATIX_TEST_PROJECT": text}
        command = [sys.executable, "-m", "celery", "-A", "tests.celery.project", "beat", "-S", "stratix", "-l", "INFO"]
        self._log = folder / f"{uuid.uuid4().hex}.log"
        pid = ["--pidfile", os.fspath(self._log.with_suffix(".pid"))]
        with self._log.open("w") as log:
            self.process = subprocess.Popen([*command, *pid], cwd=ROOT, env=environment, stderr=log)

    def end(self) -> None:
        """Once it has begun: before that, nothing answers a signal."""
        until(lambda: "beat: Starting" in self._log.read_text(), WAIT_S)
        self.process.terminate()
        assert self.process.wait(WAIT_S) == 0


def slots(project: Project, name: str) -> list[int]:
    found = [job.id for job in project.queue.get_jobs()]
    return sorted(int(one.rpartition(":")[2]) for one in found if one.startswith(f"repeat:beat:{name}:"))


def test_each_slot_of_an_entry_is_one_task(project: Project, notes: str, tmp_path: Path) -> None:
    entries = {
        "quick": {"task": "proj.note", "schedule": 0.25, "args": [notes, "quick"]},
        "slow": {"task": "proj.note", "schedule": 0.5, "kwargs": {"path": notes, "line": "slow"}},
    }
    beats = [Beat(project, entries, tmp_path) for _ in range(2)]
    with project.worker():
        until(lambda: lines(notes).count("slow") >= 3, WAIT_S)
        beats[0].process.kill()
        beats[0].process.wait()
        count = lines(notes).count("slow")
        until(lambda: lines(notes).count("slow") >= count + 3, WAIT_S)
        project.queue.add_repeatable_job(project.task("note"), [notes, "at run time"], key="k", every=250)
        until(lambda: "at run time" in lines(notes), WAIT_S)
        assert project.queue.remove_repeatable_job(key="k")
        beats[1].end()
        until(lambda: not project.queue.get_jobs(["waiting", "active"]), WAIT_S)
    for name, every in (("quick", 250), ("slow", 500)):
        found = slots(project, name)
        assert len(set(found)) == len(found) >= 3
        assert all(slot % every == 0 for slot in found)  # what comes while all beats are busy is one late run
        assert lines(notes).count(name) == len(found)


def test_who_wraps_the_scheduler_sees_each_entry_that_is_due(
    on_redis: Project, notes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Sentry does, for its check-ins."""
    seen: list[str] = []
    apply_entry = Scheduler.apply_entry

    def checked_in(self: Any, entry: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(entry.name)
        entry.options = {**entry.options, "headers": {"check-in": "1"}}
        return apply_entry(self, entry, *args, **kwargs)

    monkeypatch.setattr(Scheduler, "apply_entry", checked_in)
    on_redis.app.conf.beat_schedule = {
        "often": {"task": "proj.note", "schedule": 0.05, "args": [notes]},
        "faulty": {"task": "proj.note", "schedule": 0.05, "args": [object()]},
    }
    scheduler = StratixScheduler(on_redis.app, lazy=False)
    try:
        until(lambda: scheduler.tick() is not None and {"often", "faulty"} <= set(seen), WAIT_S)
        (job, *_) = on_redis.queue.get_jobs("waiting")
        (record,) = on_redis.app.stratix.queue.store.queries.get([job.id])
        assert json.loads(record.message)["headers"]["check-in"] == "1"
    finally:
        scheduler.close()


def test_a_signal_in_the_middle_of_a_step_ends_it(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's handler closes the scheduler and raises; it is closed once more when that has left the step."""
    project, first = Project(f"stratix+{postgres_database}?migrate=auto", ""), Session.first
    project.app.conf.beat_schedule = {"often": {"task": "proj.add", "schedule": 0.05, "args": [1, 1]}}
    scheduler = StratixScheduler(project.app, lazy=False)
    came: list[str] = []

    def interrupted(self: Any, *args: Any) -> Any:
        if threading.current_thread() is threading.main_thread() and not came:
            came.append("SIGTERM")
            scheduler.close()
            raise SystemExit
        return first(self, *args)

    monkeypatch.setattr(Session, "first", interrupted)
    with pytest.raises(SystemExit):
        until(lambda: scheduler.tick() < 0, WAIT_S)
    assert came
    scheduler.close()
    assert scheduler._clock is not None
    assert not scheduler._clock._thread.is_alive()
    project.close()


def test_a_beat_goes_on_where_it_was(on_redis: Project, notes: str, tmp_path: Path) -> None:
    """State is in the store; what an entry that is gone had is removed, and one that changed starts afresh."""
    schedules = on_redis.app.stratix.queue.store.schedules
    first = Beat(on_redis, {"a": {"task": "proj.note", "schedule": 3600, "args": [notes]}}, tmp_path)
    until(lambda: [one.key for one in schedules.all()] == ["beat:a"], WAIT_S)
    (kept,) = schedules.all()
    first.end()
    schedules.set_paused("beat:a", False, kept.next_ms - 2 * 3_600_000)  # it was away for hours: one late run
    entries = {"a": {"task": "proj.note", "schedule": 3600, "args": [notes]}, "b": {"task": "x", "schedule": 60}}
    second = Beat(on_redis, entries, tmp_path)
    until(lambda: len(slots(on_redis, "a")) == 1, WAIT_S)
    assert slots(on_redis, "a") == [kept.next_ms - 2 * 3_600_000]
    assert schedules.all()[0].next_ms > kept.next_ms - 3_600_000
    second.end()
    third = Beat(on_redis, {"b": {"task": "x", "schedule": 7200}}, tmp_path)
    until(lambda: [(one.key, one.rule) for one in schedules.all()] == [("beat:b", "<freq: 2.00 hours>")], WAIT_S)
    third.end()
    assert len(slots(on_redis, "a")) == 1


def entry(rule: Any) -> ScheduleEntry:
    app = Celery("beat", broker="memory://", set_as_current=False)
    app.conf.timezone = "Europe/Berlin"
    rule.app = app
    return ScheduleEntry("e", "t", schedule=rule, app=app)


def ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=timezone.utc).timestamp() * 1000)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("rule", "after", "expected"),
    [
        (schedule(timedelta(seconds=30)), ms(2024, 5, 1, 12, 0, 10), ms(2024, 5, 1, 12, 0, 30)),
        (schedule(timedelta(seconds=30)), ms(2024, 5, 1, 12, 0, 30), ms(2024, 5, 1, 12, 1)),
        (crontab(hour=3, minute=30), ms(2024, 5, 1, 12), ms(2024, 5, 2, 1, 30)),
        (crontab(hour=2, minute=30), ms(2024, 3, 30, 12), ms(2024, 3, 31, 1)),  # a time that is left out
        (crontab(hour=2, minute=30), ms(2024, 10, 27, 0, 30), ms(2024, 10, 28, 1, 30)),  # one that comes twice
        (crontab(hour=3, minute=30), ms(2024, 5, 2, 1, 30), ms(2024, 5, 3, 1, 30)),
        (crontab(minute="*/15", day_of_week="mon-fri"), ms(2024, 5, 3, 21, 46), ms(2024, 5, 5, 22)),
        (crontab(0, 0, day_of_month=29, month_of_year=2), ms(2024, 3, 1), ms(2028, 2, 28, 23)),
    ],
)
def test_slots_of_entries(rule: Any, after: int, expected: int) -> None:
    assert next_slot(entry(rule), after) == expected


def test_slots_of_the_sun() -> None:
    sunrise = entry(solar("sunrise", 52.5, 13.4))
    first = next_slot(sunrise, ms(2024, 5, 1))
    assert ms(2024, 5, 1, 3) < first < ms(2024, 5, 1, 4)
    second = next_slot(sunrise, first)
    assert ms(2024, 5, 2, 3) < second < ms(2024, 5, 2, 4)
    assert next_slot(sunrise, first - 5_000) == first


def test_every_beat_finds_the_same_slot() -> None:
    """Whenever within the time between two slots it asks."""
    for rule in (crontab(minute="*/7"), crontab(hour="2,5"), schedule(timedelta(seconds=7))):
        one = entry(rule)
        slot = next_slot(one, ms(2024, 10, 26, 23, 1))
        for _ in range(50):
            following = next_slot(one, slot)
            assert following > slot
            assert {next_slot(one, slot + step) for step in range(0, following - slot, 997)} == {following}
            slot = following


def test_it_needs_the_bridge() -> None:
    with pytest.raises(ImproperlyConfigured, match="needs the bridge"):
        StratixScheduler(Celery("beat", broker="memory://", set_as_current=False), lazy=True)


def test_a_broadcast_is_sent_by_one_beat(on_redis: Project) -> None:
    """It is no job, so it is sent after its slot was claimed."""
    from kombu.common import Broadcast

    app = on_redis.app
    everybody = {"queue": Broadcast("all")}
    app.conf.beat_schedule = {"tell": {"task": "proj.add", "schedule": 0.2, "args": [1, 1], "options": everybody}}
    sent: list[str] = []
    app.stratix_bridge.publisher._send_untracked = lambda published, *rest: sent.append(published.headers["id"])
    beats = [StratixScheduler(app) for _ in range(2)]
    deadline = time.monotonic() + 10
    while len(sent) < 5:
        assert time.monotonic() < deadline
        for beat in beats:
            beat.tick()
    for beat in beats:
        beat.close()
    assert len(set(sent)) == len(sent)
    assert all(one.startswith("repeat:beat:tell:") for one in sent)
