"""A record that was evicted, deleted by hand or overwritten: the others that a list names go on. It is told once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.model.record import (
    Change,
    Completion,
    Deduplication,
    Failure,
    NewJob,
    Retention,
    Schedule,
    WorkerInfo,
)
from stratix_kombu.model.state import State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store
from tests.waiting import until

LEASE_MS = 600_000
NUMBERS = ("created", "due", "started", "finished", "made", "begun", "max", "stalled", "stalls", "pending", "claims",
           "waited", "sends", "since")  # fmt: skip
TEXTS = ("opts", "limit", "keep_completed", "keep_failed", "dead", "dedup", "failed_by")


class Spoiled:
    """A store with jobs, and what somebody else does to its keys."""

    def __init__(self, url: str) -> None:
        self.base = f"{{lost{uuid.uuid4().hex[:8]}}}"
        self.store: Store = open_redis_store({"url": url}, namespace=self.base[1:-1])
        self.client: Any = Redis.from_url(url, decode_responses=True)
        self.lost: list[tuple[str, str]] = []

    def add(self, *ids: str, **fields: Any) -> None:
        self.store.transitions.add([NewJob(id=one, queue="q", name="n", **fields) for one in ids])

    def claim(self, *ids: str, lease_ms: int = LEASE_MS, most: int = 0) -> dict[str, str]:
        claimed = self.store.transitions.claim("q", ids, "w", lease_ms, None, most)
        return {one.record.id: one.token for one in claimed.claims}

    def complete(self, *ids: str) -> Change:
        ends = [Completion(one, token, "1") for one, token in self.claim(*ids).items()]
        return self.released(self.store.transitions.complete(ends))

    def fail(self, *ids: str) -> Change:
        ends = [Failure(one, token, "no") for one, token in self.claim(*ids).items()]
        return self.released(self.store.transitions.fail(ends))

    def released(self, change: Change) -> Change:
        while change.more:
            change = self.store.transitions.release()
        return change

    def state(self, job_id: str) -> str:
        (record,) = self.store.queries.get([job_id])
        return record.state.value if record else "gone"

    def spoil(self, job_id: str, way: str) -> None:
        key = f"{self.base}:job:{job_id}"
        if way in ("gone", "type"):
            self.client.delete(key)
        if way == "type":
            self.client.set(key, "something else")
        elif way == "fields":
            self.client.hset(key, mapping=dict.fromkeys([*NUMBERS, *TEXTS], "\ud7ff{no"))
        elif way in ("name", "queue"):
            self.client.hdel(key, way)
        elif way in ("state", "prio"):
            self.client.hset(key, way, "{no")
        elif way == "place":
            self.client.hset(key, "state", "blocked" if self.client.hget(key, "state") != "blocked" else "active")

    def recover(self) -> Change:
        change = self.store.transitions.recover(1)
        self.lost += [(one.id, one.why) for one in change.lost]
        return change

    def clock(self) -> None:
        """Everything the clock does, to its end."""
        transitions = self.store.transitions
        for step in (lambda: transitions.promote()[0], self.recover, transitions.release,
                     transitions.expire, lambda: transitions.redeliver("q", 60_000, True)):  # fmt: skip
            for _ in range(20):
                change = step()
                if not change.more:
                    break
            else:
                pytest.fail("a step of the clock does not come to its end")
        self.store.schedules.due()


Check = Callable[[], bool]


def waiting(at: Spoiled) -> Check:
    at.add("bad", "good")
    return lambda: set(at.claim("bad", "good")) >= {"good"}


def undelivered(at: Spoiled) -> Check:
    at.add("bad", "good")

    def sent() -> bool:
        ready = {one.id for one in at.store.transitions.redeliver("q", 0, True).ready}
        return "good" in ready

    return sent


def active(at: Spoiled) -> Check:
    at.add("bad", "good")
    at.claim("bad", "good", lease_ms=1)
    return lambda: "good" in at.recover().affected


def delayed(at: Spoiled) -> Check:
    at.add("bad", "good", delay_ms=5)

    def promoted() -> bool:
        at.store.transitions.promote()
        return at.state("good") == "waiting"

    return promoted


def dependents(at: Spoiled) -> Check:
    at.add("first")
    at.add("bad", "good", dependencies=("first",))
    return lambda: at.complete("first") is not None and at.state("good") == "waiting"


def dependencies(at: Spoiled) -> Check:
    """The job waits for one that is lost, and is told when that is found."""
    at.add("bad", delay_ms=5)
    at.add("good", dependencies=("bad",), optional=True)

    def told() -> bool:
        at.clock()
        at.claim("bad")
        at.store.transitions.release()
        return at.state("good") == "waiting" or at.client.hget(f"{at.base}:job:bad", "state") in ("waiting", "active")

    return told


def completed(at: Spoiled) -> Check:
    at.add("bad", "good")
    at.complete("bad", "good")
    at.add("next", keep_completed=Retention(count=1))
    return lambda: at.complete("next") is not None and (at.state("good"), at.state("next")) == ("gone", "completed")


def failed(at: Spoiled) -> Check:
    at.add("bad", "good")
    at.fail("bad", "good")
    return lambda: "good" in at.store.transitions.sweep("q", Sweep.RETRY, State.FAILED).affected


def cleaned(at: Spoiled) -> Check:
    at.add("bad", "good")
    return lambda: "good" in at.store.transitions.sweep("q", Sweep.REMOVE, State.WAITING).affected


def parked(at: Spoiled) -> Check:
    at.add("bad", "good")
    at.store.transitions.pause("q")
    at.claim("bad", "good")
    return lambda: "good" in {one.id for one in at.store.transitions.resume("q").ready}


def crowd(at: Spoiled) -> Check:
    at.add("first", "bad", "good")
    tokens = at.claim("first", "bad", "good", most=1)
    ends = [Completion("first", tokens["first"], "1")]
    return lambda: {one.id for one in at.store.transitions.complete(ends).ready} & {"good", "bad"} != set()


def releasing(at: Spoiled) -> Check:
    at.add("bad")
    at.add(*(f"d{n}" for n in range(600)), dependencies=("bad",), optional=True)
    at.store.transitions.complete([Completion("bad", at.claim("bad")["bad"], "1")])
    return lambda: at.released(Change(more=True)) is not None and at.state("d599") == "waiting"


def reviving(at: Spoiled) -> Check:
    at.add("bad")
    at.add(*(f"d{n}" for n in range(600)), dependencies=("bad",))
    at.fail("bad")
    assert at.store.transitions.retry("bad").more
    at.add("first")
    at.add("good", dependencies=("first",))
    return lambda: at.complete("first") is not None and at.state("good") == "waiting"


def seeking(at: Spoiled) -> Check:
    """What it waited for will run again; whether it has failed because of others as well is looked for page by page."""
    parts = tuple(f"p{n}" for n in range(700))
    at.add(*parts)
    at.add("bad", "good", dependencies=parts)
    at.fail("p0")
    assert at.store.transitions.retry("p0").more
    return lambda: at.released(Change(more=True)) is not None and at.state("good") == "blocked"


def forgetting(at: Spoiled) -> Check:
    at.add("bad", *(f"p{n}" for n in range(700)))
    at.add("gone", dependencies=("bad", *(f"p{n}" for n in range(700))))
    at.store.transitions.remove("gone")
    at.add("first")
    at.add("good", dependencies=("first",))
    return lambda: at.complete("first") is not None and at.state("good") == "waiting"


def opening(at: Spoiled) -> Check:
    at.add("first", "bad", *(f"c{n}" for n in range(700)), "good")
    at.claim("first", "bad", *(f"c{n}" for n in range(700)), "good", most=1)
    sent = {one.id for one in at.store.transitions.set_global_concurrency("q", 0).ready}

    def tried() -> bool:
        change = Change(more=True)
        while change.more:
            change = at.store.transitions.release()
            sent.update(one.id for one in change.ready)
        return "good" in sent

    return tried


def expiring(at: Spoiled) -> Check:
    at.add("bad", "good", keep_completed=Retention(age_ms=1))
    at.complete("bad", "good")
    return lambda: at.store.transitions.expire() is not None and at.state("good") == "gone"


def deduplicated(at: Spoiled) -> Check:
    at.add("bad", deduplication=Deduplication("d"))

    def added() -> bool:
        new = NewJob(id="good", queue="q", name="n", deduplication=Deduplication("d"))
        at.store.transitions.add([new])
        return "gone" in (at.state("bad"), at.state("good"))

    return added


LISTS = [waiting, undelivered, active, delayed, dependents, dependencies, completed, failed, cleaned, parked, crowd,
         releasing, reviving, seeking, forgetting, opening, expiring, deduplicated]  # fmt: skip
WAYS = ("gone", "type", "state", "name", "queue", "prio", "fields")
PLACED = [(one, way) for one in LISTS for way in (*WAYS, "place")
          if way != "place" or one not in (dependencies, releasing)]  # fmt: skip
"""Where the record says another state than the list, the dependents go on waiting for what it says."""


@pytest.fixture
def at(redis_url: str) -> Iterator[Spoiled]:
    at = Spoiled(redis_url)
    yield at
    at.store.close()
    at.client.close()


@pytest.mark.parametrize(("names", "way"), PLACED, ids=lambda one: one if isinstance(one, str) else one.__name__)
def test_the_others_go_on(at: Spoiled, names: Callable[[Spoiled], Check], way: str) -> None:
    goes_on = names(at)
    at.spoil("bad", way)
    until(goes_on)
    at.clock()
    at.clock()
    told = [one for one, _ in at.lost]
    assert len(told) == len(set(told)), "once"
    assert set(told) <= {"bad"}
    for state in State:
        at.store.queries.find("q", [state])
    at.store.transitions.sweep("q", Sweep.REMOVE, State.BLOCKED)
    at.add("after")
    assert at.state("after") == "waiting"


@pytest.mark.parametrize(
    "names", [waiting, undelivered, active, delayed, dependents, completed, failed, cleaned, parked, crowd],
    ids=lambda one: one.__name__,
)  # fmt: skip
@pytest.mark.parametrize(("way", "why"), [("gone", "missing"), ("type", "unreadable"), ("state", "unreadable")])
def test_what_was_dropped_is_told_once(
    at: Spoiled, names: Callable[[Spoiled], Check], way: str, why: str
) -> None:
    goes_on = names(at)
    at.spoil("bad", way)
    until(goes_on)
    at.clock()
    at.clock()
    assert at.lost == [("bad", why)]


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
def test_a_job_that_nobody_would_tell_is_found(
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
