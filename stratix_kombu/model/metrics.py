"""What is counted of a queue: per minute, per hour, and since it has been there. Durations are whole milliseconds.

A histogram has buckets of fixed bounds, so those of several minutes are simply added: exact below 16 ms, and eight
buckets for each doubling above. A percentile is the middle of its bucket, at most 6.25 % (1/16) away from the
duration it stands for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stratix_kombu.model.awaiting import NotAwaitable
from stratix_kombu.model.shown import Shown

MINUTE_MS = 60_000
KEPT_MINUTES = 24 * 60
HOUR_MS = 60 * MINUTE_MS
KEPT_HOURS = 31 * 24
NAMED_HOURS = 7 * 24
"""Hours that are kept of each name of jobs: there may be a hundred in a queue."""
NAMES_KEPT = 100
"""Names of jobs per queue whose run times are kept separately; later ones are counted as ``OTHER``."""
OTHER = "(other)"
BOUNDS_MS = (10, 50, 100, 500, 1000, 5000, 10_000)
"""Upper bounds of the classes of a ``Distribution``; there is one more for what takes longer."""
COUNTS = ("completed", "failed", "retried", "stalled", "limited", "cancelled")
MAX_MS = 2**31 - 1
"""24 days: what takes longer is in the last bucket of a histogram."""


def bucket_of(ms: int) -> int:
    """The number of the bucket that holds a duration."""
    if ms < 8:
        return ms
    bits = min(ms, MAX_MS).bit_length()
    return (bits - 4) * 8 + (min(ms, MAX_MS) >> (bits - 4))


def middle_of(bucket: int) -> int:
    """The duration that stands for all of a bucket."""
    if bucket < 16:
        return bucket
    shift = bucket // 8 - 1
    return ((8 + bucket % 8) << shift) + ((1 << shift) - 1) // 2


@dataclass(slots=True)
class Histogram:
    """How long something took."""

    sum_ms: int = 0
    buckets: dict[int, int] = field(default_factory=dict)
    """How many by number of the bucket; empty ones are left out."""

    @property
    def count(self) -> int:
        return sum(self.buckets.values())

    def observe(self, ms: int, times: int = 1) -> None:
        self.sum_ms += ms * times
        bucket = bucket_of(ms)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + times

    def add(self, other: Histogram) -> None:
        self.sum_ms += other.sum_ms
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def percentile(self, percent: int) -> int:
        """The duration that so many of a hundred do not exceed; 0 if there are none."""
        left = -(-self.count * percent // 100)
        for bucket, count in sorted(self.buckets.items()):
            left -= count
            if left <= 0:
                return middle_of(bucket)
        return 0


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a store has counted in one minute, or in one hour."""

    start_ms: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    stalled: int = 0
    limited: int = 0
    cancelled: int = 0
    wait: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)

    def add(self, other: Tally) -> None:
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wait.add(other.wait)
        self.run.add(other.run)


@dataclass(slots=True)
class Distribution:
    """How long something took, in the classes of ``BOUNDS_MS``."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    sum_ms: int = 0

    def observe(self, ms: int, times: int = 1) -> None:
        self.counts[bisect_left(BOUNDS_MS, ms)] += times
        self.sum_ms += ms * times


@dataclass(slots=True, kw_only=True)
class Totals:
    """What a store has counted of a queue since it has been there. Nothing of it ever decreases."""

    completed: int = 0
    failed: int = 0
    retried: int = 0
    stalled: int = 0
    limited: int = 0
    cancelled: int = 0
    wait: Distribution = field(default_factory=Distribution)
    runs: dict[str, Distribution] = field(default_factory=dict)
    """Of completed attempts, by name of the job: ``NAMES_KEPT`` of them, and ``OTHER``."""


@dataclass(frozen=True, slots=True)
class Times(Shown):
    """Durations of one kind, in milliseconds."""

    count: int
    sum_ms: int
    p50_ms: int
    p95_ms: int
    p99_ms: int

    @classmethod
    def of(cls, histogram: Histogram) -> Times:
        return cls(histogram.count, histogram.sum_ms, *(histogram.percentile(percent) for percent in (50, 95, 99)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Period(Shown):
    """What happened in a queue from one instant on, for one minute or several."""

    start_ms: int
    minutes: int
    completed: int
    """Jobs that completed."""
    failed: int
    """Jobs that failed for good, also because of a dependency; not those that were cancelled."""
    retried: int
    """Attempts that failed, and after which another one is made."""
    stalled: int
    """Attempts whose worker stopped renewing the lease."""
    limited: int
    """Starts that a rate limit refused."""
    cancelled: int
    """Jobs that were cancelled; their state is ``failed``."""
    wait: Times
    """Of the same attempts: from when the job became waiting (added, promoted, released, tried again) until then."""
    run: Times
    """Of attempts that ended, by completing or failing, from their begin."""

    @classmethod
    def of(cls, tally: Tally, minutes: int = 1) -> Period:
        counts = {name: getattr(tally, name) for name in COUNTS}
        return cls(
            start_ms=tally.start_ms, minutes=minutes, wait=Times.of(tally.wait), run=Times.of(tally.run), **counts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMetrics(Shown, NotAwaitable):
    """A queue over the last minutes, or the last hours."""

    _meant: ClassVar[str] = "write 'await queue.aio.get_metrics(...)'"

    name: str
    minutes: tuple[Period, ...]
    """One for each minute, oldest first; the current one is the last. Empty if hours were asked for."""
    hours: tuple[Period, ...] = ()
    """One for each hour, if these were asked for."""
    total: Period
    """All of them together."""

    @classmethod
    def of(cls, name: str, minutes: Sequence[Tally] = (), hours: Sequence[Tally] = ()) -> QueueMetrics:
        total = Tally(start_ms=[*minutes, *hours][0].start_ms)
        for one in (*minutes, *hours):
            total.add(one)
        return cls(
            name=name,
            minutes=tuple(map(Period.of, minutes)),
            hours=tuple(Period.of(hour, 60) for hour in hours),
            total=Period.of(total, len(minutes) + 60 * len(hours)),
        )
