"""Rate limits: an exact bound, and about one deferral a job.

What was started is the truth: a start is allowed only if the starts before it leave room. Slots only spread those who
have to come back: each refused job gets the next one in virtual time, so they do not return together. A slot is a hint
when to try, not a right to run.

A job comes back a little before its slot, and a claim that comes a little early is granted for an instant ahead, until
which its worker waits: so the way from the store to the handler costs no time, and a handler begins when it may and
not when its message has arrived. Starts are kept a little farther apart than the limit says (``GUARD``), for the
moments by which handlers begin later than they might.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.record import Limit

GUARD, MAX_GUARD_MS = 0.02, 50.0
EARLY, MAX_EARLY_MS = 0.05, 50.0
AHEAD, MAX_AHEAD_MS = 0.1, 250.0
"""Parts of the time in which ``max`` jobs may start, and how much each is at most."""

MAX_WINDOW = 100_000
"""Most starts in a window: the store keeps some 130 bytes of each, and as much again while jobs wait."""

Ahead = Sequence[tuple[int, str]]
"""Instants, in order, and the jobs that are to start at them."""


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
    """How long before its slot a job comes back."""
    return int(_part(limit, EARLY, MAX_EARLY_MS))


def ahead_ms(limit: Limit) -> int:
    """How long before its start a claim may be granted: longer, for starts may lag behind the slots."""
    return int(_part(limit, AHEAD, MAX_AHEAD_MS))


def _span(limit: Limit) -> float:
    return limit.max * 1000 / limit.refill_per_s if limit.refill_per_s else limit.duration_ms


def _part(limit: Limit, part: float, most: float) -> float:
    return min(_span(limit) * part, most)


def limit_value(limit: Limit) -> dict[str, Any]:
    """A limit as stores keep it: as it was given, and how far apart its starts are."""
    value: dict[str, Any] = {
        "key": limit.key, "max": limit.max, "spacing": spacing(limit), "early": early_ms(limit),
        "ahead": ahead_ms(limit),
    }  # fmt: skip
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
        raise ValueError(f"{value!r} is no limit")
    # The first release did not keep what was given; this is a little less.
    if "initial" in value:
        rate = float(value.get("refill") or 1000 / apart)
        return Limit(key, most, refill_per_s=rate, initial=int(value["initial"]), bounce_back=bounce)
    return Limit(key, most, int(value.get("duration") or math.ceil(apart)), bounce_back=bounce)


class Instants(Protocol):
    """Starts, or slots: when the next one may be, and that one was."""

    def free_at(self, limit: Limit, now: int, ahead: Ahead = ()) -> int:
        """When there is room for one more, after those of ``ahead``."""

    def remember(self, instant: int, limit: Limit, now: int) -> None: ...


class Window:
    """The last ``max`` instants: the next one is a spacing after the one ``max`` ago, so no window holds more."""

    def __init__(self) -> None:
        self._instants: list[int] = []

    def free_at(self, limit: Limit, now: int, ahead: Ahead = ()) -> int:
        apart = int(spacing(limit))
        if len(ahead) >= limit.max:
            return ahead[-limit.max][0] + apart
        place = len(ahead) - limit.max
        return self._instants[place] + apart if len(self._instants) >= -place else 0

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        insort(self._instants, instant)
        del self._instants[: -limit.max]


class Bucket:
    """A token bucket as one number (GCRA): the instant at which it would be full again."""

    def __init__(self) -> None:
        self._full_at: float | None = None

    def free_at(self, limit: Limit, now: int, ahead: Ahead = ()) -> int:
        return math.ceil(self._full(limit, now) - (limit.max - 1 - len(ahead)) * spacing(limit))

    def remember(self, instant: int, limit: Limit, now: int) -> None:
        self._full_at = max(self._full(limit, now), instant) + spacing(limit)

    def _full(self, limit: Limit, now: int) -> float:
        if self._full_at is None:
            missing = limit.max - (limit.max if limit.initial is None else limit.initial)
            self._full_at = now + missing * spacing(limit)
        return self._full_at


class LimitLog:
    """The starts and the slots under one key."""

    def __init__(self, limit: Limit) -> None:
        self._kind: Callable[[], Instants] = Bucket if limit.refill_per_s else Window
        self._starts: Instants = self._kind()
        self._slots: Instants = self._kind()
        self._retries: dict[str, int] = {}
        """By job: when those will start who came to their slot too early."""
        self._in_order: list[tuple[int, str]] = []

    def forget_slots(self) -> None:
        """Hand them out anew: nobody waits for one."""
        self._slots = self._kind()

    def free_at(self, now: int, limit: Limit, reserved: bool) -> int:
        """The first instant at which a job may start; only who has no slot minds those of others."""
        free = self._starts.free_at(limit, now)
        return free if reserved else max(free, self._slots.free_at(limit, now))

    def reserve(self, now: int, limit: Limit, job_id: str, reserved: bool) -> int:
        """Hand out the next slot; who had one already gets the room of the next start that is not spoken for."""
        if not reserved:
            slot = max(now + 1, self._slots.free_at(limit, now), self._starts.free_at(limit, now))
            self._slots.remember(slot, limit, now)
            return slot
        self._no_retry(job_id)
        while self._in_order and self._in_order[0][0] <= now:
            self._no_retry(self._in_order[0][1])
        slot = max(now + 1, self._starts.free_at(limit, now, self._in_order))
        self._retries[job_id] = slot
        insort(self._in_order, (slot, job_id))
        return slot

    def start(self, instant: int, now: int, limit: Limit, job_id: str, reserved: bool) -> None:
        """Count a start, now or at an instant ahead."""
        self._starts.remember(instant, limit, now)
        if reserved:
            self._no_retry(job_id)
        else:
            self._slots.remember(instant, limit, now)

    def _no_retry(self, job_id: str) -> None:
        at = self._retries.pop(job_id, None)
        if at is not None:
            del self._in_order[bisect_left(self._in_order, (at, job_id))]
