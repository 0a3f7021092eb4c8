"""Limits of starts and of active jobs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from stratix_kombu.model.record import ANY_CLAIM, Completion, Failure, Held, Limit
from stratix_kombu.model.state import Refusal, State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, gather, new, until


class LimitSuite(StoreCase):
    def fill(self, store: Store, count: int, queue: str = QUEUE) -> list[str]:
        ids = [f"{queue}{number:03}" for number in range(count)]
        self.add(store, *(new(one, queue) for one in ids))
        return ids

    # -- token buckets ------------------------------------------------------------------------------

    def test_a_bucket_gives_what_it_holds_and_then_as_it_is_refilled(self, store: Store) -> None:
        ids = self.fill(store, 8)
        bucket = Limit("b", 3, refill_per_s=0.5)
        claimed = store.transitions.claim(QUEUE, ids, "w", LEASE_MS, bucket)
        assert [one.record.id for one in claimed.claims] == ids[:3]
        waits = [one.retry_ms for one in claimed.refused]
        assert {one.why for one in claimed.refused} == {Refusal.LIMITED}
        assert all(abs(wait - 2000 * (number + 1)) < 1000 for number, wait in enumerate(waits))
        assert self.counts(store) == {"active": 3, "delayed": 5}

    def test_a_new_bucket_holds_its_initial_tokens(self, store: Store) -> None:
        ids = self.fill(store, 5)
        bucket = Limit("b", 100, refill_per_s=0.001, initial=2)
        assert len(store.transitions.claim(QUEUE, ids, "w", LEASE_MS, bucket).claims) == 2
        empty = Limit("empty", 100, refill_per_s=0.001, initial=0)
        more = self.fill(store, 2, "other")
        assert store.transitions.claim("other", more, "w", LEASE_MS, empty).claims == []

    def test_who_was_deferred_by_a_bucket_starts_at_its_slot(self, store: Store) -> None:
        ids = self.fill(store, 6)
        bucket = Limit("b", 2, refill_per_s=50)
        started = [one.record.id for one in store.transitions.claim(QUEUE, ids, "w", LEASE_MS, bucket).claims]

        def claim_due() -> bool:
            due = self.ids(store.transitions.promote()[0].ready)
            if due:
                claims = store.transitions.claim(QUEUE, due, "w", LEASE_MS, bucket).claims
                started.extend(one.record.id for one in claims)
            return len(started) == 6

        until(claim_due)
        starts = sorted(self.record(store, one).processed_ms for one in ids)
        assert starts[5] - starts[0] >= 4 * 20 - 2

    # -- early, late, and not at all ----------------------------------------------------------------

    def test_a_job_comes_back_before_its_slot_and_does_not_start_before_it(self, store: Store) -> None:
        a, b = self.fill(store, 2)
        limit = Limit("early", 1, 400)
        (first,) = store.transitions.claim(QUEUE, [a, b], "w", LEASE_MS, limit).claims
        assert self.record(store, b).due_ms < first.record.processed_ms + 400
        until(lambda: store.transitions.promote()[0].ready)
        (second,) = store.transitions.claim(QUEUE, [b], "w", LEASE_MS, limit).claims
        assert second.record.processed_ms - first.record.processed_ms >= 400
        assert self.record(store, b).processed_ms == second.record.processed_ms

    def test_a_claim_that_comes_a_little_early_is_granted_for_an_instant_ahead(self, store: Store) -> None:
        ids = self.fill(store, 60)
        bucket = Limit("slow", 1000, refill_per_s=100, initial=0)
        claimed = store.transitions.claim(QUEUE, ids, "w", LEASE_MS, bucket)
        waits = [one.wait_ms for one in claimed.claims]
        starts = [one.record.processed_ms for one in claimed.claims]
        assert all(later - first >= 10 for first, later in pairwise(starts))
        assert 0 < waits[0] <= 20
        assert 200 < waits[-1] <= 250
        now = store.queries.now()
        assert all(one.record.processed_ms - one.wait_ms <= now for one in claimed.claims)
        assert self.counts(store) == {"active": len(waits), "delayed": 60 - len(waits)}

    def test_those_who_are_late_do_not_all_come_back_together(self, store: Store) -> None:
        """Their slots have passed while the queue was paused."""
        ids = self.fill(store, 20)
        limit = Limit("late", 5, 100)
        store.transitions.claim(QUEUE, ids, "w", LEASE_MS, limit)
        store.transitions.pause(QUEUE)
        woken = gather(lambda: self.ids(store.transitions.promote()[0].ready), 15)
        store.transitions.claim(QUEUE, woken, "w", LEASE_MS, limit)
        store.transitions.resume(QUEUE)
        claimed = store.transitions.claim(QUEUE, woken, "w", LEASE_MS, limit)
        waits = [one.retry_ms for one in claimed.refused]
        assert len(waits) == 10
        assert all(later - first >= 100 for first, later in zip(waits, waits[5:], strict=False))

    def test_slots_of_jobs_that_were_removed_are_not_waited_for(self, store: Store) -> None:
        limit = Limit(f"queue:{QUEUE}", 2, 60_000)
        store.transitions.claim(QUEUE, self.fill(store, 20), "w", LEASE_MS, limit)
        assert store.queries.limit_ttl(QUEUE, limit) > 500_000
        store.transitions.sweep(QUEUE, Sweep.REMOVE, State.DELAYED)
        assert store.queries.limit_ttl(QUEUE, limit) < 70_000
        self.add(store, new("later"))
        (refused,) = store.transitions.claim(QUEUE, ["later"], "w", LEASE_MS, limit).refused
        assert refused.retry_ms < 70_000

    # -- without deferring --------------------------------------------------------------------------

    def test_a_limit_that_does_not_bounce_leaves_the_job_where_it_is(self, store: Store) -> None:
        ids = self.fill(store, 4)
        limit = Limit("w", 2, 60_000, bounce_back=False)
        claimed = store.transitions.claim(QUEUE, ids, "w", LEASE_MS, limit)
        assert len(claimed.claims) == 2
        assert [(one.job_id, one.why) for one in claimed.refused] == [(one, Refusal.LIMITED) for one in ids[2:]]
        assert all(50_000 < one.retry_ms <= 61_000 and one.stays for one in claimed.refused)
        assert self.counts(store) == {"active": 2, "waiting": 2}

    # -- at run time --------------------------------------------------------------------------------

    def test_a_limit_that_was_set_takes_the_place_of_the_workers_own(self, store: Store) -> None:
        ids = self.fill(store, 4)
        store.transitions.set_limit(QUEUE, Limit("set", 1, 60_000))
        assert len(store.transitions.claim(QUEUE, ids[:2], "w", LEASE_MS, Limit("own", 9, 60_000)).claims) == 1
        assert 50_000 < store.queries.limit_ttl(QUEUE) <= 130_000
        store.transitions.set_limit(QUEUE, None)
        assert len(store.transitions.claim(QUEUE, ids[2:], "w", LEASE_MS, Limit("own", 9, 60_000)).claims) == 2
        assert store.queries.limit_ttl(QUEUE) == 0
        assert store.queries.limit_ttl(QUEUE, Limit("own", 2, 60_000)) > 0

    def test_a_queue_that_is_held_starts_nothing(self, store: Store) -> None:
        ids = self.fill(store, 3)
        store.transitions.hold(QUEUE, 60_000)
        assert 50_000 < store.queries.limit_ttl(QUEUE) <= 60_000
        claimed = store.transitions.claim(QUEUE, ids[:2], "w", LEASE_MS)
        assert [one.why for one in claimed.refused] == [Refusal.LIMITED] * 2
        spread = store.transitions.claim(QUEUE, ids[2:], "w", LEASE_MS, Limit("l", 1, 60_000))
        assert spread.refused[0].retry_ms > 50_000
        assert self.counts(store) == {"delayed": 3}
        store.transitions.hold(QUEUE, 0)
        for one in ids:
            store.transitions.promote_job(one)
        assert len(self.claim(store, *ids)) == 3

    # -- active jobs --------------------------------------------------------------------------------

    def test_no_more_jobs_are_active_than_may_be(self, store: Store) -> None:
        ids = self.fill(store, 5)
        first = store.transitions.claim(QUEUE, ids[:3], "w", LEASE_MS, global_concurrency=2)
        assert [one.why for one in first.refused] == [Refusal.CROWDED]
        assert store.transitions.claim(QUEUE, ids[3:], "x", LEASE_MS, global_concurrency=2).claims == []
        assert self.counts(store) == {"active": 2, "waiting": 3}
        (one, two) = first.claims
        change = store.transitions.complete([Completion(one.record.id, one.token, "1")])
        assert self.ids(change.ready) == [ids[2]]
        assert len(store.transitions.claim(QUEUE, [ids[2]], "w", LEASE_MS, global_concurrency=2).claims) == 1
        assert store.transitions.claim(QUEUE, [ids[4]], "w", LEASE_MS, global_concurrency=2).claims == []
        assert self.ids(store.transitions.fail([Failure(two.record.id, two.token, "no")]).ready) == [ids[3]]

    @pytest.mark.parametrize("way", ["hand_back", "recover", "retry"])
    def test_every_way_out_lets_the_next_one_in(self, store: Store, way: str) -> None:
        a, b = self.fill(store, 2)
        lease_ms = 0 if way == "recover" else LEASE_MS
        (claim,) = store.transitions.claim(QUEUE, [a], "w", lease_ms, global_concurrency=1).claims
        assert store.transitions.claim(QUEUE, [b], "w", LEASE_MS, global_concurrency=1).claims == []
        if way == "hand_back":
            change = store.transitions.hand_back([Held(a, claim.token)])
        elif way == "recover":
            change = store.transitions.recover(5)
        else:
            change = store.transitions.fail([Failure(a, claim.token, "no", retry_ms=60_000)])
        assert b in self.ids(change.ready)

    def test_who_waits_for_others_may_end_meanwhile(self, store: Store) -> None:
        a, b, c = self.fill(store, 3)
        (claim,) = store.transitions.claim(QUEUE, [a, b, c], "w", LEASE_MS, global_concurrency=1).claims
        store.transitions.fail([Failure(b, ANY_CLAIM, "revoked")])
        assert self.ids(store.transitions.complete([Completion(a, claim.token, "1")]).ready) == [c]

    def test_another_bound_lets_all_try_again(self, store: Store) -> None:
        ids = self.fill(store, 4)
        store.transitions.set_global_concurrency(QUEUE, 1)
        assert len(self.claim(store, *ids)) == 1
        assert self.ids(store.transitions.set_global_concurrency(QUEUE, 3).ready) == ids[1:]
        assert len(self.claim(store, *ids[1:])) == 2
        assert self.ids(store.transitions.set_global_concurrency(QUEUE, None).ready) == ids[3:]
        assert len(self.claim(store, ids[3])) == 1
