"""Histograms: their error is what is stated, and they can be added."""

from __future__ import annotations

import random

from hypothesis import given, strategies as st

from stratix_kombu.model.metrics import (
    BOUNDS_MS,
    MAX_MS,
    Distribution,
    Histogram,
    QueueMetrics,
    Tally,
    Times,
    bucket_of,
    middle_of,
)

durations = st.one_of(st.integers(0, 40), st.integers(0, MAX_MS))


@given(ms=durations)
def test_a_bucket_stands_for_what_is_in_it(ms: int) -> None:
    middle = middle_of(bucket_of(ms))
    assert bucket_of(middle) == bucket_of(ms)
    assert middle == ms if ms < 16 else abs(middle - ms) <= ms / 16


def test_buckets_are_in_order_and_bounded() -> None:
    numbers = [bucket_of(ms) for ms in range(5_000)]
    assert numbers == sorted(numbers)
    assert bucket_of(MAX_MS) == bucket_of(10**15) < 256


@given(times=st.lists(durations, min_size=1, max_size=300))
def test_percentiles_are_off_by_a_sixteenth_at_most(times: list[int]) -> None:
    histogram = Histogram()
    for ms in times:
        histogram.observe(ms)
    ranked = sorted(times)
    for percent in (50, 95, 99):
        exact = ranked[-(-len(ranked) * percent // 100) - 1]
        assert abs(histogram.percentile(percent) - exact) <= exact / 16
    assert (histogram.count, histogram.sum_ms) == (len(times), sum(times))


@given(first=st.lists(durations, max_size=50), second=st.lists(durations, max_size=50))
def test_histograms_of_two_minutes_are_added(first: list[int], second: list[int]) -> None:
    parts = [Histogram(), Histogram()]
    whole = Histogram()
    for part, times in zip(parts, (first, second), strict=True):
        for ms in times:
            part.observe(ms)
            whole.observe(ms)
    parts[0].add(parts[1])
    assert parts[0] == whole


def test_a_distribution_has_the_documented_bounds() -> None:
    times = Distribution()
    for ms in (0, 10, 11, 50, 10_000, 10_001):
        times.observe(ms)
    assert BOUNDS_MS == (10, 50, 100, 500, 1000, 5000, 10_000)
    assert times.counts == [2, 2, 0, 0, 0, 0, 1, 1]
    assert times.sum_ms == 20_072


def test_minutes_and_their_total() -> None:
    picked = random.Random(7)
    tallies = [Tally(start_ms=60_000 * number, completed=number) for number in range(3)]
    for tally in tallies:
        for _ in range(100):
            tally.run.observe(picked.randrange(1, 1000))
    metrics = QueueMetrics.of("q", tallies)
    assert [one.completed for one in metrics.minutes] == [0, 1, 2]
    assert (metrics.total.completed, metrics.total.minutes, metrics.total.start_ms) == (3, 3, 0)
    assert metrics.total.run.count == 300
    assert metrics.total.run.sum_ms == sum(one.run.sum_ms for one in metrics.minutes)
    assert 440 < metrics.total.run.p50_ms < 560 < metrics.total.run.p95_ms <= metrics.total.run.p99_ms < 1063
    assert metrics.total.wait == Times(0, 0, 0, 0, 0)
