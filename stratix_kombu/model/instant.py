"""Instants that users give: as milliseconds since the epoch, within the calendar. A pure value."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.suspects import suspect_unix_time

FIRST_MS = -62_135_596_800_000
LAST_MS = 253_402_300_799_999
"""The first and the last instant of the calendar, of the years 1 and 9999."""
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def instant(value: object, what: str) -> int:
    """An aware datetime, or milliseconds since the epoch, as the latter. Raises ConfigurationError for a naive one,
    a timedelta and what is beyond the calendar. Logs a warning where a number is probably in seconds."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigurationError(
                f"{what} is a datetime without a time zone: give it one, as in {value!r} with tzinfo=timezone.utc"
            )
        return min(max(round((value - EPOCH) / timedelta(milliseconds=1)), FIRST_MS), LAST_MS)
    if isinstance(value, timedelta):
        raise ConfigurationError(
            f"{what} is an instant, not a duration: use an aware datetime, as in datetime.now(timezone.utc) + {value!r}"
        )
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(f"{what} must be an aware datetime, or milliseconds since 1970, not {value!r}")
    if not FIRST_MS <= value <= LAST_MS:
        raise ConfigurationError(f"{what} must be in the years 1 to 9999, not {value!r} ms since 1970")
    suspect_unix_time(value, what)
    return round(value)


def date_of(ms: int) -> datetime:
    """The aware datetime, in UTC, of milliseconds since the epoch."""
    return EPOCH + timedelta(milliseconds=ms)
