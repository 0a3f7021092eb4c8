"""``app.schedule``: functions that this process runs on a schedule. Not persistent; for runs that must not be missed,
or must happen once over many processes, see repeatable jobs, or ``once=True``."""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from stratix_kombu import forks
from stratix_kombu.calls import Awaited, is_caller
from stratix_kombu.config.options import Duration, milliseconds, snake_keys, together
from stratix_kombu.errors import Closed, ConfigurationError, StratixError
from stratix_kombu.foreign import SCHEDULER
from stratix_kombu.hints import NO_OTHERS, Hinted, hint_for
from stratix_kombu.model.arguments import flag
from stratix_kombu.model.awaiting import call
from stratix_kombu.model.functions import check_takes
from stratix_kombu.queue.repeatables import rule_of, zone_unsaid
from stratix_kombu.schedule_entry import Entry, Handler, ScheduleInfo as ScheduleInfo, info_of
from stratix_kombu.stores.contract import Store

if TYPE_CHECKING:
    from stratix_kombu.types import ScheduleOpts, TimerOpts, Unpack

logger = logging.getLogger("stratix_kombu.schedule")

CLAIM_MS = 3_600_000
"""How long a slot of a ``once`` schedule stays taken, and its run counts for the limit in processes that start later:
longer than the clocks of hosts may differ."""
_UNITS = {
    "ms": 1,
    "millisecond": 1,
    "s": 1000,
    "sec": 1000,
    "second": 1000,
    "m": 60_000,
    "min": 60_000,
    "minute": 60_000,
    "h": 3_600_000,
    "hour": 3_600_000,
    "d": 86_400_000,
    "day": 86_400_000,
    "w": 604_800_000,
    "week": 604_800_000,
}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*\Z")
_NUMBER = re.compile(r"\s*\d+(?:\.\d+)?\s*\Z")

_OPTIONS = ("cron", "interval", "every", "handler", "name", "timezone", "tz", "limit", "start_date", "end_date", "once")

Function = TypeVar("Function", bound=Handler)


def interval_ms(value: Duration | str) -> int:
    """``"10 minutes"``, a timedelta or milliseconds, as milliseconds. Raises ConfigurationError.

    >>> interval_ms("10 minutes")
    600000
    """
    if not isinstance(value, str):
        return milliseconds(value, "an interval")
    match = _SPAN.match(value)
    unit = match[2].lower() if match else ""
    if match is None or (unit.removesuffix("s") not in _UNITS and unit not in _UNITS):
        if _NUMBER.match(value):
            number = value.strip()
            raise ConfigurationError(f"{value!r} has no unit: write '{number} ms', '{number} s' or '{number} minutes'")
        near = hint_for(unit, [*_UNITS, *(f"{known}s" for known in _UNITS)], NO_OTHERS) if unit else ""
        raise ConfigurationError(
            f"{value!r} is not an interval{near or '.'} Write it like '10 minutes', '1 hour' or '30 s'"
        )
    return milliseconds(float(match[1]) * _UNITS.get(unit, _UNITS.get(unit.removesuffix("s"), 0)), "an interval")


