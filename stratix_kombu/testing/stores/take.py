"""Which job is next: order, places, and what is set aside."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.letter import Fallback
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Completion, Deduplication, Failure, Held, JobRecord, Limit
from stratix_kombu.model.state import Refusal, State, Sweep
from stratix_kombu.stores.contract import PAGE, Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, gather, native, new, until

LONG = 60_000
DELAY_MS = 5_000
"""A busy machine may ask late."""


class TakeSuite(StoreCase):
    def add_all(self, store: Store, ids: str, **fields: Any) -> None:
        """Jobs with ids of one character."""
        self.add(store, *(new(job_id, **fields) for job_id in ids))

    def in_order(self, store: Store, want: int = 100, **how: Any) -> str:
        """All that can be taken now, one by one."""
        found = ""
        while len(found) < want and (ids := self.taken(store, 1, **how)):
            found += ids[0]
        return found

    # -- what is answered -----------------------------------------------------------------------

    def test_the_first_are_taken_and_the_rest_is_left(self, store: Store) -> None:
        self.add(store, *(new(f"{n}", data=f"{n}", options='{"a":1}', max_attempts=3) for n in range(5)))
        taken = self.take(store, 3, request="r")
        assert [claim.record.id for claim in taken.claims] == ["0", "1", "2"]
        assert [claim.token for claim in taken.claims] == ["r:0", "r:1", "r:2"]
        assert (taken.why, taken.until_ms, taken.left) == (None, 0, True)
        record = taken.claims[1].record
        assert (record.state, record.data, record.options, record.worker) == (State.ACTIVE, "1", '{"a":1}', "w")
        assert (record.attempts_started, record.attempts_made, record.max_attempts) == (1, 0, 3)
        assert record == self.record(store, "1")
        taken = self.take(store, 3)
        assert ([claim.record.id for claim in taken.claims], taken.why) == (["3", "4"], Refusal.EMPTY)
        assert not taken.left
        assert self.counts(store) == {"active": 5}
        assert [name for name, _ in self.emitted(store)] == ["waiting"] * 5 + ["active"] * 5

    def test_as_many_as_were_wanted_and_none_is_left(self, store: Store) -> None:
        self.add_all(store, "ab")
        taken = self.take(store, 2)
        assert (len(taken.claims), taken.why, taken.left) == (2, None, False)
        taken = self.take(store, 2)
        assert (taken.claims, taken.why, taken.until_ms, taken.left) == ([], Refusal.EMPTY, 0, False)

    def test_queues_are_apart_and_unknown_ones_are_empty(self, store: Store) -> None:
        self.add(store, new("a", "other"), new("b"))
        assert self.take(store, 9, queue="nobody").why is Refusal.EMPTY
        assert store.queries.queues() == [QUEUE, "other"]
        assert self.taken(store, 9) == ["b"]
        assert self.taken(store, 9, queue="other") == ["a"]

    def test_only_what_waits_is_taken(self, store: Store) -> None:
        self.add(store, new("later", delay_ms=LONG), new("a"), new("b", dependencies=("a",)), native("n"))
        assert self.taken(store, 9) == ["a"]
        assert self.states(store, "later", "b", "n") == ["delayed", "blocked", "waiting"]
        assert len(self.claim(store, "n")) == 1

    def test_what_a_program_says_of_its_jobs_holds_for_those_it_takes(self, store: Store) -> None:
        self.add_all(store, "a")
        (claim,) = self.take(store, 1, Bounds(fallback=Fallback("dead"))).claims
        store.transitions.fail([Failure("a", claim.token, "no")])
        assert self.counts(store, "dead") == {"waiting": 1}

    def test_a_job_that_was_claimed_is_not_taken(self, store: Store) -> None:
        self.add_all(store, "abc")
        self.claim(store, "b")
        assert self.taken(store, 9) == ["a", "c"]

    # -- asked again ------------------------------------------------------------------------------

    def test_asked_again_it_answers_the_same_claims(self, store: Store) -> None:
        self.add_all(store, "abcd")
        request = new_request()
        first = self.take(store, 2, request=request, lease_ms=1)
        emitted = self.emitted(store)
        store.transitions.pause(QUEUE)
        again = self.take(store, 2, request=request)
        assert [claim.token for claim in again.claims] == [claim.token for claim in first.claims]
        assert [claim.record.id for claim in again.claims] == ["a", "b"]
        assert (again.why, again.left) == (first.why, first.left)
        assert [claim.record.attempts_started for claim in again.claims] == [1, 1]
        assert self.emitted(store) == [*emitted, ("paused", "")]
        assert store.transitions.recover(1).affected == (), "the lease begins with the second answer"

    def test_asked_again_it_leaves_out_what_has_ended(self, store: Store) -> None:
        self.add_all(store, "abc")
        request = new_request()
        first = self.take(store, 2, request=request)
        store.transitions.complete([Completion("a", first.claims[0].token, "1")])
        assert self.taken(store, 2, request=request) == ["b"]
        assert self.counts(store) == {"waiting": 1, "active": 1, "completed": 1}

    def test_a_refusal_is_answered_again(self, store: Store) -> None:
        self.add_all(store, "ab")
        limit, request = Bounds(Limit("l", 1, LONG)), new_request()
        first = self.take(store, 2, limit, permits=2, request=request)
        assert (len(first.claims), first.why) == (1, Refusal.LIMITED)
        again = self.take(store, 2, limit, permits=2, request=request)
        assert (again.claims, again.why) == (first.claims, Refusal.LIMITED)
        assert 0 < again.until_ms <= first.until_ms
        assert len(store.transitions.set_limit(QUEUE, Limit("m", 9, 1)).ready) == 1, "it owes one and not three"

    def test_another_request_takes_others(self, store: Store) -> None:
        self.add_all(store, "abc")
        assert self.taken(store, request="r") == ["a"]
        assert self.taken(store, request="r", worker="v") == ["b"], "another worker"
        store.transitions.leave("w", [QUEUE])
        assert self.taken(store, request="r") == ["c"], "forgotten when it left"

    # -- order ------------------------------------------------------------------------------------

    def test_priority_comes_before_place(self, store: Store) -> None:
        self.add(store, *(new(one, priority=int(one)) for one in "9501"), new("x"), new("y", priority=5))
        assert self.in_order(store) == "0x15y9"

    def test_later_jobs_come_later_whatever_their_ids(self, store: Store) -> None:
        for one in "zaymbx":
            self.add_all(store, one)
        assert self.in_order(store) == "zaymbx"

    def test_find_and_scan_tell_the_order(self, store: Store) -> None:
        self.add(store, *(new(one, priority=int(one)) for one in "9501"), native("n"))
        self.add(store, new("k", limit=Limit("k", 1, LONG)), new("l", limit=Limit("k", 1, LONG), priority=3))
        assert self.taken(store, 2) == ["0", "k"]
        assert self.taken(store, 2) == ["1", "5"], "l is set aside"
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == ["9", "l", "n"]
        assert set(self.ids(store.queries.scan(QUEUE, State.WAITING)[0])) == {"9", "l", "n"}
        assert self.counts(store) == {"waiting": 3, "active": 4}

    def test_a_job_handed_back_has_its_place_again(self, store: Store) -> None:
        self.add_all(store, "abc")
        claims = self.take(store, 2).claims
        assert self.ids(store.transitions.hand_back([Held("a", claims[0].token)]).ready) == ["a"]
        self.add_all(store, "d")
        assert self.in_order(store) == "acd"

    @pytest.mark.parametrize("way", ["retry", "recover", "by hand"])
    def test_a_job_that_runs_again_has_a_new_place(self, store: Store, way: str) -> None:
        self.add_all(store, "abc")
        (claim,) = self.take(store, 1, lease_ms=1 if way == "recover" else LEASE_MS).claims
        if way == "recover":
            until(lambda: store.transitions.recover(1).affected)
        else:
            store.transitions.fail([Failure("a", claim.token, "no", retry_ms=0 if way == "retry" else None)])
        if way == "by hand":
            store.transitions.retry("a")
        assert self.in_order(store) == "bca"

    def test_delayed_jobs_of_one_instant_keep_the_order_in_which_they_were_added(self, store: Store) -> None:
        due_ms = store.queries.now() + 2000  # by then all of them are there, on a busy machine too
        ids = [f"{(n * 7919) % 1000:03}" for n in range(220)]
        self.add(store, *(new(one, due_ms=due_ms) for one in ids[:200]))
        for job_id in ids[200:]:
            self.add(store, new(job_id, due_ms=due_ms))
        self.add(store, new("first", due_ms=due_ms - 50))

        def all_wait() -> bool:
            store.transitions.promote(70)
            return self.counts(store) == {"waiting": 221}

        until(all_wait)
        assert self.taken(store, 400) == ["first", *ids]

    def test_promoted_by_hand_they_keep_it_too(self, store: Store) -> None:
        self.add(store, *(new(one, due_ms=store.queries.now() + LONG) for one in "zyxabc"))
        store.transitions.sweep(QUEUE, Sweep.PROMOTE, State.DELAYED)
        assert self.in_order(store) == "zyxabc"

    def test_removed_and_cancelled_jobs_leave_no_gap(self, store: Store) -> None:
        self.add_all(store, "abcdef")
        store.transitions.remove("b")
        store.transitions.cancel("d", "no")
        store.transitions.add_dependency("e", "f")
        assert self.in_order(store) == "acf"

    # -- pauses, holds, limits, bounds ----------------------------------------------------------

    def test_a_pause_keeps_the_order(self, store: Store) -> None:
        self.add_all(store, "ab")
        store.transitions.pause(QUEUE)
        self.add_all(store, "cd")
        taken = self.take(store, 9, permits=4)
        assert (taken.claims, taken.why, taken.left) == ([], Refusal.PAUSED, False)
        self.add(store, new("0", priority=0), new("e", priority=1))
        store.transitions.resume(QUEUE)
        assert self.in_order(store) == "abcd0e"

    def test_a_hold_ends_at_its_longest(self, store: Store) -> None:
        self.add_all(store, "a")
        store.transitions.hold(QUEUE, 50_000)
        store.transitions.hold(QUEUE, 1)
        taken = self.take(store)
        assert (taken.claims, taken.why) == ([], Refusal.LIMITED)
        assert 40_000 < taken.until_ms <= 50_000
        store.transitions.hold(QUEUE, 0)
        assert self.taken(store) == ["a"]

    def test_a_limit_lets_the_first_start_in_time(self, store: Store) -> None:
        self.add_all(store, "abcdef")
        limit = Bounds(Limit("l", 2, 100))
        starts: list[JobRecord] = []

        def all_started() -> bool:
            taken = self.take(store, 6, limit)
            starts.extend(claim.record for claim in taken.claims)
            assert taken.why in (Refusal.LIMITED, Refusal.EMPTY)
            assert taken.until_ms <= 102 + 10, "an early grant counts from its start"
            return len(starts) == 6

        until(all_started)
        assert "".join(start.id for start in starts) == "abcdef"
        instants = [start.processed_ms for start in starts]
        assert all(later - first >= 100 for first, later in zip(instants, instants[2:], strict=False))
        assert store.queries.status(QUEUE).counts["delayed"] == 0

    def test_as_many_as_were_wanted_and_until_when_there_is_no_more(self, store: Store) -> None:
        self.add_all(store, "abc")
        taken = self.take(store, 2, Bounds(Limit("l", 2, LONG)))
        assert (len(taken.claims), taken.why, taken.left) == (2, None, False)
        assert 50_000 < taken.until_ms <= 61_000

    @pytest.mark.parametrize("gone", ["set", "not brought", "other"])
    def test_a_limit_that_changes_acts_at_once(self, store: Store, gone: str) -> None:
        """No job waits longer than the limit in force says."""
        self.add_all(store, "abcdefgh")
        strict = Limit("l", 2, LONG)
        assert len(self.taken(store, 8, Bounds(strict))) == 2
        if gone == "set":
            store.transitions.set_limit(QUEUE, Limit("l", 2, 1))
            until(lambda: self.taken(store, 1, Bounds(strict)) == ["c"])
        elif gone == "other":
            assert self.taken(store, 9, Bounds(Limit("m", 4, LONG))) == ["c", "d", "e", "f"]
        else:
            assert self.in_order(store) == "cdefgh"

    def test_no_more_are_active_than_may_be(self, store: Store) -> None:
        self.add_all(store, "abcde")
        two = Bounds(global_concurrency=2)
        taken = self.take(store, 4, two)
        assert ([claim.record.id for claim in taken.claims], taken.why) == (["a", "b"], Refusal.CROWDED)
        assert (self.take(store, 1, two).why, self.counts(store)) == (Refusal.CROWDED, {"active": 2, "waiting": 3})
        store.transitions.complete([Completion("a", taken.claims[0].token, "1")])
        self.add(store, new("0"), new("9", priority=9))
        taken = self.take(store, 1, two)
        assert ([claim.record.id for claim in taken.claims], taken.why, taken.left) == (["c"], None, False)
        store.transitions.set_global_concurrency(QUEUE, 3)
        assert self.taken(store, 9, two) == ["d"]
        store.transitions.set_global_concurrency(QUEUE, 0)
        assert self.in_order(store, bounds=two) == "e09"

    def test_nothing_that_waits_is_empty_and_not_crowded(self, store: Store) -> None:
        self.add_all(store, "a")
        one = Bounds(Limit("l", 1, LONG), 1)
        assert self.taken(store, 5, one) == ["a"]
        assert self.take(store, 5, one).why is Refusal.EMPTY

    # -- set aside ----------------------------------------------------------------------------------

    def test_a_job_of_a_closed_key_holds_up_nobody(self, store: Store) -> None:
        key = Limit("key", 1, LONG)
        self.add(store, *(new(f"{n}", limit=key) for n in range(5)), new("x"), new("y"))
        taken = self.take(store, 3)
        assert ([claim.record.id for claim in taken.claims], taken.why, taken.left) == (["0", "x", "y"], None, False)
        assert 50_000 < taken.until_ms <= 61_000
        taken = self.take(store, 3)
        assert (taken.claims, taken.why) == ([], Refusal.EMPTY)
        assert 50_000 < taken.until_ms <= 61_000
        assert self.counts(store) == {"active": 3, "waiting": 4}
        assert ("drained", "") not in self.emitted(store)

    def test_those_of_a_key_come_back_in_their_order(self, store: Store) -> None:
        key = Limit("key", 2, 80)
        self.add(store, *(new(one, limit=key) for one in "abcdef"), new("x", priority=1))
        found: list[JobRecord] = []

        def all_taken() -> bool:
            found.extend(claim.record for claim in self.take(store, 9).claims)
            return len(found) == 7

        until(all_taken)
        assert "".join(one.id for one in found) == "abxcdef"
        starts = [one.processed_ms for one in found if one.id != "x"]
        assert all(later - first >= 80 for first, later in zip(starts, starts[2:], strict=False))

    def test_those_that_come_back_are_before_later_ones(self, store: Store) -> None:
        key = Limit("key", 1, 60)
        self.add(store, *(new(one, limit=key) for one in "ab"))
        began = store.queries.now()
        assert self.taken(store, 2) == ["a"]
        self.add(store, new("c", limit=key), new("x"))
        found = "".join(self.taken(store, 2))
        if store.queries.now() - began < key.duration_ms:  # the limit cannot have opened meanwhile
            assert found == "x"

        def both() -> bool:
            nonlocal found
            found += "".join(self.taken(store, 2))
            return len(found) == 3

        until(both)
        assert found.replace("x", "") == "bc"

    def test_a_limit_of_the_queue_and_one_of_the_job(self, store: Store) -> None:
        queue, key = Bounds(Limit("q", 3, LONG)), Limit("key", 1, LONG)
        self.add(store, *(new(one, limit=key) for one in "ab"), *(new(one) for one in "cdef"))
        taken = self.take(store, 9, queue)
        assert ([claim.record.id for claim in taken.claims], taken.why) == (["a", "c", "d"], Refusal.LIMITED)
        assert self.taken(store, 9) == ["e", "f"]

    def test_a_promoted_job_that_waits_for_a_limit_is_next(self, store: Store) -> None:
        key = Limit("key", 1, 60)
        self.add(store, new("first", limit=key), new("a", limit=key, delay_ms=LONG))
        assert self.taken(store, 2) == ["first"]
        store.transitions.promote_job("a")
        self.add(store, new("b", limit=key))
        assert gather(lambda: self.taken(store, 2), 2) == ["a", "b"]

    def test_a_job_that_waits_for_a_limit_is_not_replaced(self, store: Store) -> None:
        """It keeps its place: replacing is for those that are delayed."""
        once, key = Deduplication("once", replace=True), Limit("key", 1, 60)
        self.add(store, new("first", limit=key), new("a", limit=key, deduplication=once))
        assert self.taken(store, 2) == ["first"]
        assert store.transitions.add([new("b", limit=key, deduplication=once)]).instead == (("b", "a"),)
        self.add(store, new("c", limit=key))
        assert gather(lambda: self.taken(store, 2), 2) == ["a", "c"]

    @pytest.mark.parametrize("way", ["remove", "cancel", "sweep"])
    def test_what_was_set_aside_may_go(self, store: Store, way: str) -> None:
        """And leaves nothing behind: the next one waits for no slot of those."""
        key = Limit("key", 1, 300)
        self.add(store, *(new(one, limit=key) for one in "abcdefgh"))
        first = self.take(store, 9).claims[0].record.processed_ms
        if way == "sweep":
            assert set(store.transitions.sweep(QUEUE, Sweep.REMOVE, State.WAITING).affected) == set("bcdefgh")
        else:
            for one in "bcdefgh":
                store.transitions.remove(one) if way == "remove" else store.transitions.cancel(one, "no")
        self.add(store, new("next", limit=key))
        claims = until(lambda: self.take(store, 9).claims)
        assert 300 <= claims[0].record.processed_ms - first < 300 + DELAY_MS

    def test_many_that_are_set_aside_do_not_hold_up_what_is_behind_them(self, store: Store) -> None:
        key = Limit("key", 1, LONG)
        self.add(store, *(new(f"k{n}", limit=key) for n in range(2 * PAGE + 2)), new("x"))
        found: list[str] = []
        for _ in range(4):
            taken = self.take(store, 2)
            found += [claim.record.id for claim in taken.claims]
            if not taken.left:
                break
        assert found == ["k0", "x"]
