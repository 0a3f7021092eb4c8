"""Fair groups: they take turns, and have a bound of their own."""

from __future__ import annotations

import pytest

from stratix_kombu.model.claims import NO_BOUNDS, Bounds
from stratix_kombu.model.record import Completion, Failure, Held
from stratix_kombu.model.state import Refusal, State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, native, new, until


class GroupSuite(StoreCase):
    def test_groups_take_turns(self, store: Store) -> None:
        self.add(store, *(new(f"a{n:02}", group="a") for n in range(20)))
        assert self.taken(store, 3) == ["a00", "a01", "a02"]
        self.add(store, *(new(f"b{n:02}", group="b") for n in range(3)), new("c0", group="c"))
        turns = [one[0] for one in self.taken(store, 11)]
        assert sorted(turns[:3]) == ["a", "b", "c"]
        assert (sorted(turns[3:5]), sorted(turns[5:7]), turns[7:]) == (["a", "b"], ["a", "b"], ["a"] * 4)

    def test_jobs_without_a_group_are_one_group(self, store: Store) -> None:
        self.add(store, *(new(f"n{n:02}") for n in range(10)))
        assert len(self.taken(store, 4)) == 4
        self.add(store, *(new(f"a{n:02}", group="a") for n in range(3)))
        turns = "".join(one[0] for one in self.taken(store, 9))
        assert [sorted(turns[start : start + 2]) for start in (0, 2, 4)] == [["a", "n"]] * 3
        assert turns[6:] == "nnn"

    def test_a_group_that_comes_late_does_not_make_up_for_it(self, store: Store) -> None:
        self.add(store, *(new(f"a{n:02}", group="a") for n in range(50)))
        assert len(self.taken(store, 40)) == 40
        self.add(store, *(new(f"n{n}") for n in range(5)))
        turns = "".join(one[0] for one in self.taken(store, 10))
        assert [sorted(turns[start : start + 2]) for start in range(0, 10, 2)] == [["a", "n"]] * 5

    def test_priority_comes_before_turns(self, store: Store) -> None:
        self.add(store, *(new(f"a{n}", group="a") for n in range(3)), new("b", group="b", priority=1))
        assert self.taken(store, 4) == ["a0", "a1", "a2", "b"]

    def test_no_more_of_a_group_are_active_than_may_be(self, store: Store) -> None:
        self.add(store, *(new(f"a{n}", group="a") for n in range(4)), new("n"), new("b", group="b"))
        two = Bounds(group_concurrency=2)
        taken = self.take(store, 9, two)
        assert sorted(claim.record.id for claim in taken.claims) == ["a0", "a1", "b", "n"]
        assert (taken.why, taken.until_ms, taken.left) == (Refusal.EMPTY, 0, False)
        assert self.counts(store) == {"active": 4, "waiting": 2}
        tokens = {claim.record.id: claim.token for claim in taken.claims}
        store.transitions.complete([Completion("n", tokens["n"], "1")])
        assert self.taken(store, 9, two) == []
        store.transitions.complete([Completion("a1", tokens["a1"], "1")])
        assert self.taken(store, 9, two) == ["a2"]
        store.transitions.hand_back([Held("a0", tokens["a0"])])
        assert self.taken(store, 9, two) == ["a0"], "it has its place again"

    @pytest.mark.parametrize("bounds", [NO_BOUNDS, Bounds(group_concurrency=3)])
    def test_another_bound_of_groups_acts_at_once(self, store: Store, bounds: Bounds) -> None:
        self.add(store, *(new(f"a{n}", group="a") for n in range(3)))
        assert self.taken(store, 9, Bounds(group_concurrency=1)) == ["a0"]
        assert self.taken(store, 9, bounds) == ["a1", "a2"]

    @pytest.mark.parametrize("way", ["fail", "recover", "remove"])
    def test_every_end_makes_room_in_its_group(self, store: Store, way: str) -> None:
        self.add(store, *(new(f"a{n}", group="a") for n in range(2)))
        one = Bounds(group_concurrency=1)
        (claim,) = self.take(store, 9, one, lease_ms=1 if way == "recover" else LEASE_MS).claims
        if way == "fail":
            store.transitions.fail([Failure("a0", claim.token, "no")])
        elif way == "remove":
            store.transitions.sweep(QUEUE, Sweep.REMOVE, State.ACTIVE)
        else:
            until(lambda: store.transitions.recover(0).affected)
        assert self.taken(store, 9, one) == ["a1"]

    def test_a_claim_by_id_knows_the_bound_of_groups(self, store: Store) -> None:
        self.add(store, *(new(f"a{n}", group="a") for n in range(2)), native("n", group="a"))
        one = Bounds(group_concurrency=1)
        claimed = store.transitions.claim(QUEUE, ["a1", "a0", "n"], "w", LEASE_MS, one)
        assert [each.record.id for each in claimed.claims] == ["a1", "n"]
        assert [(each.job_id, each.why) for each in claimed.refused] == [("a0", Refusal.CROWDED)]
