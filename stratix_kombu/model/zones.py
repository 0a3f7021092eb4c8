"""Time zones by name."""

from __future__ import annotations

import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from stratix_kombu.errors import ConfigurationError, nearest


def check_zone(name: object) -> str:
    """The name of a time zone, if it is one. Raises ConfigurationError with the nearest.

    >>> check_zone("Europe/Berlin")
    'Europe/Berlin'
    """
    try:
        ZoneInfo(name)  # type: ignore[arg-type]  # of whatever type it is, it says so
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError) as problem:
        near = nearest(str(name), available_timezones())
        hint = near if "did you mean" in near else ""  # not the names of all 600
        raise ConfigurationError(f"unknown timezone {name!r}{hint}: say it like 'Europe/Berlin'") from problem
    return str(name)


def is_utc_here() -> bool:
    """Whether the clock of this machine shows UTC, in summer and in winter."""
    return time.timezone == 0 and not (time.daylight and time.altzone)
