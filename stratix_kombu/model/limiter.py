"""Rate limits: an exact bound of starts.

What was started is all that is remembered: a start is allowed only if the starts before it leave room. Jobs that may
not start yet stay where they are, and no job has a slot of its own.

A worker asks again a little before a limit opens, and a start that comes a little early is granted for an instant
ahead, until which the worker waits: so the way from the store to the handler costs no time, and a handler begins when
it may. Starts are kept a little farther apart than the limit says (``GUARD``), for the moments by which handlers begin
later than they might."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.record import Limit

GUARD, MAX_GUARD_MS = 0.02, 50.0
EARLY, MAX_EARLY_MS = 0.05, 50.0
AHEAD, MAX_AHEAD_MS = 0.1, 250.0
"""Parts of the time in which ``max`` jobs may start, and how much each is at most."""

MAX_WINDOW = 100_000
"""Most starts in a window: the store keeps some ten bytes of each."""


def check_window(most: int, duration_ms: int, what: str) -> None:
    """Raise ConfigurationError for a window that cannot be kept."""
    if duration_ms < 1:
        raise ConfigurationError(f"{what}['duration'] must be at least 1 ms")
    if most > MAX_WINDOW:
        raise ConfigurationError(
            f"{what}['max'] must be at most {MAX_WINDOW:,}, not {most:,}: every start of a window is remembered. "
            "Say less in a shorter 'duration', or a bucket, with 'refill_rate' (tokens a second)"
        )


def spacing(limit: Limit) -> float:
    """How far apart starts are, in milliseconds: of a window, the first and the one after ``max``; of a bucket, two."""
    span = _span(limit) + _part(limit, GUARD, MAX_GUARD_MS)
    return span / limit.max if limit.refill_per_s else math.ceil(span)


def early_ms(limit: Limit) -> int:
    """How long before it opens a limit is asked again."""
    return int(_part(limit, EARLY, MAX_EARLY_MS))


def ahead_ms(limit: Limit) -> int:
    """How long before its start a claim may be granted: longer, for those who ask may be late."""
    return int(_part(limit, AHEAD, MAX_AHEAD_MS))


def _span(limit: Limit) -> float:
    return limit.max * 1000 / limit.refill_per_s if limit.refill_per_s else limit.duration_ms


def _part(limit: Limit, part: float, most: float) -> float:
    return min(_span(limit) * part, most)


def limit_value(limit: Limit) -> dict[str, Any]:
    """A limit as stores keep it: as it was given, and how far apart its starts are."""
    value: dict[str, Any] = {
        "key": limit.key,
        "max": limit.max,
        "spacing": spacing(limit),
        "early": early_ms(limit),
        "ahead": ahead_ms(limit),
    }
    if limit.refill_per_s:
        value["initial"] = limit.max if limit.initial is None else limit.initial
        value["refill"] = limit.refill_per_s
    else:
        value["duration"] = limit.duration_ms
    if not limit.bounce_back:
        value["bounce"] = False
    return value


def limit_from(value: Mapping[str, Any]) -> Limit:
    """The limit of which ``limit_value`` made this. Raises KeyError, TypeError, ValueError, ZeroDivisionError."""
    key, most, apart = str(value["key"]), int(value["max"]), float(value["spacing"])
    bounce = bool(value.get("bounce", True))
    if not (1 <= most <= 1_000_000 and 0 < apart < math.inf):
        raise ValueError(f"{value!r} is not a limit")
    # The first release did not keep what was given; this is a little less.
    if "initial" in value:
        rate = float(value.get("refill") or 1000 / apart)
        return Limit(key, most, refill_per_s=rate, initial=int(value["initial"]), bounce_back=bounce)
    return Limit(key, most, int(value.get("duration") or math.ceil(apart)), bounce_back=bounce)


class Starts(Protocol):
    """The starts under one key."""

    def free_at(self, limit: Limit, now: int) -> int:
        """When there is room for one more; an instant that has passed, or 0, if there is."""

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        """Count a start, now or at an instant ahead."""

    def copy(self) -> Starts:
        """One that can be tried out."""


class Window:
    """The last ``max`` instants: the next one is a spacing after the one ``max`` ago, so no window holds more. Each
    counts as no earlier than the one before."""

    def __init__(self) -> None:
        self._instants: list[int] = []

    def free_at(self, limit: Limit, now: int) -> int:
        full = len(self._instants) >= limit.max
        return self._instants[-limit.max] + int(spacing(limit)) if full else 0

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        self._instants.append(max(instant, self._instants[-1] if self._instants else 0))
        del self._instants[: -limit.max]

    def copy(self) -> Starts:
        return _Tried(self._instants)


class _Tried:
    """A window that is tried out: what it remembers stands behind the instants of the real one, of which there may be
    very many."""

    def __init__(self, before: Sequence[int]) -> None:
        self._before = before
        self._instants: list[int] = []

    def free_at(self, limit: Limit, now: int) -> int:
        place = len(self._before) + len(self._instants) - limit.max
        if place < 0:
            return 0
        behind = place - len(self._before)
        return (self._instants[behind] if behind >= 0 else self._before[place]) + int(spacing(limit))

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        last = self._instants or self._before
        self._instants.append(max(instant, last[-1] if last else 0))

    def copy(self) -> Starts:
        return _Tried([*self._before, *self._instants])


class Bucket:
    """A token bucket as the instant at which it would be full again (GCRA), and how long a token takes until then.

    Another limit finds as many tokens missing, at most its whole content: none is given back by a change, and no job
    waits for tokens that are refilled more slowly than its limit says."""

    def __init__(self, full_at: float | None = None, token_ms: float | None = None) -> None:
        self._full_at = full_at
        self._token_ms = token_ms

    @property
    def state(self) -> tuple[float | None, float | None]:
        """What it is made of; None for what is not known: of a new one both, and of an earlier release the time."""
        return self._full_at, self._token_ms

    def free_at(self, limit: Limit, now: int) -> int:
        return math.ceil(self._full(limit, now) - (limit.max - 1) * spacing(limit))

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        self._full_at = max(self._full(limit, now), instant) + spacing(limit)

    def copy(self) -> Bucket:
        return Bucket(*self.state)

    def _full(self, limit: Limit, now: int) -> float:
        token_ms = spacing(limit)
        if self._full_at is None:
            missing = limit.max - (limit.max if limit.initial is None else limit.initial)
            self._full_at = now + missing * token_ms
        elif self._full_at > now and self._token_ms not in (None, token_ms):
            self._full_at = now + (self._full_at - now) / self._token_ms * token_ms
        self._token_ms = token_ms
        self._full_at = min(self._full_at, now + limit.max * token_ms + ahead_ms(limit))
        return self._full_at


def starts_of(limit: Limit) -> Starts:
    """Nothing has started yet."""
    return Bucket() if limit.refill_per_s else Window()


def room(starts: Starts, limit: Limit, now: int, most: int) -> tuple[int, int]:
    """How many may start now or a little ahead, ``most`` at most; and when the next one may after these."""
    starts.free_at(limit, now)  # if it is new, or the limit is another one, that counts from now on
    starts, count = starts.copy(), 0
    while count < most and (free := starts.free_at(limit, now)) <= now + ahead_ms(limit):
        starts.remember(max(free, now), limit, now)
        count += 1
    return count, starts.free_at(limit, now)
