"""Cron expressions: what they mean, and the next instant that suits one in a time zone. A pure value.

The calendar is croniter's. It is given the fields as lists of single values, so that the rules below are the only ones.

Five fields (minute, hour, day of month, month, day of week), or six with seconds first. A field is ``*`` or a list,
separated by commas, of values and ranges, each with a step if need be. The rules where crontabs differ:

* A range goes from its first value to its last, past the end of the field if the last is lower: ``22-2`` hours are 22,
  23, 0, 1, 2, and ``11-2/3`` months are 11 and 2. Where both are equal it is the one value. ``5/15`` is ``5-59/15``.
* A field that starts with ``*`` restricts nothing beside the other day field (crontab(5), Vixie's cron): where neither
  day field starts with ``*``, a day that suits one of the two is enough. Else it must suit both: ``*/2`` with ``1`` is
  each Monday on an odd day of the month.
* Days of the month may be ``L``, the last one; days of the week ``5#2``, the second Friday, or ``L5``, the last one.
* Where the clock changes (cron(8)): with a ``*`` at the start of second, minute or hour the times are those that the
  clock of the zone shows, so what it leaves out does not run, and what it shows twice runs twice. All other times are
  fixed ones: one that is left out runs at the first instant after the gap, one that comes twice runs the first time.
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

from stratix_kombu.model.instant import EPOCH

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
"""Name, lowest and highest value, names of values."""
_PART = re.compile(r"(?:(?P<star>[*?])|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]{1,6}))?\Z")
_NTH = re.compile(r"(?:l(?P<last>\w+)|(?P<day>\w+)#(?P<nth>[1-5]))\Z")
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_YEARS = 41
"""29 February on one day of the week comes after forty years at most."""
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression that was read: sorted values of the times of day, and the days for croniter."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[str, ...]
    """Days of the month, months, days of the week: each a list of single values, or ``*`` for all. A day suits if it
    suits one of these."""
    frequent: bool = False
    """Whether its times are those that the clock shows; else they are fixed ones."""

    def next_after(self, instant_ms: int, zone: tzinfo) -> int | None:
        """The first instant after ``instant_ms`` (milliseconds since the epoch); None if no year to come has one."""
        # A day before: where a clock is put back over midnight, that day goes on after the next has begun.
        first = (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(zone).date() - timedelta(days=1)
        for day in self._days_from(first):
            second = self._on(day, instant_ms // 1000 + 1, zone)
            if second is not None:
                return second * 1000
        return None

    def _days_from(self, first: date) -> Iterator[date]:
        """The days that suit, of the years in which one must come."""
        known = first - timedelta(days=1)
        for day in heapq.merge(*(_calendar(days, first) for days in self.days)):
            if day > known:  # it may suit both
                known = day
                yield day

    def _on(self, day: date, low: int, zone: tzinfo) -> int | None:
        """The first instant, in seconds, from ``low`` on, that is one of the times of a local day."""
        midnight = datetime(day.year, day.month, day.day)
        begin, end = min(_readings(midnight, zone)), max(_readings(midnight + timedelta(days=1), zone))
        if end <= low:
            return None
        before, after = _offset(begin, zone), _offset(end, zone)
        local = (midnight - EPOCH.replace(tzinfo=None)) // timedelta(seconds=1)
        if before == after:
            return self._between(max(begin, low), end, local - before)
        change = _change(begin, end, zone)
        second = self._between(max(begin, low), change, local - before)
        if second is not None:
            return second
        resumed = change
        if not self.frequent:
            if change >= low and self._between(change, change + after - before, local - before) is not None:
                return change  # what is left out
            resumed = max(change, change + before - after)  # what comes twice has been
        return self._between(max(resumed, low), end, local - after)

    def _between(self, low: int, end: int, midnight: int) -> int | None:
        """The first time of the day whose midnight would be at that instant, from ``low`` until before ``end``."""
        at = self._time_from(max(low - midnight, 0))
        return None if at is None or midnight + at >= end else midnight + at

    def _time_from(self, second: int) -> int | None:
        """The first time of day from a second of the day on."""
        for hour in self.hours[bisect_left(self.hours, second // 3600) :]:
            for minute in self.minutes:
                rest = second - hour * 3600 - minute * 60
                at = bisect_left(self.seconds, rest)
                if at < len(self.seconds):
                    return hour * 3600 + minute * 60 + self.seconds[at]
        return None


def _calendar(days: str, first: date) -> Iterator[date]:
    """croniter's, in which all three fields must suit."""
    from croniter import CroniterBadDateError, croniter  # it takes long to load, and most programs have no cron rule

    before = datetime(first.year, first.month, first.day) - timedelta(seconds=1)
    matches = croniter(f"0 0 {days}", before, day_or=False, max_years_between_matches=MAX_YEARS)
    while True:
        try:
            day = matches.get_next(datetime).date()
        except CroniterBadDateError:
            return
        if day.year > 9998:
            return
        yield day


