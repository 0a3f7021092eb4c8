"""What the first release left in Redis is read, and finishes: its records have no numbers and no marks."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from redis import Redis

from stratix_kombu.model.record import KEEP_NONE, Completion, Deduplication, Failure, Held, Limit, NewJob, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.redis import open_redis_store
from stratix_kombu.testing.stores import audit
from tests.waiting import until


@dataclass
class Upgrade:
    store: Store
    redis: Redis
    base: str

    def add(self, *jobs: NewJob) -> None:
        self.store.transitions.add(jobs)

    def complete(self, job_id: str, result: str = "1") -> list[str]:
        (claim,) = self.store.transitions.claim("q", [job_id], "w", 60_000).claims
        return [one.id for one in self.store.transitions.complete([Completion(job_id, claim.token, result)]).ready]

    def fail(self, job_id: str) -> None:
        (claim,) = self.store.transitions.claim("q", [job_id], "w", 60_000).claims
        self.store.transitions.fail([Failure(job_id, claim.token, "broken")])

    def states(self, *ids: str) -> list[str]:
        return [one.state.value if one else "gone" for one in self.store.queries.get(ids)]

    def to_the_first_release(self) -> None:
        """As it would have written all that is there."""
        for key in self.redis.scan_iter(f"{self.base}:*"):
            name = key.removeprefix(self.base)
            if name.endswith(":dependencies"):
                edges = {one: edge.partition(":")[2] for one, edge in self.redis.hgetall(key).items()}
                self.redis.hset(key, mapping=edges)
            elif name.startswith(":outcome:") or (name.startswith(":job:") and self.redis.type(key) == "hash"):
                self.redis.hdel(key, "number", "kind", "throttle")
            elif name.endswith(":dedup"):
                held = {one: holder.rpartition(":")[2] for one, holder in self.redis.hgetall(key).items()}
                self.redis.hset(key, mapping=held)
        self.redis.delete(f"{self.base}:number")


@pytest.fixture
def old(redis_url: str) -> Iterator[Upgrade]:
    namespace = f"old{uuid.uuid4().hex[:8]}"
    store = open_redis_store({"url": redis_url}, namespace=namespace)
    with Redis.from_url(redis_url, decode_responses=True) as client:
        upgrade = Upgrade(store, client, f"{{{namespace}}}")
        yield upgrade
        assert audit(store) == []
    store.close()


def _job(job_id: str, **fields: object) -> NewJob:
    return NewJob(id=job_id, queue="q", name="n", **fields)  # type: ignore[arg-type]


def test_dependents_of_old_jobs_go_on_and_read_results(old: Upgrade) -> None:
    old.add(_job("a"), _job("b"), _job("gone", keep_completed=KEEP_NONE), _job("c", dependencies=("a", "b", "gone")))
    old.complete("gone", "3")
    old.complete("a")
    old.to_the_first_release()
    assert [one and one.number for one in old.store.queries.get(["a", "c"])] == [0, 0]
    old.add(_job("gone"), _job("later", dependencies=("b", "gone")))
    old.store.transitions.add_dependency("c", "later")
    assert old.complete("b", "2") == []
    assert old.complete("gone", "4") == ["later"]
    assert old.complete("later", "5") == ["c"]
    assert old.store.queries.dependency_results("c") == {"a": "1", "b": "2", "gone": "3", "later": "5"}
    assert old.store.queries.dependency_results("later") == {"b": "2", "gone": "4"}
    old.store.transitions.remove("a")
    old.add(_job("a"))
    assert old.store.queries.dependency_results("c")["a"] == "1"
    old.complete("c")


def test_old_jobs_fail_run_again_and_leave_letters(old: Upgrade) -> None:
    old.add(_job("a", dead_letter="dead"), _job("d", dependencies=("a",)))
    old.to_the_first_release()
    old.fail("a")
    assert old.states("a", "d") == ["failed", "failed"]
    assert len(old.store.queries.find("dead", [State.WAITING])) == 1
    old.store.transitions.retry("a")
    assert old.states("a", "d") == ["waiting", "blocked"]
    assert old.complete("a") == ["d"]


def test_old_jobs_hold_their_deduplication_and_expire(old: Upgrade) -> None:
    once = Deduplication("once")
    old.add(_job("a", deduplication=once), _job("b", keep_completed=Retention(age_ms=0)))
    old.complete("b")
    old.to_the_first_release()
    assert old.store.transitions.add([_job("x", deduplication=once)]).instead == (("x", "a"),)
    old.complete("a")
    old.add(_job("x", deduplication=once))
    assert old.store.transitions.expire().affected == ("b",)
    assert old.states("a", "b", "x") == ["completed", "gone", "waiting"]


def test_an_old_placeholder_is_taken_over(old: Upgrade) -> None:
    old.add(_job("v", vacant=True), _job("d", dependencies=("v",)))
    old.to_the_first_release()
    old.add(_job("v"))
    assert old.complete("v") == ["d"]
    assert old.store.queries.dependency_results("d") == {"v": "1"}


def _unordered(old: Upgrade) -> None:
    """The waiting jobs as they stood before there was an order: by priority, and the time of their dispatch."""
    key = f"{old.base}:q:q"
    for n, (job_id, score) in enumerate(old.redis.zrange(f"{key}:order", 0, -1, withscores=True)):
        old.redis.zadd(f"{key}:waiting:{int(score // 2**44)}", {job_id: 1_700_000_000_000_000 + n * 1_000})
    old.redis.delete(f"{key}:order", f"{key}:starts")
    old.redis.hdel(f"{key}:meta", "old", *(f"last:{n}" for n in range(10)))


def _recovered(old: Upgrade) -> None:
    while old.store.transitions.recover(1).more:
        pass


def test_jobs_that_waited_to_be_claimed_are_taken_in_their_order(old: Upgrade) -> None:
    """Before those that were added since, whatever their priority was; native ones go on to be claimed."""
    ids = [f"{(n * 7919) % 1000:03}" for n in range(600)]
    old.add(*(_job(one) for one in ids), *(_job(f"p{n}", priority=4) for n in range(3)))
    old.add(_job("native", message='{"headers":{"task":"app.add"}}'))
    _unordered(old)
    old.redis.zadd(f"{old.base}:q:q:parked", {"000": 1, "native": 2})
    old.add(_job("new"), _job("urgent", priority=4))
    assert old.store.queries.status("q").counts["waiting"] == 606
    _recovered(old)
    taken = [one.record.id for one in old.store.transitions.take("q", "w", 60_000, 900).claims]
    assert taken == [*ids, "new", "p0", "p1", "p2", "urgent"]
    assert old.states("native") == ["waiting"]
    (claim,) = old.store.transitions.claim("q", ["native"], "w", 60_000).claims
    assert not old.redis.exists(f"{old.base}:q:q:parked")
    old.store.transitions.complete([Completion("native", claim.token, "1")])
    assert old.store.transitions.take("q", "w", 60_000, 1).claims == []


def test_a_job_with_a_permit_of_its_own_is_taken_too(old: Upgrade) -> None:
    """Jobs of a group had one that named the group."""
    old.add(_job("a"))
    _unordered(old)
    permit = '{"headers":{"lang":"py","task":"stratix.job","id":"a"},"properties":{}}'
    old.redis.hset(f"{old.base}:job:a", "msg", permit)
    _recovered(old)
    assert [one.record.id for one in old.store.transitions.take("q", "w", 60_000, 1).claims] == ["a"]


def test_since_when_they_wait_is_kept_and_their_permits_are_made_up_for(old: Upgrade) -> None:
    old.add(_job("a"), _job("b"))
    _unordered(old)
    _recovered(old)
    assert (old.store.queries.status("q").oldest_waiting_ms or 0) > 60_000_000_000
    assert len(old.store.transitions.redeliver("q", 0, 0).ready) == 2


def test_an_old_job_may_be_claimed_by_id_before_it_is_moved(old: Upgrade) -> None:
    old.add(_job("a"), _job("b"))
    _unordered(old)
    (claim,) = old.store.transitions.claim("q", ["a"], "w", 60_000).claims
    old.store.transitions.hand_back([Held("a", claim.token)])
    _recovered(old)
    taken = [one.record.id for one in old.store.transitions.take("q", "w", 60_000, 5).claims]
    assert sorted(taken) == ["a", "b"]


def test_a_job_that_was_deferred_to_a_slot_is_promoted_and_taken(old: Upgrade) -> None:
    limit = Limit("key", 1, 3_600_000)
    old.add(_job("a", limit=limit, delay_ms=1))
    old.redis.hset(f"{old.base}:job:a", "reserved", "1")
    until(lambda: old.store.transitions.promote()[0].ready)
    assert [one.record.id for one in old.store.transitions.take("q", "w", 60_000, 5).claims] == ["a"]


def test_presence_that_was_said_for_each_queue_is_dropped(old: Upgrade) -> None:
    parts = [f"{old.base}:q:q:{part}" for part in ("workers", "worker-info")]
    old.redis.zadd(parts[0], {"w": 1})
    old.redis.hset(parts[1], "w", "{}")
    old.add(NewJob(id="a", queue="q", name="n"))
    assert old.store.queries.workers("q") == []
    until(lambda: old.store.transitions.recover(1) and not old.redis.exists(*parts))


def test_an_end_that_an_earlier_release_noted_apart_from_the_token_is_known(old: Upgrade) -> None:
    old.add(*(_job(one, keep_completed=Retention(count=1)) for one in "abc"))
    complete = old.store.transitions.complete
    ends = {}
    for one in "ab":
        (claim,) = old.store.transitions.claim("q", [one], "w", 60_000).claims
        ends[one] = [Completion(one, claim.token, "1")]
        complete(ends[one])
        old.redis.hset(f"{old.base}:job:{one}", mapping={"token": "", "ended": f"c:{claim.token}"})
    assert old.states("a", "b") == ["gone", "completed"]
    assert complete(ends["a"]).stale == complete(ends["b"]).stale == ()
    assert complete([Completion("b", "another", "1")]).stale == ("b",)
    old.complete("c")
    assert old.states("b") == ["gone"]
    assert complete(ends["b"]).stale == ()
