"""Repeatable jobs of a queue: options in, schedules of the store out."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from stratix_kombu.answer_types import ScheduleRun
from stratix_kombu.config.options import JOB_OPTIONS, instant, milliseconds, snake_keys, together, whole
from stratix_kombu.errors import ConfigurationError, InvalidPayload, RepeatableJobNotFound
from stratix_kombu.foreign import REPEATABLE
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.lifecycle.repeat import (
    pause_schedule,
    put_schedule,
    remove_schedule,
    resume_schedule,
    run_now,
    template_of,
)
from stratix_kombu.model.arguments import flag
from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.codec import decode
from stratix_kombu.model.given import mapping
from stratix_kombu.model.instant import date_of
from stratix_kombu.model.names import check_job_id, run_id, shown
from stratix_kombu.model.record import Added, JobRecord, NewJob, Schedule
from stratix_kombu.model.recurrence import Recurrence
from stratix_kombu.model.runs import Run, runs_of
from stratix_kombu.model.shown import Shown
from stratix_kombu.model.zones import is_utc_here

if TYPE_CHECKING:
    pass

logger = logging.getLogger("stratix_kombu.queue")

REPEAT_OPTIONS = frozenset({"cron", "every", "timezone", "tz", "limit", "start_date", "end_date", "immediately", "key"})
_NOT_REPEATED = ("job_id", "delay", "run_at", "dependencies", "dependencies_mode")

_utc_was_logged = False
"""Whether the warning about rules without a time zone was logged in this process."""

MakeJob = Callable[[Any, Any, Mapping[str, Any]], NewJob]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatableJob(Shown, NotAwaitable):
    """A repeatable job as it is kept; ``every`` is in milliseconds, dates are aware."""

    _foreign: ClassVar[Mapping[str, str]] = REPEATABLE
    _meant: ClassVar[str] = "write 'await queue.aio.add_repeatable_job(...)'"

    key: str
    name: str
    queue_name: str
    data: Any
    cron: str | None
    timezone: str | None
    every: int | None
    limit: int | None
    start_date: datetime | None
    end_date: datetime | None
    runs: int
    next_run: datetime | None
    """None when it has ended."""
    paused: bool


_SHOWN = frozenset(field.name for field in fields(RepeatableJob))
"""In a record that is passed back as a mapping, keys that are not options are ignored."""


def rule_of(given: Mapping[str, Any], where: str, default_zone: str | None) -> Recurrence:
    """The recurrence that the options describe; ``default_zone`` is the application's, or None. Raises
    ConfigurationError, naming ``where``."""
    if given.get("timezone") and given.get("tz"):
        raise ConfigurationError(f"{where}: 'timezone' and 'tz' are the same option: give one of them")
    zone = given.get("timezone") or given.get("tz")
    cron, limit = given.get("cron"), given.get("limit")
    if cron is not None and not isinstance(cron, str):
        raise ConfigurationError(f"{where}: 'cron' must be a text such as '30 3 * * *', not {cron!r}")
    if zone is not None and (not cron or not isinstance(zone, str)):
        raise ConfigurationError(f"{where}: 'timezone' must be a name and belongs to 'cron', not {zone!r}")
    start, end = (_instant_of(given, name, where) for name in ("start_date", "end_date"))
    try:
        return Recurrence(
            cron=" ".join(cron.split()) if cron else "",
            timezone=zone or (zone_unsaid(default_zone) if cron else "UTC"),
            every_ms=milliseconds(given["every"], "'every'") if given.get("every") is not None else 0,
            limit=whole(limit, "'limit'", 1, 10**9) if limit is not None else 0,
            start_ms=start or 0,
            end_ms=0 if end is None else max(end, 1),  # 0 would mean no end
        )
    except ConfigurationError as problem:
        raise ConfigurationError(f"{where}: {problem}") from None


def _instant_of(given: Mapping[str, Any], name: str, where: str) -> int | None:
    return None if given.get(name) is None else instant(given[name], f"{where}: {name!r}")


def zone_unsaid(default: str | None) -> str:
    """The zone of a cron rule that names none; if the machine's clock shows another zone than UTC, a warning is logged
    once."""
    global _utc_was_logged
    if default is None and not _utc_was_logged and not is_utc_here():
        _utc_was_logged = True
        logger.warning(
            "cron rules without a timezone are in UTC, and the clock of this machine shows %s: set timezone='Europe/"
            "Berlin' for one rule, or as a setting for the whole application ('UTC' if that is intended)",
            "/".join(time.tzname),
            extra={"action": "zone_unsaid"},
        )
    return default or "UTC"


class Repeatables:
    """The repeatable jobs of a queue."""

    def __init__(self, engine: Engine, queue: str, make_job: MakeJob) -> None:
        self._engine = engine
        self._queue = queue
        self._make_job = make_job

    def add(self, name: Any, data: Any, options: Mapping[str, Any]) -> RepeatableJob:
        """Create or replace a repeatable job; see ``Queue.add_repeatable_job``."""
        where = f"add_repeatable_job({getattr(name, 'name', name)!r}) on queue {self._queue!r}"
        given = snake_keys(options, REPEAT_OPTIONS | JOB_OPTIONS, where)
        for option in _NOT_REPEATED:
            if given.get(option) is not None:
                raise ConfigurationError(f"{where}: {option!r} has no meaning for a repeatable job")
        rule = rule_of(given, where, self._engine.timezone)
        template = self._make_job(name, data, {k: v for k, v in given.items() if k in JOB_OPTIONS})
        immediately = flag(given.get("immediately") or False, f"{where}: 'immediately'")
        schedules, now_ms = self._engine.store.schedules, self._engine.store.queries.now()
        next_ms = max(now_ms, rule.start_ms) if immediately else rule.next_after(now_ms)
        if next_ms is None or (rule.end_ms and next_ms > rule.end_ms):
            if rule.start_ms > now_ms:
                raise ConfigurationError(f"{where}: it would never run between its 'start_date' and its 'end_date'")
            next_ms = 0
        key, older = self._keys(given.get("key"), where, template.name, rule)
        schedule = Schedule(
            key=key,
            queue=self._queue,
            name=template.name,
            rule=rule.encode(),
            template=template_of(template),
            next_ms=next_ms,
        )
        known = schedules.get(key) or (schedules.get(older) if older else None)
        if known is not None and _same_times(known, rule):
            schedule = _going_on(schedule, rule, known, now_ms)
        if not next_ms and not schedule.next_ms:
            logger.warning(
                "%s: it has ended and will not run: its 'end_date' leaves no time for it",
                where,
                extra={"action": "repeatable_ended", "queue": self._queue},
            )
        put_schedule(self._engine, schedule)
        if older:
            remove_schedule(self._engine, older)
        return self._one(key)

    def upsert(self, key: str, repeat: Mapping[str, Any], template: Mapping[str, Any]) -> RepeatableJob:
        """See ``Queue.upsert_job_scheduler``."""
        for what, value in (("repeat", repeat), ("template", template)):
            mapping(value, f"upsert_job_scheduler({key!r}): {what!r}")
        given = snake_keys(template, ("name", "data", "opts"), f"upsert_job_scheduler({key!r})")
        if repeat.get("cron") is not None and repeat.get("pattern") is not None:
            raise ConfigurationError(
                f"upsert_job_scheduler({key!r}): 'repeat': 'cron' and 'pattern' are the same option: give one of them"
            )
        rule = {"cron" if name == "pattern" else name: value for name, value in repeat.items()}
        return self.add(given.get("name", key), given.get("data"), {**(given.get("opts") or {}), **rule, "key": key})

    def remove(self, opts: Mapping[str, Any] | RepeatableJob | None, options: Mapping[str, Any]) -> bool:
        """See ``Queue.remove_repeatable_job``."""
        if isinstance(opts, str):
            raise ConfigurationError(
                f"remove_repeatable_job: write key={opts!r}, or name={opts!r} and its cron=... or every=..."
            )
        given: Mapping[str, Any] | None = {"key": opts.key} if isinstance(opts, RepeatableJob) else opts
        return self._remove(together(given, options, "remove_repeatable_job"))

    def _remove(self, given: Mapping[str, Any]) -> bool:
        where = f"remove_repeatable_job on queue {self._queue!r}"
        wanted = snake_keys(given, REPEAT_OPTIONS | JOB_OPTIONS | _SHOWN, where)
        if wanted.get("key") is not None:  # an earlier release accepted an empty one
            return remove_schedule(self._engine, self._full(wanted["key"]))
        if not wanted.get("name"):
            raise ConfigurationError(f"{where}: select it by 'key', or by 'name' and 'cron' or 'every'")
        zone = self._engine.timezone
        rule = rule_of(wanted, where, zone) if wanted.get("cron") or wanted.get("every") else None
        removed = False
        for schedule in self._engine.store.schedules.all(self._queue):
            same = schedule.name == wanted["name"] and not schedule.owner
            if same and (rule is None or _same_times(schedule, rule)):
                removed = remove_schedule(self._engine, schedule.key) or removed
        return removed

    def pause(self, key: str) -> None:
        if not pause_schedule(self._engine, self._full(key)):
            raise RepeatableJobNotFound(key, self._queue)

    def resume(self, key: str) -> None:
        """Its next slot is in the future: missed runs are skipped."""
        schedule = self._find(key)
        next_ms = schedule.next_ms
        if schedule.paused and next_ms:
            next_ms = Recurrence.decode(schedule.rule).next_after(self._engine.store.queries.now()) or 0
        resume_schedule(self._engine, schedule.key, next_ms)

    def run(self, key: str) -> tuple[list[NewJob], Added]:
        """An extra run now, with the options it was added with."""
        schedule = self._find(key)
        return run_now(self._engine, schedule, run_id(schedule.key, uuid.uuid4().hex))

    def _keys(self, given: Any, where: str, name: str, rule: Recurrence) -> tuple[str, str]:
        """The key, and the key that 0.1 used for a rule with bounds ('' if there is none)."""
        if given == "":
            raise ConfigurationError(f"{where}: 'key' is empty: give it a name, or leave it out")
        if given is not None:
            return self._full(given), ""
        times = replace(rule, limit=0, start_ms=0, end_ms=0)
        key, older = (self._full(_digest(name, times_of)) for times_of in (times, rule))
        return key, older if older != key else ""

    def _full(self, key: Any) -> str:
        """Keys belong to their queue; with the slot's time they become ids of jobs."""
        full = f"{self._queue}:{key}"
        check_job_id(full, f"the key {shown(key)} of a repeatable job")
        if len(full) > 160:
            raise ConfigurationError(
                f"the key {shown(key)} of a repeatable job is too long: use at most 100 characters"
            )
        return full

    def _find(self, key: str) -> Schedule:
        schedule = self._engine.store.schedules.get(self._full(key))
        if schedule is None:
            raise RepeatableJobNotFound(key, self._queue)
        return schedule

    def _one(self, full: str) -> RepeatableJob:
        return repeatable_of(self._find(full.partition(":")[2]))


