"""Limits that become others while something is counted under their key."""

from __future__ import annotations

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Limit
from stratix_kombu.model.state import Refusal
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, gather, native, new, until

SLOW = Limit("b", 5, refill_per_s=0.01)


class ChangedLimitSuite(StoreCase):
    def use(self, store: Store, limit: Limit, starts: int) -> None:
        """So many start under a limit, and enough others wait."""
        self.add(store, *(new(f"{number:03}") for number in range(starts + 200)))
        assert len(self.taken(store, starts, Bounds(limit))) == starts

    def test_a_bucket_that_is_refilled_faster_is_refilled_so_from_now_on(self, store: Store) -> None:
        self.use(store, SLOW, 5)
        assert 90_000 < store.queries.limit_ttl(QUEUE, SLOW) < 110_000
        fast = Limit("b", 5, refill_per_s=4)
        assert 0 < store.queries.limit_ttl(QUEUE, fast) <= 260
        assert gather(lambda: self.taken(store, 1, Bounds(fast)), 2) == ["005", "006"]

    def test_tokens_that_are_left_are_still_there_whatever_the_rate(self, store: Store) -> None:
        self.use(store, SLOW, 2)
        for rate in (0.02, 0.005):
            assert len(self.taken(store, 1, Bounds(Limit("b", 5, refill_per_s=rate)))) == 1
        assert len(self.taken(store, 5, Bounds(SLOW))) == 1

    def test_a_larger_bucket_holds_as_many_more(self, store: Store) -> None:
        self.use(store, SLOW, 5)
        larger = Bounds(Limit("b", 100, refill_per_s=0.01))
        assert len(self.taken(store, 100, larger)) == 95

    def test_a_smaller_one_lacks_no_more_than_it_holds(self, store: Store) -> None:
        self.use(store, Limit("b", 100, refill_per_s=0.01), 60)
        smaller = Limit("b", 5, refill_per_s=4)
        assert 0 < store.queries.limit_ttl(QUEUE, smaller) <= 260 + 125
        assert gather(lambda: self.taken(store, 1, Bounds(smaller)), 2) == ["060", "061"]

    def test_a_bucket_that_is_refilled_more_slowly_gives_nothing_back(self, store: Store) -> None:
        self.use(store, Limit("b", 100, refill_per_s=1), 100)
        assert self.taken(store, 1, Bounds(SLOW)) == []
        assert 90_000 < store.queries.limit_ttl(QUEUE, SLOW) < 110_000

    def test_a_window_in_place_of_a_bucket_is_a_new_one(self, store: Store) -> None:
        self.use(store, SLOW, 5)
        assert len(self.taken(store, 5, Bounds(Limit("b", 3, 60_000)))) == 3
        assert self.taken(store, 5, Bounds(SLOW)) == []

    def test_jobs_that_share_a_key_take_from_one_bucket_each_by_its_own_limit(self, store: Store) -> None:
        slow, fast = Limit("k", 2, refill_per_s=0.01), Limit("k", 50, refill_per_s=50)
        self.add(
            store, *(new(f"s{n}", limit=slow) for n in range(3)), *(new(f"f{n}", "other", limit=fast) for n in "ab")
        )
        assert self.taken(store, 3) == ["s0", "s1"]
        assert self.taken(store, 2, queue="other") == ["fa", "fb"]

    def test_what_waits_is_looked_at_at_once(self, store: Store) -> None:
        """Permits, and the messages of native jobs."""
        store.transitions.set_limit(QUEUE, Limit("b", 1, refill_per_s=0.001))
        self.add(store, new("a"), new("b"), native("n"))
        assert len(store.transitions.claim(QUEUE, ["a"], "w", LEASE_MS).claims) == 1
        refused = store.transitions.claim(QUEUE, ["b", "n"], "w", LEASE_MS).refused
        assert [one.why for one in refused] == [Refusal.LIMITED] * 2
        fast = Limit("b", 1, refill_per_s=4, initial=0)
        assert self.ids(store.transitions.set_limit(QUEUE, fast).ready) == []
        assert until(lambda: store.transitions.promote()[0].ready)
        assert len(gather(lambda: self.taken(store, 1), 1)) == 1

    def test_a_new_bucket_that_only_the_clock_looks_at_is_refilled(self, store: Store) -> None:
        store.transitions.set_limit(QUEUE, Limit("w", 1, 60_000))
        self.add(store, native("a"), native("b"))
        assert len(store.transitions.claim(QUEUE, ["a", "b"], "w", LEASE_MS).claims) == 1
        assert self.ids(store.transitions.set_limit(QUEUE, Limit("b", 1, refill_per_s=4, initial=0)).ready) == []
        assert self.ids(until(lambda: store.transitions.promote()[0].ready)) == ["b"]
