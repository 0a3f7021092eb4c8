"""``celery -A proj beat -S stratix``: the clock as a Celery beat, which fires the project's own ``beat_schedule`` too.

Each entry is a schedule in the store, whose slots are claimed: any number of beats may run, each slot is fired once,
and a restart continues where it was. Repeatable jobs that are added or changed at run time take effect at once."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from typing import Any

from celery.beat import ScheduleEntry, Scheduler
from celery.exceptions import ImproperlyConfigured
from celery.schedules import crontab, schedule as interval

from stratix_kombu.celery.batch import Unsent, within
from stratix_kombu.celery.bridge import Bridge, bridge_of
from stratix_kombu.errors import Unavailable
from stratix_kombu.lifecycle.clock import Clock
from stratix_kombu.lifecycle.repeat import claim_slot, put_schedule, remove_schedule
from stratix_kombu.model.cron import instant_of
from stratix_kombu.model.instant import EPOCH, date_of
from stratix_kombu.model.names import run_id
from stratix_kombu.model.record import Schedule

OWNER = "beat"
MAX_SLEEP_S = 0.25
AWAY_S = 1.0
MAX_DAYS = 366 * 41
"""29 February on one day of the week comes after forty years at most."""


def key_of(name: str) -> str:
    """The schedule's key for an entry of ``beat_schedule``."""
    return f"beat:{name}"


def next_slot(entry: ScheduleEntry, after_ms: int) -> int:
    """The first time of an entry after an instant, the same for every beat; 0 if there is none."""
    rule = entry.schedule
    if type(rule) is interval:
        every_ms = max(round(rule.run_every.total_seconds() * 1000), 1)
        return int((after_ms // every_ms + 1) * every_ms)
    after = date_of(after_ms)
    if isinstance(rule, crontab):
        return _next_crontab(rule, after, after_ms)
    rule = copy.copy(rule)
    rule.app = entry.schedule.app  # whose time zone counts; copying forgets it
    rule.nowfun = lambda: after
    at = after + rule.remaining_estimate(after)
    return int(max(round((at - EPOCH) / timedelta(seconds=1)) * 1000, after_ms + 1))


def _next_crontab(rule: crontab, after: datetime, after_ms: int) -> int:
    """As Celery interprets one: the day must match month, day of month and day of week. Celery's own estimate is wrong
    in the hours in which clocks change."""
    zone = rule.tz
    day = after.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    for _ in range(MAX_DAYS):
        week_day = day.isoweekday() % 7
        if day.month in rule.month_of_year and day.day in rule.day_of_month and week_day in rule.day_of_week:
            for hour in sorted(rule.hour):
                for minute in sorted(rule.minute):
                    found = instant_of(day.replace(hour=hour, minute=minute), zone)
                    if found > after_ms:
                        return found
        day += timedelta(days=1)
    return 0


class StratixScheduler(Scheduler):
    """Entry point ``stratix`` of ``celery.beat_schedulers``."""

    def __init__(self, app: Any, *args: Any, **kwargs: Any) -> None:
        bridge = bridge_of(app)
        if bridge is None:
            raise ImproperlyConfigured(
                "the scheduler 'stratix' needs the bridge: call stratix_kombu.celery.install(app)"
            )
        self.bridge: Bridge = bridge
        self._clock: Clock | None = None
        self._ticks = False
        super().__init__(app, *args, **kwargs)

    def setup_schedule(self) -> None:
        """Bring the store up to date with ``beat_schedule``; unchanged entries continue where they were."""
        super().setup_schedule()
        self.install_default_entries(self.schedule)  # Celery's class has removed them with what is not configured
        engine, queue = self.bridge.engine, self.app.conf.task_default_queue
        _, now_ms, _ = engine.store.schedules.due(1, OWNER)
        for name, entry in self.schedule.items():
            kept = Schedule(
                key=key_of(name),
                queue=queue,
                name=entry.task,
                rule=repr(entry.schedule),
                template="",
                next_ms=next_slot(entry, now_ms),
                owner=OWNER,
            )
            put_schedule(engine, kept)
        for schedule in engine.store.schedules.all():
            if schedule.owner == OWNER and schedule.key.removeprefix("beat:") not in self.schedule:
                remove_schedule(engine, schedule.key)
        self._clock = Clock.of(engine, self.bridge.queue.settings.worker)
        self._clock.start()

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Fire what is due; return the seconds until the next time."""
        self._ticks = True
        try:
            due, now_ms, next_ms = self.bridge.engine.store.schedules.due(owner=OWNER)
            for schedule in due:
                entry = self.schedule.get(schedule.key.removeprefix("beat:"))
                if entry is not None:
                    self._fire(schedule, entry, now_ms)
        except Unavailable as error:
            self.bridge.engine.report("", error, "beat_failed")
            return AWAY_S
        finally:
            self._ticks = False
        return min(MAX_SLEEP_S if next_ms is None else next_ms / 1000, MAX_SLEEP_S)

    def _fire(self, schedule: Schedule, entry: ScheduleEntry, now_ms: int) -> None:
        following = next_slot(entry, max(now_ms, schedule.next_ms))
        engine = self.bridge.engine
        deadline = self.app.conf.beat_cron_starting_deadline
        if deadline and isinstance(entry.schedule, crontab) and now_ms - schedule.next_ms > deadline * 1000:
            claim_slot(engine, schedule, following, None)
            return
        entry = copy.copy(entry)
        entry.options = {**(entry.options or {}), "task_id": run_id(schedule.key, schedule.next_ms)}
        with within(Unsent()) as batch:
            self.apply_entry(
                entry
            )  # it logs why an entry cannot be sent: this run is lost, other entries are not affected
        job = batch.jobs[0] if batch.jobs else None
        if not claim_slot(engine, schedule, following, job):
            return  # another beat was first
        for send in batch.unsent:
            send()

    def close(self) -> None:
        """Celery calls it in its handler of signals, which may interrupt a step of the store, and again when that step
        has been left: the store takes no other one within it."""
        if self._ticks:
            return
        if self._clock is not None:
            self._clock.stop()
        super().close()

    @property
    def info(self) -> str:
        return f"    . store -> {self.bridge.engine.store.address}"
