"""Limits of starts and of active jobs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Completion, Failure, Limit
from stratix_kombu.model.state import Refusal, State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, gather, new, until


class LimitSuite(StoreCase):
    def fill(self, store: Store, count: int, queue: str = QUEUE) -> list[str]:
        ids = [f"{queue}{number:03}" for number in range(count)]
        self.add(store, *(new(job_id, queue) for job_id in ids))
        return ids

    # -- token buckets ------------------------------------------------------------------------------

    def test_a_bucket_gives_what_it_holds_and_then_as_it_is_refilled(self, store: Store) -> None:
        ids = self.fill(store, 8)
        bucket = Bounds(Limit("b", 3, refill_per_s=0.5))
        taken = self.take(store, 8, bucket)
        assert [claim.record.id for claim in taken.claims] == ids[:3]
        assert taken.why is Refusal.LIMITED
        assert abs(taken.until_ms - 2000) < 1000
        (refused,) = store.transitions.claim(QUEUE, ids[4:5], "w", LEASE_MS, bucket).refused
        assert (refused.why, abs(refused.retry_ms - 2000) < 1000) == (Refusal.LIMITED, True)
        assert self.counts(store) == {"active": 3, "waiting": 5}

    def test_a_new_bucket_holds_its_initial_tokens(self, store: Store) -> None:
        ids = self.fill(store, 5)
        bucket = Limit("b", 100, refill_per_s=0.001, initial=2)
        assert len(store.transitions.claim(QUEUE, ids[:1], "w", LEASE_MS, Bounds(bucket)).claims) == 1
        assert len(self.taken(store, 4, Bounds(bucket))) == 1
        empty = Limit("empty", 100, refill_per_s=0.001, initial=0)
        self.fill(store, 2, "other")
        assert self.taken(store, 2, Bounds(empty), queue="other") == []

    def test_a_new_bucket_that_is_empty_is_refilled_from_the_first_time_that_a_job_asks(self, store: Store) -> None:
        empty = Limit("queue", 5, refill_per_s=10, initial=0)
        ids = self.fill(store, 6)
        assert self.take(store, 1, Bounds(empty)).why is Refusal.LIMITED
        assert gather(lambda: self.taken(store, 1, Bounds(empty)), 2) == ids[:2]

    def test_so_is_one_that_a_claim_or_a_job_asks_first(self, store: Store) -> None:
        empty = Limit("claim", 5, refill_per_s=10, initial=0)
        ids = self.fill(store, 1)
        (refused,) = store.transitions.claim(QUEUE, ids, "w", LEASE_MS, Bounds(empty)).refused
        assert refused.why is Refusal.LIMITED
        until(lambda: store.transitions.claim(QUEUE, ids, "w", LEASE_MS, Bounds(empty)).claims)
        own = [replace(empty, key="taken"), replace(empty, key="claimed")]
        self.add(store, new("taken", "other", limit=own[0]), new("claimed", "third", limit=own[1]))
        assert self.taken(store, 1, queue="other") == []
        assert self.claim(store, "claimed", queue="third") == []
        assert gather(lambda: self.taken(store, 1, queue="other"), 1) == ["taken"]
        until(lambda: self.claim(store, "claimed", queue="third"))

    def test_a_bucket_lets_start_as_fast_as_it_is_refilled(self, store: Store) -> None:
        ids = self.fill(store, 6)
        bucket = Bounds(Limit("b", 2, refill_per_s=50))
        assert gather(lambda: self.taken(store, 6, bucket), 6) == ids
        starts = [self.record(store, job_id).processed_ms for job_id in ids]
        assert starts[5] - starts[0] >= 4 * 20 - 2

    # -- what is set ---------------------------------------------------------------------------------

    def test_what_is_set_for_a_queue_can_be_read(self, store: Store) -> None:
        assert store.queries.bounds(QUEUE) == (None, None)
        limits = [Limit("a", 5, 1_000), Limit("key:b", 7, refill_per_s=0.5, initial=0, bounce_back=False)]
        for limit in limits:
            store.transitions.set_limit(QUEUE, limit)
            assert store.queries.bounds(QUEUE) == (limit, None)
        store.transitions.set_global_concurrency(QUEUE, 0)
        store.transitions.set_global_concurrency("other", 3)
        assert store.queries.bounds(QUEUE) == (limits[1], 0)
        assert store.queries.bounds("other") == (None, 3)
        store.transitions.set_limit(QUEUE, None)
        store.transitions.set_global_concurrency(QUEUE, None)
        assert store.queries.bounds(QUEUE) == (None, None)

    # -- early, late, and not at all ----------------------------------------------------------------

    def test_a_take_that_comes_a_little_early_is_granted_for_an_instant_ahead(self, store: Store) -> None:
        self.fill(store, 60)
        bucket = Limit("slow", 1000, refill_per_s=100, initial=0)
        taken = self.take(store, 60, Bounds(bucket))
        waits = [claim.wait_ms for claim in taken.claims]
        starts = [claim.record.processed_ms for claim in taken.claims]
        assert all(later - first >= 10 for first, later in pairwise(starts))
        assert 0 < waits[0] <= 20
        assert 200 < waits[-1] <= 250
        now = store.queries.now()
        assert all(claim.record.processed_ms - claim.wait_ms <= now for claim in taken.claims)
        assert self.counts(store) == {"active": len(waits), "waiting": 60 - len(waits)}

    def test_it_asks_again_before_the_limit_opens_and_nothing_starts_before(self, store: Store) -> None:
        self.fill(store, 2)
        limit = Bounds(Limit("early", 1, 400))
        first = self.take(store, 2, limit)
        (one,) = first.claims
        assert first.until_ms < 400
        (two,) = until(lambda: self.take(store, 2, limit).claims)
        assert two.record.processed_ms - one.record.processed_ms >= 400
        assert two.record.processed_ms == self.record(store, two.record.id).processed_ms

    def test_a_window_that_becomes_smaller_or_larger(self, store: Store) -> None:
        self.fill(store, 60)
        assert len(self.taken(store, 60, Bounds(Limit("w", 20, 60_000)))) == 20
        assert self.taken(store, 60, Bounds(Limit("w", 5, 60_000))) == []
        assert len(self.taken(store, 60, Bounds(Limit("w", 30, 60_000)))) == 10

    def test_a_window_of_many_is_exact(self, store: Store) -> None:
        """More than are taken at once, and more than one page."""
        ids = self.fill(store, 1_000)
        limit, found = Bounds(Limit("w", 700, 60_000)), list[str]()
        while page := self.taken(store, 90, limit):
            found += page
        assert found == ids[:700]
        assert 50_000 < store.queries.limit_ttl(QUEUE, limit.limit) <= 61_000

    def test_claims_and_takes_and_queues_share_a_window(self, store: Store) -> None:
        own = Limit("shared", 3, 60_000)
        self.add(store, *(new(one, limit=own) for one in "abc"), *(new(one, "other", limit=own) for one in "xyz"))
        assert len(self.claim(store, "b")) == 1
        assert self.taken(store, 1) == ["a"]
        assert self.taken(store, 3, queue="other") == ["x"]
        assert self.taken(store, 3) == []

    # -- at run time --------------------------------------------------------------------------------

    def test_a_limit_that_was_set_takes_the_place_of_the_workers_own(self, store: Store) -> None:
        self.fill(store, 4)
        own = Bounds(Limit("own", 9, 60_000))
        store.transitions.set_limit(QUEUE, Limit("set", 1, 60_000))
        assert len(self.taken(store, 2, own)) == 1
        assert 50_000 < store.queries.limit_ttl(QUEUE) <= 61_000
        store.transitions.set_limit(QUEUE, None)
        assert len(self.taken(store, 2, own)) == 2
        assert store.queries.limit_ttl(QUEUE) == 0
        assert store.queries.limit_ttl(QUEUE, Limit("own", 2, 60_000)) > 0

    def test_slots_of_jobs_that_were_removed_are_not_waited_for(self, store: Store) -> None:
        """There are none: only what has started counts."""
        limit = Limit(f"queue:{QUEUE}", 2, 60_000)
        store.transitions.claim(QUEUE, self.fill(store, 20), "w", LEASE_MS, Bounds(limit))
        assert 50_000 < store.queries.limit_ttl(QUEUE, limit) <= 61_000
        store.transitions.sweep(QUEUE, Sweep.REMOVE, State.WAITING)
        self.add(store, new("later"))
        (refused,) = store.transitions.claim(QUEUE, ["later"], "w", LEASE_MS, Bounds(limit)).refused
        assert refused.retry_ms < 70_000

    def test_a_queue_that_is_held_starts_nothing(self, store: Store) -> None:
        ids = self.fill(store, 3)
        store.transitions.hold(QUEUE, 60_000)
        assert 50_000 < store.queries.limit_ttl(QUEUE) <= 60_000
        claimed = store.transitions.claim(QUEUE, ids[:2], "w", LEASE_MS)
        assert [(one.why, one.retry_ms > 50_000) for one in claimed.refused] == [(Refusal.LIMITED, True)] * 2
        assert self.counts(store) == {"waiting": 3}
        store.transitions.hold(QUEUE, 0)
        assert len(self.claim(store, *ids)) == 3

    # -- active jobs --------------------------------------------------------------------------------

    def test_no_more_jobs_are_claimed_than_may_be_active(self, store: Store) -> None:
        ids = self.fill(store, 5)
        two = Bounds(global_concurrency=2)
        first = store.transitions.claim(QUEUE, ids[:3], "w", LEASE_MS, two)
        assert [one.why for one in first.refused] == [Refusal.CROWDED]
        assert store.transitions.claim(QUEUE, ids[3:], "x", LEASE_MS, two).claims == []
        assert self.counts(store) == {"active": 2, "waiting": 3}
        (one, two_) = first.claims
        change = store.transitions.complete([Completion(one.record.id, one.token, "1")])
        assert self.ids(change.ready) == [""]
        assert len(store.transitions.claim(QUEUE, [ids[2]], "w", LEASE_MS, two).claims) == 1
        assert store.transitions.claim(QUEUE, [ids[4]], "w", LEASE_MS, two).claims == []
        assert self.ids(store.transitions.fail([Failure(two_.record.id, two_.token, "no")]).ready) == [""]
