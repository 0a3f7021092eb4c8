"""Cron expressions: random ones against an oracle that looks at every instant, and the rules that the README states."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.recurrence import Recurrence

CHANGES = {  # a minute in which the clock of a zone is changed: forth, and back
    "Europe/Berlin": ((2026, 3, 29, 1), (2026, 10, 25, 1)),
    "America/New_York": ((2026, 3, 8, 7), (2026, 11, 1, 6)),
    "America/Santiago": ((2026, 9, 6, 4), (2026, 4, 5, 3)),  # at midnight
    "Australia/Lord_Howe": ((2026, 10, 3, 15, 30), (2026, 4, 4, 15)),  # by half an hour
    "Pacific/Auckland": ((2026, 9, 26, 14), (2026, 4, 4, 14)),
    "Africa/Casablanca": ((2026, 3, 22, 2), (2026, 2, 15, 2)),
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEK = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
A_LEAP_YEAR = [date(2024, 1, 1) + timedelta(days=n) for n in range(366)]
Field = tuple[str, frozenset[int]]
"""A field as it is written, and the values it stands for."""


def utc(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=timezone.utc).timestamp())  # type: ignore[misc,arg-type]


def walk(low: int, high: int, first: int, last: int, step: int) -> Iterator[int]:
    """From the first value to the last, one by one, from the top to the bottom of the field if need be."""
    value, taken = first, 0
    while True:
        if taken % step == 0:
            yield value
        if value == last:
            return
        value, taken = (low if value == high else value + 1), taken + 1


@st.composite
def fields(draw: st.DrawFn, low: int, high: int, names: tuple[str, ...] = ()) -> Field:
    values: set[int] = set()
    parts: list[str] = []
    for kind in draw(st.lists(st.sampled_from(["*", "*/", "v", "v/", "-", "-/", "="]), min_size=1, max_size=2)):
        first, last = draw(st.integers(low, high)), draw(st.integers(low, high))
        step = draw(st.integers(1, high + 2)) if "/" in kind else 1
        said = [names[one - low] if names and draw(st.booleans()) else f"{one:0{step % 3}d}" for one in (first, last)]
        after = f"/{step}" if "/" in kind else ""
        if kind[0] == "*":
            parts, first, last = [*parts, f"*{after}"], low, high
        elif kind[0] == "v":
            parts, last = [*parts, f"{said[0]}{after}"], high if after else first
        elif kind == "=":
            parts, last = [*parts, f"{said[0]}-{said[0]}"], first
        else:
            parts = [*parts, f"{said[0]}-{said[1]}{after}"]
        values |= set(walk(low, high, first, last, step))
    return ",".join(parts), frozenset(values)


TIMES = st.tuples(st.just(("0", frozenset({0}))) | fields(0, 59), fields(0, 59), fields(0, 23))
DAYS = st.tuples(fields(1, 31), fields(1, 12, MONTHS), fields(0, 6, WEEK))


def on(days: tuple[Field, Field, Field], day: date) -> bool:
    month_day, month, week_day = days
    suits = (day.day in month_day[1], (day.isoweekday() % 7) in week_day[1])
    free = month_day[0].startswith("*") or week_day[0].startswith("*")
    return day.month in month[1] and (all(suits) if free else any(suits))


@cache
def seconds(zone: str, change: int) -> tuple[list[tuple[datetime, int]], list[tuple[datetime, int]]]:
    """Around a change of the clock: what the clock shows at each instant; and each local second with the instant it
    stands for, where what is left out stands for the first one after it and of what comes twice the first counts."""
    tz = ZoneInfo(zone)
    shown = [(datetime.fromtimestamp(at, tz).replace(tzinfo=None), at) for at in range(change - 9_000, change + 9_000)]
    once, awaited = [], shown[0][0]
    for local, at in shown:
        while awaited <= local:
            once.append((awaited, at))
            awaited += timedelta(seconds=1)
    return shown, once


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(sorted(CHANGES)), st.integers(0, 1), TIMES, DAYS)
def test_every_second_around_a_change_of_the_clock(
    zone: str, which: int, times: tuple[Field, Field, Field], days: tuple[Field, Field, Field]
) -> None:
    change = utc(*CHANGES[zone][which])
    (_, second), (_, minute), (_, hour) = times
    shown, once = seconds(zone, change)
    clock = shown if any(text.startswith("*") for text, _ in times) else once
    suits = {day: on(days, day) for day in {local.date() for local, _ in clock}}
    expected = sorted(
        {
            at * 1000
            for local, at in clock
            if local.hour in hour and local.minute in minute and local.second in second and suits[local.date()]
        }
    )
    rule = Recurrence(cron=" ".join(text for text, _ in (*times, *days)), timezone=zone)
    # All of them if they are few; if they are many, what comes next after some of the instants.
    if len(expected) <= 40:
        found: list[int] = []
        at = (change - 9_000) * 1000 - 1
        while (following := rule.next_after(at)) is not None and following < (change + 9_000) * 1000:
            found.append(at := following)
        assert found == expected
    for after in range((change - 9_000) * 1000, (change + 8_000) * 1000, 611_117):
        following = next((one for one in expected if one > after), None)
        if following is not None:
            assert rule.next_after(after) == following


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(DAYS)
def test_every_day_of_some_years(days: tuple[Field, Field, Field]) -> None:
    """29 February on one day of the week may come after them."""
    begin = date(2026, 1, 1)
    expected = [day for day in (begin + timedelta(days=n) for n in range(9 * 365)) if on(days, day)][:40]
    cron = " ".join(("0 0", *(text for text, _ in days)))
    if not expected and not any(day.day in days[0][1] and day.month in days[1][1] for day in A_LEAP_YEAR):
        with pytest.raises(ConfigurationError, match="never fires"):
            Recurrence(cron=cron)
        return
    rule, at = Recurrence(cron=cron), utc(2025, 12, 31) * 1000
    if not expected:
        assert (rule.next_after(at) or 0) >= utc(2034, 12, 1) * 1000
    for day in expected:
        at = rule.next_after(at) or 0
        assert at == utc(day.year, day.month, day.day) * 1000


def slots(cron: str, after: tuple[int, ...], count: int, zone: str = "UTC") -> list[str]:
    rule, at, found = Recurrence(cron=cron, timezone=zone), utc(*after) * 1000, []
    for _ in range(count):
        at = rule.next_after(at) or 0
        found.append(f"{datetime.fromtimestamp(at / 1000, timezone.utc):%m-%d %H:%M:%S}".removesuffix(":00"))
    return found


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 9-9 * * *", ["01-01 09:00", "01-02 09:00"]),
        ("5-5 9-9 1-1 3-3 *", ["03-01 09:05", "03-01 09:05"]),
        ("0 0 * * 1-1", ["01-05 00:00", "01-12 00:00"]),
        ("0 0 * * mon-mon", ["01-05 00:00", "01-12 00:00"]),
        ("7-7 0 9 * * *", ["01-01 09:00:07", "01-02 09:00:07"]),
        ("0 0 1 11-2/3 *", ["02-01 00:00", "11-01 00:00"]),
        ("59-3/2 0 0 * * *", ["01-01 00:00:01", "01-01 00:00:03", "01-01 00:00:59"]),
        ("0 0 28-2 * *", ["01-02 00:00", "01-28 00:00", "01-29 00:00"]),
        ("0 0 * * fri-mon", ["01-02 00:00", "01-03 00:00", "01-04 00:00", "01-05 00:00", "01-09 00:00"]),
        ("0 0 * * 5-7", ["01-02 00:00", "01-03 00:00", "01-04 00:00", "01-09 00:00"]),
        ("0 0 * * 0-7", ["01-02 00:00", "01-03 00:00", "01-04 00:00"]),
        ("0 0 */5 * 0-6", ["01-06 00:00", "01-11 00:00", "01-16 00:00"]),  # both: one starts with *
        ("0 0 */2 * 1", ["01-05 00:00", "01-19 00:00", "02-09 00:00"]),
        ("0 0 1-31/2 * 1", ["01-03 00:00", "01-05 00:00", "01-07 00:00"]),  # either
        ("0 0 13 * */7", ["09-13 00:00", "12-13 00:00"]),
        ("0 0 L * *", ["01-31 00:00", "02-28 00:00"]),
        ("0 0 * * 5#2", ["01-09 00:00", "02-13 00:00"]),
        ("0 0 * * L5", ["01-30 00:00", "02-27 00:00"]),
        ("0 0 15 * L5", ["01-15 00:00", "01-30 00:00"]),
    ],
)
def test_one_rule_for_ranges_and_days(cron: str, expected: list[str]) -> None:
    found = slots(cron, (2026, 1, 1), len(expected))
    assert found == expected


@pytest.mark.parametrize(
    ("zone", "cron", "after", "expected"),
    [
        ("Europe/Berlin", "*/20 * * * *", (2026, 10, 25, 0), ["00:20", "00:40", "01:00", "01:20", "01:40", "02:00"]),
        ("Europe/Berlin", "30 * * * *", (2026, 10, 24, 23, 30), ["00:30", "01:30", "02:30"]),
        ("Europe/Berlin", "@hourly", (2026, 10, 24, 23), ["00:00", "01:00", "02:00"]),
        ("Europe/Berlin", "*/30 2 * * *", (2026, 10, 24, 12), ["00:00", "00:30", "01:00", "01:30"]),
        ("Europe/Berlin", "30 2 * * *", (2026, 10, 24, 12), ["00:30"]),
        ("Europe/Berlin", "0,30 2 * * *", (2026, 10, 24, 12), ["00:00", "00:30"]),  # times that are listed are fixed
        ("Europe/Berlin", "*/30 * * * *", (2026, 3, 29, 0), ["00:30", "01:00", "01:30"]),
        ("Europe/Berlin", "15 * * * *", (2026, 3, 29, 0), ["00:15", "01:15"]),
        ("Europe/Berlin", "15 2 * * *", (2026, 3, 29, 0), ["01:00"]),
        ("Australia/Lord_Howe", "*/15 * * * *", (2026, 4, 4, 14, 30), ["14:45", "15:00", "15:15"]),
        ("America/New_York", "*/30 * * * *", (2026, 11, 1, 5), ["05:30", "06:00", "06:30"]),
    ],
)
def test_the_hours_in_which_clocks_change(zone: str, cron: str, after: tuple[int, ...], expected: list[str]) -> None:
    assert [one[6:] for one in slots(cron, after, len(expected), zone)] == expected


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("*/0 * * * *", "the step of '\\*/0' in the field minute is 0"),
        ("24-2 * * * *x", "is no day of week"),
        ("0 24 * * *", "'24' is no hour: it is from 0 to 23"),
        ("0 0 0 * *", "'0' is no day of month"),
        ("0 0 * * 8", "'8' is no day of week"),
        ("0 0 * 13 *", "'13' is no month"),
        ("-5 * * * *", "'-5' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("? * * * *", "'\\?' is no minute"),
        ("0 0 * * 1,5#2", "'1' cannot be combined with an nth day of the week"),
        ("0 0 * * 1,L5", "'1' cannot be combined with an nth day of the week"),
        ("0 0 * * 5#6", "'5#6' is no nth day of the week: write 5#2 for the second Friday, with a number from 1 to 5"),
        ("0 0 * * 1-5#2", "'1-5#2' is no nth day of the week"),
        ("0 0 * * #2", "'#2' is no nth day of the week"),
        ("0 0 * * L", "'l' names no day: write L5 for the last Friday; the last day of a month is L as the day of mon"),
        ("0 0 * * 5#1,L", "'l' names no day"),
        ("0 0 31 4,6 *", "never fires: there is no such date"),
        ("0 0 L-3 * *", "'l' is no day of month"),
        ("٣ * * * *", "is no minute"),
    ],
)
def test_what_is_refused_says_why(cron: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Recurrence(cron=cron)