def _digest(name: str, rule: Recurrence) -> str:
    text = f"{name}\n{rule.encode()}".encode()
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()[:16]


def _going_on(schedule: Schedule, rule: Recurrence, known: Schedule, now_ms: int) -> Schedule:
    """The schedule that replaces one with the same times: its runs still count, it stays paused, and keeps its next
    slot, or the first run that is now, if the new bounds allow that."""
    next_ms: int | None = 0
    if not rule.limit or known.runs < rule.limit:
        if known.next_ms and _is_slot(Recurrence.decode(known.rule), known.next_ms):
            next_ms = known.next_ms if _is_slot(rule, known.next_ms) else rule.next_after(now_ms)
        elif known.next_ms and schedule.next_ms:
            next_ms = max(min(known.next_ms, schedule.next_ms), rule.start_ms)
        else:
            next_ms = rule.next_after(now_ms)
    return replace(schedule, next_ms=next_ms or 0, runs=known.runs, paused=known.paused)


def _is_slot(rule: Recurrence, instant_ms: int) -> bool:
    """Whether it is one of the rule's own times. If the first run is now, that is none."""
    return rule.next_after(instant_ms - 1) == instant_ms


def _same_times(schedule: Schedule, rule: Recurrence) -> bool:
    try:
        kept = Recurrence.decode(schedule.rule)
    except InvalidPayload:
        return False
    return (kept.cron, kept.timezone, kept.every_ms) == (rule.cron, rule.timezone, rule.every_ms)