@lru_cache(maxsize=1024)
def read(text: str) -> Cron:
    """An expression. Raises ValueError, which names what is wrong."""
    fields = _ALIASES.get(text.strip(), text).lower().split()
    if len(fields) not in (5, 6):
        raise ValueError(f"it has {len(fields)} fields")
    if len(fields) == 5:
        fields = ["0", *fields]
    if any("#" in part or part.startswith("l") for part in fields[5].split(",")):
        week_days = ",".join(_nth(part) for part in fields[5].split(","))
    else:
        week_days = _listed({day % 7 for day in _values(5, fields[5])}, 7)
    last = "l" in fields[3].split(",")
    numbered = ",".join(part for part in fields[3].split(",") if part != "l")
    month_days = _listed(_values(3, numbered), 31) if numbered or not last else ""
    if last and month_days != "*":
        month_days = f"{month_days},l".lstrip(",")
    months = _listed(_values(4, fields[4]), 12)
    either = fields[3][0] not in "*?" and fields[5][0] not in "*?"
    days: tuple[str, ...] = (f"{month_days} {months} {week_days}",)
    if either:
        days = (f"{month_days} {months} *", f"* {months} {week_days}")
    cron = Cron(
        seconds=tuple(sorted(_values(0, fields[0]))),
        minutes=tuple(sorted(_values(1, fields[1]))),
        hours=tuple(sorted(_values(2, fields[2]))),
        days=days,
        frequent=any(field.startswith("*") for field in fields[:3]),
    )
    if next(cron._days_from(date(2024, 1, 1)), None) is None:
        raise NoSuchDate("there is no such date")
    return cron


def is_alias(text: str) -> bool:
    """Whether it is a word for an expression, such as ``@daily``."""
    return text.strip() in _ALIASES


class NoSuchDate(ValueError):
    """The fields can be read, and no day suits them."""


def _values(field: int, text: str) -> frozenset[int]:
    return frozenset(value for part in text.split(",") for value in _part(field, part))


def _part(field: int, text: str) -> Iterator[int]:
    name, low, high, _ = _FIELDS[field]
    match = _PART.match(text)
    if match is None or (match["star"] == "?" and (field not in (3, 5) or match["step"])):
        raise ValueError(f"{text!r} is no {name}: give a value, a range such as {low}-{high}, or *, each with /step")
    step = int(match["step"] or 1)
    if step == 0:
        raise ValueError(f"the step of {text!r} in the field {name} is 0")
    if match["star"]:
        yield from range(low, high + 1, step)
        return
    first = _value(field, match["first"])
    end = 6 if field == 5 else high
    last = _value(field, match["last"]) if match["last"] else (end if match["step"] else first)
    size = end - low + 1
    for value in range(first, (last if first <= last else last + size) + 1, step):
        yield value if value <= high else value - size


def _value(field: int, text: str) -> int:
    name, low, high, names = _FIELDS[field]
    value = names.get(text, int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1)
    if not low <= value <= high:
        raise ValueError(f"{text!r} is no {name}: it is from {low} to {high}")
    return value


def _listed(values: Collection[int], all_of_them: int) -> str:
    return "*" if len(values) == all_of_them else ",".join(str(value) for value in sorted(values))


def _nth(text: str) -> str:
    match = _NTH.match(text)
    if match is None:
        raise ValueError(f"{text!r} {_why_not_nth(text)}")
    day = _value(5, match["last"] or match["day"]) % 7
    return f"l{day}" if match["last"] else f"{day}#{match['nth']}"


def _why_not_nth(text: str) -> str:
    if "#" in text:
        return "is no nth day of the week: write 5#2 for the second Friday, with a number from 1 to 5"
    if text.startswith("l"):
        return "names no day: write L5 for the last Friday; the last day of a month is L as the day of month"
    return "cannot be combined with an nth day of the week: write each as 5#2, or L5 for the last"


def instant_of(local: datetime, zone: tzinfo) -> int:
    """The instant of a local time, in milliseconds; the first one if there are two, the next one if there is none."""
    early, late = _readings(local, zone)
    if early <= late:  # the usual case, and a time that exists twice
        return early * 1000
    return _change(late, early, zone) * 1000  # the end of the gap, which is between the two


def _readings(local: datetime, zone: tzinfo) -> tuple[int, int]:
    """Both instants that a local time may stand for, in seconds."""
    early, late = ((local.replace(tzinfo=zone, fold=fold) - EPOCH) // timedelta(seconds=1) for fold in (0, 1))
    return early, late


def _offset(second: int, zone: tzinfo) -> int:
    offset = (EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset() or timedelta(0)
    return offset // timedelta(seconds=1)


def _change(low: int, high: int, zone: tzinfo) -> int:
    """The first second with another offset than at ``low``, which ``high`` has."""
    before = _offset(low, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high
