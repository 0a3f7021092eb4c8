"""Edges, schedules and workers that the server has lost, or that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from stratix_kombu.model.record import Limit, Schedule, WorkerInfo
from tests.conformance.spoiled import LEASE_MS, Spoiled
from tests.waiting import until


@pytest.fixture
def at(redis_url: str) -> Iterator[Spoiled]:
    at = Spoiled(redis_url)
    yield at
    at.store.close()
    at.client.close()


@pytest.mark.parametrize("optional", [False, True])
def test_a_job_whose_edges_are_lost_does_not_wait_for_ever(at: Spoiled, optional: bool) -> None:
    at.add("first", "second")
    at.add("bad", "good", dependencies=("first", "second"), optional=optional)
    at.client.delete(f"{at.base}:job:bad:dependencies")
    at.complete("first")
    assert (at.state("bad"), at.state("good")) == ("failed", "blocked")
    (record,) = at.store.queries.get(["bad"])
    assert record is not None
    assert record.failed_reason == "the store has lost what this job depends on"
    at.complete("second")
    assert (at.state("bad"), at.state("good")) == ("failed", "waiting")
    at.store.transitions.retry("bad")
    assert at.state("bad") == "waiting"


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize(
    ("lost", "ends", "state"),
    [
        (["first:dependents"], "after", "waiting"),
        (["first:dependents"], "before", "waiting"),
        (["first", "first:dependents"], "", "failed"),
        (["first:dependents"], "removed", "failed"),
        (["first:dependents"], "again", "failed"),
        (["bad:dependencies"], "", "failed"),
        (["bad:dependencies", "first:dependents"], "", "failed"),
    ],
)
def test_a_job_that_nothing_would_unblock_is_found(
    at: Spoiled, lost: list[str], ends: str, state: str, optional: bool
) -> None:
    at.add("first", "second")
    at.add("bad", dependencies=("first",), optional=optional)
    at.add("good", dependencies=("second",))
    for key in lost:
        at.client.delete(f"{at.base}:job:{key}")
    if ends == "before":
        at.complete("first")
    elif ends in ("removed", "again"):
        at.store.transitions.remove("first")
    if ends == "again":
        at.add("first")
    if ends == "after":
        at.clock()
        at.complete("first")
    until(lambda: at.clock() or at.state("bad") != "blocked")
    assert at.state("bad") == ("waiting" if optional and lost[0] != "bad:dependencies" else state)
    assert at.state("good") == "blocked"
    at.complete("second")
    assert at.state("good") == "waiting"


@pytest.mark.parametrize("text", [None, "{no", "[]", "5", '{"next_ms": "x"}'])
def test_a_schedule_that_is_lost_holds_up_no_other(at: Spoiled, text: str | None) -> None:
    schedules = at.store.schedules
    for key in ("q:bad", "q:good"):
        schedules.put(Schedule(key=key, queue="q", name="n", rule="{}", template="{}", next_ms=1))
    if text is None:
        at.client.hdel(f"{at.base}:schedules", "q:bad")
    else:
        at.client.hset(f"{at.base}:schedules", "q:bad", text)
    assert [[one.key for one in schedules.due()[0]] for _ in range(2)] == [["q:good"]] * 2
    assert [one.key for one in schedules.all("q")] == ["q:good"]
    at.clock()
    at.clock()
    assert [one for one, _ in at.lost] == ["q:bad"]
    assert schedules.fire("q:bad", 1, 2, None) is None
    assert not schedules.set_paused("q:bad", True)
    schedules.put(Schedule(key="q:bad", queue="q", name="n", rule="{}", template="{}", next_ms=1))
    assert schedules.remove("q:bad")


@pytest.mark.parametrize("text", ["{no", "[]", "5", '{"host": 5, "x": 1}'])
def test_a_worker_that_cannot_be_read_hides_no_other(at: Spoiled, text: str) -> None:
    workers: Sequence[WorkerInfo] = [WorkerInfo(id=one, queue="q") for one in ("bad", "good")]
    for one in workers:
        at.store.transitions.renew([one], [], LEASE_MS)
    at.client.hset(f"{at.base}:process", "bad", text)
    assert [one.id for one in at.store.queries.workers("q")][-1] == "good"
    for one in workers:
        at.store.transitions.renew([one], [], LEASE_MS)
    assert [one.id for one in at.store.queries.workers("q")] == ["bad", "good"]


@pytest.mark.parametrize("lost", ["line:t:key", "lines", "meta", "aside"])
def test_a_job_whose_line_is_lost_is_taken(at: Spoiled, lost: str) -> None:
    at.add("first", "good", limit=Limit("key", 1, 5))
    assert at.take(2) == ["first"]
    at.client.delete(f"{at.base}:q:q:{lost}")

    def taken() -> bool:
        at.recover()
        return at.take(2) == ["good"]

    until(taken)
