"""A record that was evicted, deleted by hand or overwritten: the others of its list go on. It is reported once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Change, Completion, Deduplication, Limit, NewJob, Retention
from stratix_kombu.model.state import State, Sweep
from tests.conformance.spoiled import LEASE_MS, MESSAGE, Spoiled
from tests.waiting import until

Check = Callable[[], bool]


def waiting(at: Spoiled) -> Check:
    at.add("bad", "good")
    return lambda: set(at.claim("bad", "good")) >= {"good"}


def taken(at: Spoiled) -> Check:
    at.add("bad", "good")
    return lambda: "good" in at.take(2)


def aside(at: Spoiled) -> Check:
    at.add("first", "bad", "good", limit=Limit("key", 1, 5))
    assert at.take(3) == ["first"]
    return lambda: "good" in at.take(3)


def grouped(at: Spoiled) -> Check:
    at.add("first", "bad", "good", group="g")
    bounds = Bounds(group_concurrency=1)
    (claim,) = at.store.transitions.take("q", "w", LEASE_MS, 3, bounds).claims
    at.store.transitions.complete([Completion("first", claim.token, "1")])
    return lambda: "good" in at.take(3)


def undelivered(at: Spoiled) -> Check:
    at.add("bad", "good", message=MESSAGE)

    def sent() -> bool:
        ready = {one.id for one in at.store.transitions.redeliver("q", 0, 0).ready}
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
    """The job waits for one that is lost, and fails when that is found."""
    at.add("bad", delay_ms=5)
    at.add("good", dependencies=("bad",), optional=True)

    def heard() -> bool:
        at.clock()
        at.claim("bad")
        at.store.transitions.release()
        return at.state("good") == "waiting" or at.client.hget(f"{at.base}:job:bad", "state") in ("waiting", "active")

    return heard


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


def unsent(at: Spoiled) -> Check:
    at.add("bad", "good", message=MESSAGE)
    at.store.transitions.pause("q")
    at.claim("bad", "good")
    return lambda: "good" in {one.id for one in at.store.transitions.resume("q").ready}


def unsent_line(at: Spoiled) -> Check:
    at.add("first", "bad", "good", message=MESSAGE, limit=Limit("key", 1, 5))
    at.claim("first", "bad", "good")
    sent = set[str]()

    def opened() -> bool:
        sent.update(one.id for one in at.store.transitions.promote()[0].ready)
        return "good" in sent

    return opened


def crowd(at: Spoiled) -> Check:
    at.add("first", "bad", "good", message=MESSAGE)
    tokens = at.claim("first", "bad", "good", most=1)
    ends = [Completion("first", tokens["first"], "1")]
    sent = set[str]()

    def tried() -> bool:
        sent.update(one.id for one in at.store.transitions.complete(ends).ready)
        sent.update(one.id for one in at.store.transitions.set_global_concurrency("q", 0).ready)
        return "good" in sent

    return tried


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
    many = ("bad", *(f"c{n}" for n in range(700)), "good")
    at.add(*many, message=MESSAGE)
    at.store.transitions.pause("q")
    at.claim(*many)
    sent = {one.id for one in at.store.transitions.resume("q").ready}

    def tried() -> bool:
        change = Change(more=True)
        while change.more:
            change = at.store.transitions.resume("q")
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


LISTS = [
    waiting,
    taken,
    aside,
    grouped,
    undelivered,
    active,
    delayed,
    dependents,
    dependencies,
    completed,
    failed,
    cleaned,
    unsent,
    unsent_line,
    crowd,
    releasing,
    reviving,
    seeking,
    forgetting,
    opening,
    expiring,
    deduplicated,
]
WAYS = ("gone", "type", "state", "name", "queue", "prio", "fields")
PLACED = [
    (one, way) for one in LISTS for way in (*WAYS, "place") if way != "place" or one not in (dependencies, releasing)
]
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
    heard = [one for one, _ in at.lost]
    assert len(heard) == len(set(heard)), "once"
    assert set(heard) <= {"bad"}
    for state in State:
        at.store.queries.find("q", [state])
    at.store.transitions.sweep("q", Sweep.REMOVE, State.BLOCKED)
    at.add("after")
    assert at.state("after") == "waiting"


@pytest.mark.parametrize(
    "names",
    [
        waiting,
        taken,
        aside,
        grouped,
        undelivered,
        active,
        delayed,
        dependents,
        completed,
        failed,
        cleaned,
        unsent,
        unsent_line,
        crowd,
    ],
    ids=lambda one: one.__name__,
)
@pytest.mark.parametrize(("way", "why"), [("gone", "missing"), ("type", "unreadable"), ("state", "unreadable")])
def test_what_was_dropped_is_reported_once(at: Spoiled, names: Callable[[Spoiled], Check], way: str, why: str) -> None:
    goes_on = names(at)
    at.spoil("bad", way)
    until(goes_on)
    at.clock()
    at.clock()
    assert at.lost == [("bad", why)]