def repeatable_of(schedule: Schedule) -> RepeatableJob:
    """A repeatable job as users see it."""
    rule = Recurrence.decode(schedule.rule)
    template = decode(schedule.template)
    return RepeatableJob(
        key=schedule.key.removeprefix(f"{schedule.queue}:"),
        name=schedule.name,
        queue_name=schedule.queue,
        data=decode(template["data"]),
        cron=rule.cron or None,
        timezone=rule.timezone if rule.cron else None,
        every=rule.every_ms or None,
        limit=rule.limit or None,
        start_date=_date(rule.start_ms),
        end_date=_date(rule.end_ms),
        runs=schedule.runs,
        next_run=_date(schedule.next_ms),
        paused=schedule.paused,
    )


def repeatables_of(schedules: Iterable[Schedule]) -> Iterator[RepeatableJob]:
    """The repeatable jobs that users see. One that cannot be read (written by another version, or with a time zone that
    this host does not know) is left out, and logged."""
    for schedule in schedules:
        try:
            if not schedule.owner:
                yield repeatable_of(schedule)
        except (ValueError, KeyError, TypeError) as problem:
            logger.warning(
                "repeatable job %s cannot be read: %s", schedule.key, problem, extra={"action": "schedule_unreadable"}
            )


def runs_of_schedule(engine: Engine, queue: str, key: str, limit: int) -> list[ScheduleRun]:
    """See ``QueueReader.get_schedule_runs``."""
    schedule = engine.store.schedules.get(f"{queue}:{key}")
    if schedule is None:
        raise RepeatableJobNotFound(key, queue)
    runs = runs_of(schedule.recent)[:limit]
    ids = [run_id(schedule.key, run.slot) for run in runs]
    records = engine.store.queries.get(ids)
    return [_run(job_id, run, record) for job_id, run, record in zip(ids, runs, records, strict=True)]


def _run(job_id: str, run: Run, record: JobRecord | None) -> ScheduleRun:
    end = record or run.ended
    if end is None:
        return ScheduleRun(job_id, run.added_ms, None)
    return ScheduleRun(job_id, run.added_ms, end.state.value, end.finished_ms or None, end.failed_reason, end.cancelled)


def _date(ms: int) -> datetime | None:
    return date_of(ms) if ms else None
