"""Messages are permits: how many are owed, and what sends them."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import ANY_CLAIM, Change, Completion, Failure, Held, Limit
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, gather, native, new, until

LONG = 60_000
NEVER = Limit("never", 1, 3_600_000)


class PermitSuite(StoreCase):
    def backlog(self, store: Store, count: int, **fields: Any) -> list[str]:
        ids = [f"{number:03}" for number in range(count)]
        assert self.add(store, *(new(one, **fields) for one in ids)) == ids
        return ids

    @staticmethod
    def permits(change: Change) -> int:
        """How many messages are to be sent, all of them permits that name no job."""
        assert {(one.id, one.queue, one.message) for one in change.ready} <= {("", QUEUE, "")}
        return len(change.ready)

    def promoted(self, store: Store) -> int:
        return self.permits(store.transitions.promote()[0])

    # -- each job one -------------------------------------------------------------------------------

    def test_each_job_that_becomes_waiting_has_one(self, store: Store) -> None:
        added = store.transitions.add([new("a", priority=4, group="g", name="n"), new("later", delay_ms=LONG)])
        (ready,) = added.ready
        assert (ready.id, ready.queue, ready.name, ready.priority, ready.group) == ("a", QUEUE, "n", 4, "g")
        assert self.ids(store.transitions.promote_job("later").ready) == ["later"]
        (claim,) = self.take(store).claims
        assert self.ids(store.transitions.hand_back([Held("later", claim.token)]).ready) == ["later"]

    def test_what_is_too_much_is_forgotten(self, store: Store) -> None:
        self.backlog(store, 2)
        assert self.take(store, 9, permits=9).why is Refusal.EMPTY
        assert self.take(store, 9, permits=9).why is Refusal.EMPTY
        store.transitions.pause(QUEUE)
        assert self.permits(store.transitions.resume(QUEUE)) == 0

    # -- a pause ------------------------------------------------------------------------------------

    def test_resume_sends_what_was_dropped(self, store: Store) -> None:
        self.backlog(store, 5)
        store.transitions.pause(QUEUE)
        for permits in (1, 2):
            assert self.take(store, permits, permits=permits).why is Refusal.PAUSED
        assert self.promoted(store) == 0
        assert self.permits(store.transitions.resume(QUEUE)) == 3
        assert self.permits(store.transitions.resume(QUEUE)) == 0
        assert len(self.taken(store, 5, permits=5)) == 5

    def test_no_more_are_owed_than_wait(self, store: Store) -> None:
        ids = self.backlog(store, 3)
        store.transitions.pause(QUEUE)
        self.take(store, 9, permits=9)
        store.transitions.remove(ids[0])
        assert self.permits(store.transitions.resume(QUEUE)) == 2

    def test_who_takes_more_than_it_drops_lowers_what_is_owed(self, store: Store) -> None:
        self.backlog(store, 5)
        store.transitions.pause(QUEUE)
        self.take(store, 5, permits=5)
        store.transitions.set_global_concurrency(QUEUE, 2)
        assert self.permits(store.transitions.resume(QUEUE)) == 2
        assert len(self.taken(store, 9)) == 2, "without a permit"
        store.transitions.pause(QUEUE)
        store.transitions.set_global_concurrency(QUEUE, 0)
        assert self.permits(store.transitions.resume(QUEUE)) == 1, "two are in the broker's queue still"

    def test_a_claim_by_id_that_is_refused_owes_one(self, store: Store) -> None:
        ids = self.backlog(store, 3)
        store.transitions.pause(QUEUE)
        assert self.claim(store, *ids[:2]) == []
        assert self.permits(store.transitions.resume(QUEUE)) == 2

    # -- limits and holds ---------------------------------------------------------------------------

    def test_what_may_start_is_sent_when_the_limit_opens(self, store: Store) -> None:
        """And no more, though more is owed."""
        self.backlog(store, 20)
        limit = Bounds(Limit("l", 3, 100))
        assert len(self.take(store, 20, limit, permits=20).claims) == 3
        sent: list[int] = []

        def next_ones() -> int:
            change, next_ms = store.transitions.promote()
            assert next_ms is None or next_ms <= 110
            if change.ready:
                sent.append(self.permits(change))
                claims = self.take(store, len(change.ready), limit, permits=len(change.ready)).claims
                assert len(claims) <= 3
            return store.queries.status(QUEUE).counts["active"] == 20

        until(next_ones)
        assert max(sent) <= 3

    def test_they_are_not_sent_again_while_nobody_takes(self, store: Store) -> None:
        self.backlog(store, 20)
        limit = Bounds(Limit("l", 3, 300))
        self.take(store, 20, limit, permits=20)
        assert until(lambda: self.promoted(store)) <= 3
        assert self.promoted(store) == 0

    def test_a_limit_that_is_set_sends_what_may_start(self, store: Store) -> None:
        self.backlog(store, 9)
        assert len(self.take(store, 9, Bounds(NEVER), permits=9).claims) == 1
        assert self.permits(store.transitions.set_limit(QUEUE, Limit("other", 5, LONG))) == 5
        assert self.permits(store.transitions.set_limit(QUEUE, None)) == 0, "the program's limit holds again"
        assert self.permits(store.transitions.set_limit(QUEUE, Limit("third", 99, LONG))) == 3

    def test_a_hold_that_ends_or_is_lifted_sends_what_may_start(self, store: Store) -> None:
        self.backlog(store, 4)
        store.transitions.hold(QUEUE, 60)
        self.take(store, 2, permits=2)
        assert until(lambda: self.promoted(store)) == 2
        store.transitions.hold(QUEUE, LONG)
        self.take(store, 3, permits=3)
        assert self.promoted(store) == 0
        assert self.permits(store.transitions.hold(QUEUE, 10)) == 0
        assert self.permits(store.transitions.hold(QUEUE, 0)) == 3

    def test_jobs_of_a_closed_key_have_their_permits_when_it_opens(self, store: Store) -> None:
        self.backlog(store, 6, limit=Limit("key", 2, 120))
        self.add(store, new("x"))
        taken = self.take(store, 7, permits=7)
        assert ([one.record.id for one in taken.claims], taken.why) == (["000", "001", "x"], Refusal.EMPTY)
        assert until(lambda: self.promoted(store)) == 2
        assert self.taken(store, 2, permits=2) == ["002", "003"]

    # -- bounds -------------------------------------------------------------------------------------

    def test_no_more_are_sent_than_a_bound_leaves_room_for(self, store: Store) -> None:
        self.backlog(store, 9)
        store.transitions.set_global_concurrency(QUEUE, 2)
        assert len(self.take(store, 9, permits=9).claims) == 2
        assert self.promoted(store) == 0
        assert self.permits(store.transitions.set_global_concurrency(QUEUE, 5)) == 3
        assert self.permits(store.transitions.set_global_concurrency(QUEUE, None)) == 4

    @pytest.mark.parametrize("way", ["complete", "fail", "retry", "hand_back", "recover"])
    def test_every_end_lets_the_next_one_in(self, store: Store, way: str) -> None:
        a, *_ = self.backlog(store, 4)
        lease_ms = 1 if way == "recover" else LEASE_MS
        taken = self.take(store, 4, Bounds(global_concurrency=1), permits=4, lease_ms=lease_ms)
        assert taken.why is Refusal.CROWDED
        token = taken.claims[0].token
        if way == "complete":
            change = store.transitions.complete([Completion(a, token, "1")])
        elif way == "hand_back":
            change = store.transitions.hand_back([Held(a, token)])
        elif way == "recover":
            change = until(lambda: (found := store.transitions.recover(5)).affected and found)
        else:
            change = store.transitions.fail([Failure(a, token, "no", retry_ms=LONG if way == "retry" else None)])
        assert [one.id for one in change.ready] == [*[a] * (way in ("hand_back", "recover")), ""]

    def test_ends_of_a_queue_without_a_bound_send_nothing(self, store: Store) -> None:
        self.backlog(store, 3)
        (claim,) = self.take(store, permits=1).claims
        assert store.transitions.complete([Completion("000", claim.token, "1")]).ready == ()

    def test_a_job_of_a_full_group_has_its_permit_when_one_ends(self, store: Store) -> None:
        self.add(store, *(new(f"a{n}", group="a") for n in range(3)), new("b"))
        taken = self.take(store, 4, Bounds(group_concurrency=1), permits=4)
        assert sorted(one.record.id for one in taken.claims) == ["a0", "b"]
        tokens = {one.record.id: one.token for one in taken.claims}
        assert self.permits(store.transitions.complete([Completion("a0", tokens["a0"], "1")])) == 1

    # -- native jobs --------------------------------------------------------------------------------

    def test_a_native_job_that_was_refused_keeps_its_place_and_is_sent_again(self, store: Store) -> None:
        self.add(store, native("a"), native("b"), native("c"))
        store.transitions.pause(QUEUE)
        self.claim(store, "b", "a")
        assert self.counts(store) == {"paused": 3}
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == ["a", "b", "c"]
        assert self.ids(store.transitions.resume(QUEUE).ready) == ["b", "a"]
        assert store.transitions.resume(QUEUE).ready == ()

    def test_native_jobs_come_back_as_the_limit_lets_them(self, store: Store) -> None:
        ids = [f"{n}" for n in range(8)]
        self.add(store, *(native(one) for one in ids))
        limit = Bounds(Limit("l", 2, 100))
        claimed = store.transitions.claim(QUEUE, ids, "w", LEASE_MS, limit)
        assert [one.record.id for one in claimed.claims] == ["0", "1"]
        assert {one.why for one in claimed.refused} == {Refusal.LIMITED}
        assert self.counts(store) == {"active": 2, "waiting": 6}
        back: list[str] = []

        def all_came() -> bool:
            ready = self.ids(store.transitions.promote()[0].ready)
            assert len(ready) <= 2
            back.extend(ready)
            store.transitions.claim(QUEUE, ready, "w", LEASE_MS, limit)
            return store.queries.status(QUEUE).counts["active"] == 8

        until(all_came)
        assert back[:6] == ids[2:]

    def test_native_jobs_of_a_closed_key_hold_up_no_other(self, store: Store) -> None:
        self.add(store, *(native(f"k{n}", limit=Limit("key", 1, 100)) for n in range(3)), native("x"))
        store.transitions.pause(QUEUE)
        self.claim(store, "k0", "k1", "k2", "x")
        store.transitions.resume(QUEUE)
        assert [one.record.id for one in self.claim(store, "k0", "k1", "k2", "x")] == ["k0", "x"]
        assert self.ids(until(lambda: store.transitions.promote()[0].ready)) == ["k1"]
        store.transitions.fail([Failure("k2", ANY_CLAIM, "revoked")])
        assert store.transitions.promote()[0].ready == ()

    def test_keys_that_open_together_are_sent_page_by_page(self, store: Store) -> None:
        keys = [Limit(f"key{n}", 1, 100) for n in range(3)]
        self.add(store, *(native(f"{part}{n}", limit=key) for part in "ab" for n, key in enumerate(keys)))
        assert len(self.claim(store, *(f"{part}{n}" for part in "ab" for n in range(3)))) == 3
        found = gather(lambda: self.ids(store.transitions.promote(1)[0].ready), 3)
        assert sorted(found) == ["b0", "b1", "b2"]

    def test_the_end_of_an_active_one_lets_a_native_one_in(self, store: Store) -> None:
        self.add(store, *(native(one) for one in "abc"))
        one = Bounds(global_concurrency=1)
        (claim,) = store.transitions.claim(QUEUE, ["a", "c", "b"], "w", LEASE_MS, one).claims
        store.transitions.fail([Failure("c", ANY_CLAIM, "revoked")])
        assert self.ids(store.transitions.complete([Completion("a", claim.token, "1")]).ready) == ["b"]

    # -- lost messages ------------------------------------------------------------------------------

    def test_permits_that_are_missing_are_sent(self, store: Store) -> None:
        self.backlog(store, 30)
        assert store.transitions.redeliver(QUEUE, LONG, 0).ready == ()
        assert store.transitions.redeliver(QUEUE, 0, 30).ready == ()
        assert self.permits(store.transitions.redeliver(QUEUE, 0, 12)) == 18
        pages = []
        more = True
        while more:
            change = store.transitions.redeliver(QUEUE, 0, 0, 8)
            pages.append(self.permits(change))
            more = change.more and len(pages) < 3
        assert pages == [8, 8, 8]

    def test_they_are_missing_for_a_while_before_they_are_sent(self, store: Store) -> None:
        self.backlog(store, 3)
        assert store.transitions.redeliver(QUEUE, 80, 2).ready == ()
        assert store.transitions.redeliver(QUEUE, 80, 3).ready == ()
        assert store.transitions.redeliver(QUEUE, 80, 2).ready == ()
        assert self.permits(until(lambda: (change := store.transitions.redeliver(QUEUE, 80, 2)).ready and change)) == 1
        assert store.transitions.redeliver(QUEUE, 10_000, 2).ready == ()

    def test_where_the_depth_is_not_known_one_is_sent(self, store: Store) -> None:
        self.backlog(store, 30)
        change = store.transitions.redeliver(QUEUE, 0, None)
        assert (self.permits(change), change.more) == (1, False)

    def test_what_is_owed_is_not_missing(self, store: Store) -> None:
        self.backlog(store, 5)
        self.take(store, 5, Bounds(NEVER), permits=5)
        assert store.transitions.redeliver(QUEUE, 0, 0).ready == ()
        store.transitions.pause(QUEUE)
        assert store.transitions.redeliver(QUEUE, 0, 0).ready == ()
