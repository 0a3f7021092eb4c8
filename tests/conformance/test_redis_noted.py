"""What every job counts is noted first on Redis, and counted together: nothing of it is lost or counted twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.model.record import Completion, Failure, NewJob
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store

ENTRIES = 32
"""So many runs are noted at most, see tally.lua."""


class Counted:
    def __init__(self, url: str, namespace: str) -> None:
        self.store: Store = open_redis_store({"url": url}, namespace=namespace)
        self.client: Any = Redis.from_url(url)
        self.noted = f"{{{namespace}}}:q:q:noted"

    def run(self, jobs: int, at_once: int = 1, name: str = "n") -> None:
        """Add, take and complete so many jobs."""
        ids = [uuid.uuid4().hex for _ in range(jobs)]
        self.store.transitions.add([NewJob(id=one, queue="q", name=name) for one in ids])
        for _ in range(0, jobs, at_once):
            claims = self.store.transitions.take("q", "w", 60_000, at_once).claims
            self.store.transitions.complete([Completion(one.record.id, one.token, "1") for one in claims])

    def completed(self) -> tuple[int, int, int, int, dict[str, int]]:
        """As counted in minutes, by waits and by runs; since ever; and of that by names."""
        tallies = self.store.queries.metrics("q", 2)
        waits, runs = (sum(sum(getattr(one, kind).buckets.values()) for one in tallies) for kind in ("wait", "run"))
        totals = self.store.queries.totals("q")
        assert sum(totals.wait.counts) == waits
        names = {name: sum(one.counts) for name, one in totals.runs.items()}
        return sum(one.completed for one in tallies), waits, runs, totals.completed, names


@pytest.fixture
def counted(redis_url: str) -> Iterator[Counted]:
    found = Counted(redis_url, f"noted{uuid.uuid4().hex[:8]}")
    yield found
    found.store.close()
    found.client.close()


@pytest.mark.parametrize(("jobs", "at_once"), [(1, 1), (ENTRIES - 1, 1), (2 * ENTRIES + 5, 1), (45, 15), (60, 20)])
def test_all_is_counted_once(counted: Counted, jobs: int, at_once: int) -> None:
    counted.run(jobs, at_once)
    assert counted.client.llen(counted.noted) < ENTRIES
    assert counted.completed() == (jobs, jobs, jobs, jobs, {"n": jobs})
    assert not counted.client.exists(counted.noted)
    assert counted.completed()[:1] == (jobs,)


def test_reading_in_between_changes_nothing(counted: Counted) -> None:
    for number in range(1, 6):
        counted.run(7, name=f"n{number % 2}")
        assert counted.completed()[:4] == (7 * number,) * 4
    assert counted.completed()[4] == {"n0": 14, "n1": 21}


def test_attempts_that_fail_are_counted_by_how_long_they_took(counted: Counted) -> None:
    counted.store.transitions.add([NewJob(id="a", queue="q", name="n", max_attempts=2)])
    for retry_ms in (0, None):
        (claim,) = counted.store.transitions.take("q", "w", 60_000, 1).claims
        counted.store.transitions.fail([Failure("a", claim.token, "no", retry_ms=retry_ms)])
    assert counted.completed() == (0, 2, 2, 0, {})
    totals = counted.store.queries.totals("q")
    assert (totals.retried, totals.failed) == (1, 1)


def test_an_entry_that_cannot_be_read_is_passed_over(counted: Counted) -> None:
    counted.run(1)
    for entry in (b"\xc1", b"", b"\x01", b"\x91\xc0"):
        counted.client.rpush(counted.noted, entry)
    counted.run(2 * ENTRIES)
    assert counted.completed()[:1] == (2 * ENTRIES + 1,)


def test_it_is_forgotten_with_the_queue(counted: Counted) -> None:
    counted.run(1)
    counted.store.transitions.remove(counted.store.queries.find("q", [State.COMPLETED])[0].id)
    assert counted.store.transitions.forget_queue("q")
    assert not counted.client.exists(counted.noted)