class Scheduler(Hinted):
    """The schedules of one process. They run while the application is started."""

    _foreign = SCHEDULER

    def __init__(self, store: Callable[[], Store], default_zone: Callable[[], str | None]) -> None:
        self._store = store
        self._default_zone = default_zone
        self._entries: dict[str, Entry] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._runs: set[threading.Thread] = set()
        self._closed = False
        forks.register(self)

    def after_fork(self) -> None:
        """The schedules exist in the child, and run only if the child starts its application."""
        self._changed, self._thread, self._runs = threading.Condition(), None, set()
        for entry in self._entries.values():
            entry.running = False

    @overload
    def cron(
        self, expression: str, handler: Handler, opts: TimerOpts | None = None, **options: Unpack[TimerOpts]
    ) -> str: ...

    @overload
    def cron(
        self, expression: str, handler: TimerOpts | None = None, **options: Unpack[TimerOpts]
    ) -> Callable[[Function], Function]: ...

    def cron(
        self,
        expression: str,
        handler: Handler | TimerOpts | None = None,
        opts: TimerOpts | None = None,
        **options: Unpack[TimerOpts],
    ) -> Any:
        """Run ``handler`` at the times of a cron expression; returns the id of the schedule, or is a decorator.
        Options, by keyword or as a mapping at the end: ``timezone`` (by default the setting of that name, otherwise
        UTC), ``limit``, ``start_date``, ``end_date``, ``name``, ``once``. With ``once``, the runs of all processes
        count towards ``limit`` (runs from before this process was started are remembered for an hour). Raises
        ConfigurationError.

        >>> app.schedule.cron("30 3 * * *", backup, timezone="Asia/Shanghai")  # doctest: +SKIP
        """
        return self._decorated("cron", expression, handler, opts, options)

    @overload
    def interval(
        self, every: Duration | str, handler: Handler, opts: TimerOpts | None = None, **options: Unpack[TimerOpts]
    ) -> str: ...

    @overload
    def interval(
        self, every: Duration | str, handler: TimerOpts | None = None, **options: Unpack[TimerOpts]
    ) -> Callable[[Function], Function]: ...

    def interval(
        self,
        every: Duration | str,
        handler: Handler | TimerOpts | None = None,
        opts: TimerOpts | None = None,
        **options: Unpack[TimerOpts],
    ) -> Any:
        """Run ``handler`` at intervals of ``every``: ``"10 minutes"``, a timedelta, milliseconds; options as for
        ``cron``.

        >>> app.schedule.interval("1 hour", report, limit=24)  # doctest: +SKIP
        """
        return self._decorated("interval", every, handler, opts, options)

    def register(self, options: ScheduleOpts | None = None, **named: Unpack[ScheduleOpts]) -> str:
        """Add a schedule by options: ``cron`` or ``interval``, ``handler``, ``name``, and those of ``cron``; return its
        id."""
        return self._register(together(options, named, "schedule"))

    def _register(self, options: Mapping[str, Any]) -> str:
        given = snake_keys(options, _OPTIONS, "schedule")
        handler, name = given.get("handler"), given.get("name")
        if not callable(handler):
            raise ConfigurationError(f"schedule: 'handler' must be a function without arguments, not {handler!r}")
        check_takes(handler, (), "schedule: 'handler'")
        if given.get("interval") is not None and given.get("every") is not None:
            raise ConfigurationError("schedule: 'interval' and 'every' are the same option: give one of them")
        every = given.get("interval") if given.get("every") is None else given.get("every")
        rules = {**given, "every": None if every is None else interval_ms(every)}
        rule = rule_of(rules, "schedule", "UTC")
        once = flag(given.get("once") or False, "schedule: 'once'")
        if once and not name:
            raise ConfigurationError("schedule: 'once' needs a 'name', which identifies the schedule in all processes")
        next_ms = rule.next_after(_now_ms())
        if next_ms is None:
            logger.warning(
                "schedule %s has ended and will not run: its 'end_date' leaves no time for it",
                name or _name_of(handler),
                extra={"action": "schedule_ended"},
            )
        entry = Entry(uuid.uuid4().hex, name or _name_of(handler), rule, handler, once, next_ms)
        entry.unzoned = bool(rule.cron) and not (given.get("timezone") or given.get("tz"))
        with self._changed:
            if self._closed:
                raise Closed("the scheduler")
            self._entries[entry.id] = entry
            self._changed.notify()
            started = self._thread is not None
        if started:
            self._give_zones()
        return entry.id

    def pause(self, schedule_id: str) -> None:
        """Do not run it until ``resume``. Raises ConfigurationError for an unknown id."""
        with self._changed:
            self._entry(schedule_id).paused = True

    def resume(self, schedule_id: str) -> None:
        """Run it again, from its next time on."""
        with self._changed:
            entry = self._entry(schedule_id)
            entry.paused = False
            entry.set_next(_now_ms())
            self._changed.notify()

    def unregister(self, schedule_id: str) -> bool:
        """Remove it; return whether it existed. A run in progress is not affected."""
        with self._changed:
            return self._entries.pop(schedule_id, None) is not None

    def list(self) -> list[ScheduleInfo]:
        """All schedules, in the order they were registered."""
        self._give_zones()
        with self._changed:
            return [info_of(entry) for entry in self._entries.values()]

    # -- within the package -----------------------------------------------------------------------

    def start(self) -> None:
        self._give_zones()
        with self._changed:
            if self._thread is not None or self._closed:
                return
            for entry in self._entries.values():
                entry.set_next(_now_ms())
            thread = threading.Thread(target=self._run, name="stratix-schedule", daemon=True)
            thread.start()
            self._thread = thread

    def reopen(self) -> None:
        """After ``close``: its schedules still exist, and run once it is started."""
        with self._changed:
            self._closed = False

    def close(self, timeout: float) -> bool:
        """Start no further run, and wait for those in progress, except one that calls this; return whether all had
        ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread, runs = self._thread, [run for run in self._runs if not is_caller(run)]
        if thread is not None:
            thread.join()
            self._thread = None
        deadline = time.monotonic() + timeout
        for run in runs:
            run.join(max(deadline - time.monotonic(), 0))
        return not any(run.is_alive() for run in runs)

    def _give_zones(self) -> None:
        """A rule that names no zone uses the application's. The settings are not read earlier, since the module that
        registers schedules may register the plugin afterwards. They are read without this lock, under the
        application's."""
        if any(entry.unzoned for entry in list(self._entries.values())):
            zone = zone_unsaid(self._default_zone())
            with self._changed:
                for entry in self._entries.values():
                    if entry.unzoned:
                        entry.unzoned, entry.rule = False, replace(entry.rule, timezone=zone)
                        entry.set_next(_now_ms())
                self._changed.notify()

    def _decorated(
        self,
        kind: str,
        when: Any,
        handler: Handler | Mapping[str, Any] | None,
        opts: Mapping[str, Any] | None,
        named: Mapping[str, Any],
    ) -> Any:
        if isinstance(handler, Mapping) and opts is None:  # the options of a decorator
            handler, opts = None, handler
        options = {**together(opts, named, "schedule"), kind: when}
        if handler is not None:
            return self._register({**options, "handler": handler})

        def decorate(function: Handler) -> Handler:
            self._register({**options, "handler": function})
            return function

        return decorate

    def _entry(self, schedule_id: str) -> Entry:
        try:
            return self._entries[schedule_id]
        except KeyError:
            raise ConfigurationError(
                f"there is no schedule {schedule_id!r}: it was unregistered, or belongs to another process"
            ) from None

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = _now_ms()
                for entry in list(self._entries.values()):
                    if not entry.paused and entry.next_ms is not None and entry.next_ms <= now:
                        self._fire(entry, now)
                ahead = [
                    entry.next_ms for entry in self._entries.values() if entry.next_ms is not None and not entry.paused
                ]
                self._changed.wait(min(max((min(ahead, default=now + 60_000) - now) / 1000, 0.001), 60))

    def _fire(self, entry: Entry, now: int) -> None:
        slot = entry.next_ms or 0
        entry.set_next(now)
        if entry.running:
            entry.skipped += 1
            logger.warning(
                "schedule %s is still running: a time was skipped", entry.name, extra={"action": "schedule_skipped"}
            )
            return
        name = f"stratix-schedule-{entry.name}"
        run = threading.Thread(target=self._call, args=(entry, slot), name=name, daemon=True)
        entry.runs += 1
        entry.running = True
        self._runs.add(run)
        try:
            run.start()
        except RuntimeError as problem:
            self._runs.discard(run)
            entry.running = False
            entry.runs -= 1
            entry.skipped += 1
            logger.warning(
                "schedule %s: a time was skipped: %s", entry.name, problem, extra={"action": "schedule_skipped"}
            )
            return
        entry.set_next(now)

    def _call(self, entry: Entry, slot: int) -> None:
        try:
            if entry.once and not self._first(entry, slot):
                with self._changed:
                    entry.runs -= 1
                    if entry.ended:
                        entry.next_ms = None
                return
            with Awaited():
                call(entry.handler)
        except BaseException:  # sys.exit() and a cancelled task included: the thread ends here anyway
            entry.failures += 1
            logger.exception("schedule %s raised", entry.name, extra={"action": "schedule_failed"})
        finally:
            entry.running = False
            self._runs.discard(threading.current_thread())

    def _first(self, entry: Entry, slot: int) -> bool:
        """Whether this process is the one that runs the slot. With a limit, each run takes a number below it, so that
        the runs of all processes count, also those from before this one was started."""
        try:
            if not self._claim(f"schedule:{entry.name}:{slot}"):
                entry.elsewhere += 1
                return False
            limit, seen = entry.rule.limit, entry.runs - 1 + entry.elsewhere
            for number in range(seen, limit):
                if self._claim(f"schedule:{entry.name}:run:{number}"):
                    return True
                entry.elsewhere += 1
            return not limit
        except StratixError as problem:
            raise ConfigurationError(f"the slot could not be claimed, so it did not run: {problem}") from problem

    def _claim(self, key: str) -> bool:
        return self._store().locks.acquire(key, uuid.uuid4().hex, CLAIM_MS)


def _name_of(handler: Handler) -> str:
    return getattr(handler, "__qualname__", type(handler).__name__)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
