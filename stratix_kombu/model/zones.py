"""Time zones by name."""

from __future__ import annotations

import time
from difflib import get_close_matches
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from stratix_kombu.errors import ConfigurationError


def check_zone(name: object) -> str:
    """The name of a time zone, if it is one. Raises ConfigurationError with the nearest.

    >>> check_zone("Europe/Berlin")
    'Europe/Berlin'
    """
    try:
        ZoneInfo(name)  # type: ignore[arg-type]  # of whatever type it is, it says so
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError) as problem:
        close = get_close_matches(str(name), available_timezones(), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ": write it like 'Europe/Berlin'"
        raise ConfigurationError(f"unknown timezone {name!r}{hint}") from problem
    return str(name)


def is_utc_here() -> bool:
    """Whether the clock of this machine shows UTC, in summer and in winter."""
    return time.timezone == 0 and not (time.daylight and time.altzone)
