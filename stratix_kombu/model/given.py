"""Options as users give them: by keyword or as a mapping, in snake_case or the documented camelCase."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from stratix_kombu.errors import ConfigurationError, nearest_option
from stratix_kombu.model.names import snake
from stratix_kombu.model.text import kind_of

MAX_MS = 100 * 365 * 24 * 3600 * 1000
"""A hundred years: longer is a mistake in the unit."""
_CAMEL = re.compile(r"[a-z][a-z0-9]*([A-Z][a-z0-9]*)+\Z")


def snake_keys(options: Mapping[str, Any], known: Iterable[str], where: str) -> dict[str, Any]:
    """The mapping with snake_case keys; ConfigurationError for one that is not known."""
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"{where} must be a mapping, not {kind_of(options)}")
    known = set(known)
    named: dict[str, Any] = {}
    for given, value in options.items():
        key = given if given in known else snake(str(given))
        if key not in known:
            raise ConfigurationError(f"{where}: unknown option {given!r}{nearest_option(key, known)}")
        if key in named:
            raise ConfigurationError(f"{where}: {key!r} is given twice")
        named[key] = value
    return named


def query_options(query: str, where: str) -> dict[str, str]:
    """What the query of a URL says, by name in snake_case. ConfigurationError for a name that it gives twice, and not
    the same: one of the two would be ignored.

    >>> query_options("migrate=auto&poolSize=3", "the URL")
    {'migrate': 'auto', 'pool_size': '3'}
    """
    said: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if said.setdefault(snake(name), value) != value:
            raise ConfigurationError(f"{where} says {snake(name)!r} more than once, and not the same")
    return said


def together(options: Mapping[str, Any] | None, named: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Options that a call was given as a mapping, and those it was given by keyword: one that is given in both ways,
    in whatever spelling, is as the keyword says. ConfigurationError if the former are no mapping.

    >>> together({"removeOnFail": True, "attempts": 3}, {"remove_on_fail": 5}, "add")
    {'attempts': 3, 'remove_on_fail': 5}
    """
    if options is None:
        return named
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"{where}: options are a mapping or keywords, not {kind_of(options)}")
    if not named:
        return dict(options)
    said = {snake(key) for key in named}
    return {**{key: value for key, value in options.items() if snake(str(key)) not in said}, **named}


def snake_everywhere(value: Any) -> Any:
    """Mappings with the keys of the documented camelCase in snake_case, at every level, in lists too. Only what is
    written so is changed: ``accessKeyId``, but not ``X-Api-Key`` or ``ContentType``."""
    if isinstance(value, Mapping):
        return {
            snake(key) if isinstance(key, str) and _CAMEL.match(key) else key: snake_everywhere(inner)
            for key, inner in value.items()
        }
    return [snake_everywhere(inner) for inner in value] if isinstance(value, list) else value


def mapping(value: object, what: str, shape: str = "") -> Mapping[str, Any]:
    """A mapping; ConfigurationError for anything else, with the ``shape`` it is to have."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{what} must be a mapping{shape and f' {shape}'}, not {value!r}")
    return value


def milliseconds(value: object, what: str) -> int:
    """A duration as whole milliseconds; ConfigurationError for anything else."""
    if isinstance(value, timedelta):
        value = value.total_seconds() * 1000
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigurationError(f"{what} must be milliseconds or a timedelta, not {value!r}")
    if not 0 <= value <= MAX_MS:
        raise ConfigurationError(f"{what} must be between 0 and a hundred years, not {value!r} ms")
    return round(value)


def whole(value: object, what: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(f"{what} must be a whole number from {low} to {high}, not {value!r}")
    return value
