"""When things repeat: against brute force, over both changes of the clocks in several zones."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from functools import cache
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.recurrence import Recurrence

ZONES = ["Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]
YEARS = (2023, 2024, 2025)


def ms(*parts: int, zone: str = "UTC", fold: int = 0) -> int:
    return round(datetime(*parts, tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)  # type: ignore[misc,arg-type]


@cache
def stretches(zone: str) -> list[tuple[int, int, int]]:
    """Those of the years in which the clocks are not changed: first minute, the one after the last, and by how many
    minutes local time is ahead of UTC; found by looking at every quarter of an hour."""
    tz, found = ZoneInfo(zone), list[tuple[int, int, int]]()
    first = datetime(YEARS[0] - 1, 12, 31, tzinfo=timezone.utc)
    begin = round(first.timestamp() / 60)
    for at in range(begin, begin + (YEARS[-1] - YEARS[0] + 1) * 366 * 1440 + 2 * 1440, 15):
        local = datetime.fromtimestamp(at * 60, tz)
        ahead = round((local.replace(tzinfo=timezone.utc).timestamp() - local.timestamp()) / 60)
        if found and found[-1][2] == ahead:
            found[-1] = found[-1][0], at + 15, ahead
        else:
            found.append((at, at + 15, ahead))
    return found


def brute(zone: str, minute: set[int], hour: set[int], days: tuple[set[int] | None, set[int] | None]) -> list[int]:
    """What is left out stands for the first instant that exists; of what comes twice the first counts."""
    day, weekday = days
    found = set[int]()
    for number in range((YEARS[-1] - YEARS[0] + 1) * 366 + 1):
        local = date(YEARS[0] - 1, 12, 31) + timedelta(days=number)
        in_month = day is not None and local.day in day
        in_week = weekday is not None and (local.isoweekday() % 7) in weekday
        if not ((day is None and weekday is None) or in_month or in_week):
            continue
        for h, m in product(hour, minute):
            awaited = ((local - date(1970, 1, 1)).days * 24 + h) * 60 + m
            until = (max(first, awaited - ahead) for first, end, ahead in stretches(zone) if awaited - ahead < end)
            found.add(next(until) * 60_000)
    return sorted(found)


def field(values: set[int] | None) -> str:
    return "*" if values is None else ",".join(map(str, sorted(values)))


RULES = st.tuples(
    st.sets(st.integers(0, 59), min_size=1, max_size=3),
    st.sets(st.integers(0, 23), min_size=1, max_size=3),
    st.none() | st.sets(st.integers(1, 31), min_size=1, max_size=2),
    st.none() | st.sets(st.integers(0, 6), min_size=1, max_size=2),
)


@pytest.mark.parametrize("zone", ZONES)
def test_it_agrees_with_brute_force(zone: str) -> None:
    """Never skips, never repeats, always advances: walked through all slots of years."""

    @settings(max_examples=6, deadline=None, derandomize=True, database=None)
    @given(RULES)
    def agrees(rule: tuple[set[int], set[int], set[int] | None, set[int] | None]) -> None:
        minute, hour, day, weekday = rule
        recurrence = Recurrence(cron=f"{field(minute)} {field(hour)} {field(day)} * {field(weekday)}", timezone=zone)
        begin, end = ms(YEARS[0], 1, 1), ms(YEARS[-1], 12, 31)
        expected = [at for at in brute(zone, minute, hour, (day, weekday)) if begin < at < end]
        found: list[int] = []
        at: int | None = begin
        while (at := recurrence.next_after(at or 0)) is not None and at < end:
            found.append(at)
        assert found == expected

    agrees()


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(RULES, st.sampled_from(ZONES), st.integers(ms(2023, 1, 2), ms(2025, 12, 1)))
def test_it_does_not_matter_when_it_is_asked(
    rule: tuple[set[int], set[int], set[int] | None, set[int] | None], zone: str, now: int
) -> None:
    minute, hour, day, weekday = rule
    recurrence = Recurrence(cron=f"{field(minute)} {field(hour)} {field(day)} * {field(weekday)}", timezone=zone)
    expected = next(at for at in brute(zone, minute, hour, (day, weekday)) if at > now)
    assert recurrence.next_after(now) == expected
    assert recurrence.next_after(expected - 1) == expected


@pytest.mark.parametrize(
    ("zone", "cron", "after", "expected"),
    [
        ("Europe/Berlin", "30 2 * * *", ms(2024, 3, 30, 12), ms(2024, 3, 31, 1)),  # 02:30 is left out: 03:00 CEST
        ("Europe/Berlin", "30 2 * * *", ms(2024, 3, 31, 1), ms(2024, 4, 1, 0, 30)),
        ("Europe/Berlin", "30 2 * * *", ms(2024, 10, 26, 12), ms(2024, 10, 27, 0, 30)),  # twice: the first
        ("Europe/Berlin", "30 2 * * *", ms(2024, 10, 27, 0, 30), ms(2024, 10, 28, 1, 30)),
        ("Australia/Lord_Howe", "15 2 * * *", ms(2024, 10, 5, 3), ms(2024, 10, 5, 15, 30)),  # half an hour is left out
        ("UTC", "0 0 29 2 *", ms(2024, 3, 1), ms(2028, 2, 29)),
        ("UTC", "0 0 31 * *", ms(2024, 3, 31), ms(2024, 5, 31)),
        ("UTC", "0 0 13 * 5", ms(2024, 9, 12), ms(2024, 9, 13)),  # the 13th or a Friday
        ("UTC", "0 0 13 * 5", ms(2024, 9, 13), ms(2024, 9, 20)),
        ("Asia/Shanghai", "0 0 1 * *", ms(2024, 1, 15), ms(2024, 1, 31, 16)),
        ("UTC", "0 * 9-17 * * 1-5", ms(2024, 9, 13, 17, 59), ms(2024, 9, 16, 9)),  # six fields, seconds first
        ("UTC", "*/20 0 0 * * *", ms(2024, 9, 13), ms(2024, 9, 13, 0, 0, 20)),
        ("UTC", "@daily", ms(2024, 9, 13), ms(2024, 9, 14)),
    ],
)
def test_days_for_which_a_warning_is_due(zone: str, cron: str, after: int, expected: int) -> None:
    assert Recurrence(cron=cron, timezone=zone).next_after(after) == expected


def test_intervals_and_bounds() -> None:
    every = Recurrence(every_ms=600_000)
    assert every.next_after(ms(2024, 1, 1, 12, 3)) == ms(2024, 1, 1, 12, 10)
    assert every.next_after(ms(2024, 1, 1, 12, 10)) == ms(2024, 1, 1, 12, 20)
    bound = Recurrence(every_ms=1000, start_ms=1_500, end_ms=3_600)
    assert [bound.next_after(at) for at in (0, 1_499, 1_500, 2_500, 3_500)] == [1_500, 1_500, 2_500, 3_500, None]
    daily = Recurrence(cron="0 0 * * *", start_ms=ms(2024, 5, 1), end_ms=ms(2024, 5, 2))
    assert daily.next_after(0) == ms(2024, 5, 1)
    assert daily.next_after(ms(2024, 5, 1)) == ms(2024, 5, 2)
    assert daily.next_after(ms(2024, 5, 2)) is None
    assert daily.next_after(10**15) is None


def test_a_rule_is_kept_as_text() -> None:
    for rule in (Recurrence(cron="5 4 * * *", timezone="Asia/Shanghai", limit=3), Recurrence(every_ms=500, end_ms=9)):
        assert Recurrence.decode(rule.encode()) == rule
        assert Recurrence.decode(rule.encode()).encode() == rule.encode()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either 'cron' or 'every'"),
        ({"cron": "* * * * *", "every_ms": 1000}, "either 'cron' or 'every'"),
        ({"every_ms": 99}, "at least 100 ms"),
        ({"every_ms": 0}, "at least 100 ms"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": "61 * * * *"}, "cannot be read"),
        ({"cron": "* * *"}, "has 3 fields: give five"),
        ({"cron": "often"}, "has 1 fields"),
        ({"cron": "* * * * * * *"}, "has 7 fields"),
        ({"cron": "R R * * *"}, "leaves a field to chance"),
        ({"cron": "0 0 * * *", "timezone": "Mars/Olympus"}, "unknown timezone 'Mars/Olympus'"),
        ({"cron": "0 0 * * *", "timezone": "../etc"}, "unknown timezone"),
        ({"every_ms": 1000, "start_ms": 5, "end_ms": 4}, "'end_date' is before 'start_date'"),
        ({"every_ms": 1000, "limit": -1}, "'limit' must be at least 1"),
    ],
)
def test_what_cannot_be(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Recurrence(**fields)  # type: ignore[arg-type]
