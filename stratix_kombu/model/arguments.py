"""Arguments of users' calls that have no options of their own: checked before anything else is done."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from threading import TIMEOUT_MAX
from typing import TypeVar

from stratix_kombu.errors import ConfigurationError

MAX_POSITION = 10**9

Item = TypeVar("Item")


def seconds(value: float | timedelta | None, what: str) -> float | None:
    """A time to wait as seconds, None for one without a limit; ConfigurationError for anything else."""
    if value is None:
        return None
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or math.isnan(number):
        raise ConfigurationError(f"{what} must be seconds, a timedelta or None, not {value!r}")
    return None if number > TIMEOUT_MAX else max(float(number), 0.0)


def position(value: int, what: str) -> int:
    """A position in a list, negative ones from its end; ConfigurationError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{what} must be a whole number, not {value!r}")
    return min(max(value, -MAX_POSITION), MAX_POSITION)


def plain_text(value: str, what: str) -> str:
    """A text, with characters that UTF-8 cannot encode escaped; ConfigurationError for anything else."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{what} must be a text, not {value!r}")
    return value.encode(errors="backslashreplace").decode()


def flag(value: bool, what: str) -> bool:
    """True or False; ConfigurationError for anything else, such as a text that says no."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{what} must be True or False, not {value!r}")
    return value


def many(jobs: Iterable[Item]) -> list[Item]:
    """What ``add_bulk`` is given, which may be a generator, read once; ConfigurationError for anything else."""
    if isinstance(jobs, (Mapping, str)):
        raise ConfigurationError("add_bulk: give a list of mappings with 'name', not a single one")
    if not isinstance(jobs, Iterable):
        raise ConfigurationError(f"add_bulk: give a list of mappings with 'name', not {jobs!r}")
    return jobs if isinstance(jobs, list) else list(jobs)
