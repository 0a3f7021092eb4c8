"""The index of queues by what comes first: it is kept, fixed, and made for what an earlier release has written."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.model.record import Held, NewJob, WorkerInfo
from stratix_kombu.model.state import State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store
from tests.waiting import until

QUEUES = 120


class Namespace:
    """A store, and its keys beside it."""

    def __init__(self, url: str) -> None:
        self.name = f"first{uuid.uuid4().hex[:8]}"
        self.store: Store = open_redis_store({"url": url}, namespace=self.name)
        self.client: Any = Redis.from_url(url, decode_responses=True)

    def first(self, part: str) -> dict[str, float]:
        return dict(self.client.zrange(f"{{{self.name}}}:first:{part}", 0, -1, withscores=True))

    def forget(self) -> None:
        """Now the keys are as the first release left them."""
        base = f"{{{self.name}}}"
        self.client.delete(f"{base}:first:delayed", f"{base}:first:active", f"{base}:walk")


@pytest.fixture
def space(redis_url: str) -> Iterator[Namespace]:
    space = Namespace(redis_url)
    yield space
    space.store.close()
    space.client.close()


def _new(job_id: str, queue: str = "q", **fields: Any) -> NewJob:
    return NewJob(id=job_id, queue=queue, name="n", **fields)


def test_what_an_earlier_release_wrote_is_found_by_the_first_recovery(space: Namespace) -> None:
    transitions = space.store.transitions
    names = [f"q{number}" for number in range(QUEUES)]
    transitions.add([_new(f"d{one}", one, delay_ms=1) for one in names])
    transitions.add([_new(f"a{one}", one) for one in names])
    for one in names:
        transitions.claim(one, [f"a{one}"], "w", 1)
    space.forget()
    assert transitions.promote()[0].ready == ()
    recovered, change = set[str](), transitions.recover(1)
    recovered.update(change.affected)
    while change.more:
        change = transitions.recover(1)
        recovered.update(change.affected)
    until(lambda: recovered.update(transitions.recover(1).affected) or len(recovered) == QUEUES)
    promoted = set[str]()
    until(lambda: promoted.update(one.id for one in transitions.promote()[0].ready) or len(promoted) == QUEUES)


def test_what_was_evicted_later_is_found_by_a_walk(space: Namespace) -> None:
    transitions = space.store.transitions
    transitions.recover(1)
    transitions.add([_new("d", delay_ms=60_000)])
    space.client.delete(f"{{{space.name}}}:first:delayed")
    assert transitions.promote()[1] is None
    transitions.recover(1)
    assert transitions.promote()[1] is not None


def test_it_knows_the_earliest(space: Namespace) -> None:
    transitions = space.store.transitions
    transitions.add([_new("late", delay_ms=90_000), _new("soon", delay_ms=30_000), _new("mid", delay_ms=60_000)])
    early = space.first("delayed")["q"]
    transitions.promote_job("soon")
    assert transitions.promote()[1] == pytest.approx(60_000, abs=5_000)
    assert space.first("delayed")["q"] > early
    transitions.sweep("q", Sweep.REMOVE, State.DELAYED)
    assert transitions.promote()[1] is None
    assert space.first("delayed") == {}


def test_a_lease_that_is_renewed_for_a_shorter_time_ends_then(space: Namespace) -> None:
    transitions = space.store.transitions
    transitions.add([_new("a")])
    (claim,) = transitions.claim("q", ["a"], "w", 60_000).claims
    transitions.renew([WorkerInfo(id="w", queue="q")], [Held("a", claim.token)], 1)
    until(lambda: transitions.recover(1).affected == ("a",))
    assert space.first("active") == {}


def test_a_queue_that_is_forgotten_leaves_nothing(space: Namespace) -> None:
    transitions = space.store.transitions
    transitions.add([_new("a"), _new("d", delay_ms=60_000)])
    transitions.claim("q", ["a"], "w", 60_000)
    for state in State:
        transitions.sweep("q", Sweep.REMOVE, state)
    assert transitions.forget_queue("q")
    assert (space.first("active"), space.first("delayed")) == ({}, {})
