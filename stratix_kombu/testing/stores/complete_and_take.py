"""Results and the next jobs in one call."""

from __future__ import annotations

from typing import Any

from stratix_kombu.model.claims import NO_BOUNDS, Bounds, Taken
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import KEEP_NONE, Change, Claim, Completion, Limit
from stratix_kombu.model.state import Refusal
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new


class CompleteAndTakeSuite(StoreCase):
    def go_on(
        self, store: Store, done: list[Claim], want: int = 1, bounds: Bounds = NO_BOUNDS, **how: Any
    ) -> tuple[Change, Taken]:
        """Complete these and take others."""
        results = [Completion(one.record.id, one.token, '"r"') for one in done]
        queue, worker = how.pop("queue", QUEUE), how.pop("worker", "w")
        return store.transitions.complete_and_take(results, queue, worker, LEASE_MS, want, bounds, **how)

    @staticmethod
    def ids_of(taken: Taken) -> list[str]:
        return [claim.record.id for claim in taken.claims]

    def begun(self, store: Store, *ids: str, **fields: Any) -> list[Claim]:
        """Add jobs and take the first of them."""
        self.add(store, *(new(job_id, **fields) for job_id in ids))
        return self.take(store, 1).claims

    def test_results_are_stored_and_the_next_jobs_are_taken(self, store: Store) -> None:
        done = self.begun(store, "a", "b", "c", "d", data="1", options="{}")
        change, taken = self.go_on(store, done, 2, request="r")
        assert (change.stale, change.ready, change.more) == ((), (), False)
        assert [(claim.record.id, claim.token) for claim in taken.claims] == [("b", "r:0"), ("c", "r:1")]
        assert (taken.why, taken.until_ms, taken.left) == (None, 0, True)
        assert [claim.record for claim in taken.claims] == [self.record(store, one) for one in "bc"]
        assert (self.record(store, "a").state.value, self.record(store, "a").result) == ("completed", '"r"')
        assert self.emitted(store)[4:] == [("active", "a"), ("completed", "a"), ("active", "b"), ("active", "c")]
        assert self.counts(store) == {"waiting": 1, "active": 2, "completed": 1}

    def test_the_last_ones(self, store: Store) -> None:
        change, taken = self.go_on(store, self.begun(store, "a"), 2)
        assert (change.stale, taken.claims, taken.why, taken.left) == ((), [], Refusal.EMPTY, False)
        assert self.emitted(store)[-2:] == [("completed", "a"), ("drained", "")]

    def test_without_results_it_takes(self, store: Store) -> None:
        self.add(store, new("a"))
        change, taken = self.go_on(store, [])
        assert (change, self.ids_of(taken)) == (Change(), ["a"])

    def test_without_a_wish_it_completes(self, store: Store) -> None:
        change, taken = self.go_on(store, self.begun(store, "a", "b"), 0)
        assert (change.stale, taken.claims) == ((), [])
        assert self.states(store, "a", "b") == ["completed", "waiting"]

    def test_what_a_bound_has_refused_starts_when_the_job_before_has_ended(self, store: Store) -> None:
        bounds = Bounds(global_concurrency=1)
        self.add(store, new("a"), new("b"), new("c"))
        first = self.take(store, 2, bounds)
        assert (self.ids_of(first), first.why) == (["a"], Refusal.CROWDED)
        _, taken = self.go_on(store, first.claims, 2, bounds)
        assert (self.ids_of(taken), taken.why) == (["b"], Refusal.CROWDED)

    def test_also_of_a_group(self, store: Store) -> None:
        bounds = Bounds(group_concurrency=1)
        self.add(store, new("a", group="g"), new("b", group="g"), new("c", group="g"))
        first = self.take(store, 3, bounds)
        assert self.ids_of(first) == ["a"]
        _, taken = self.go_on(store, first.claims, 3, bounds)
        assert self.ids_of(taken) == ["b"]

    def test_a_limit_keeps_back_the_next_and_not_the_result(self, store: Store) -> None:
        bounds = Bounds(Limit("l", 1, 60_000))
        self.add(store, new("a"), new("b"))
        first = self.take(store, 1, bounds)
        change, taken = self.go_on(store, first.claims, 1, bounds)
        assert (change.stale, taken.claims, taken.why) == ((), [], Refusal.LIMITED)
        assert self.states(store, "a", "b") == ["completed", "waiting"]

    def test_so_does_a_pause(self, store: Store) -> None:
        done = self.begun(store, "a", "b")
        store.transitions.pause(QUEUE)
        change, taken = self.go_on(store, done)
        assert (change.stale, taken.claims, taken.why) == ((), [], Refusal.PAUSED)
        assert self.states(store, "a", "b") == ["completed", "waiting"]

    def test_dependents_that_become_ready_may_be_the_next(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",)), new("c", "other", dependencies=("a",)))
        change, taken = self.go_on(store, self.take(store, 1).claims, 2)
        assert self.ids(change.ready) == ["b", "c"]
        assert self.ids_of(taken) == ["b"]

    def test_jobs_that_a_result_adds(self, store: Store) -> None:
        (claim,) = self.begun(store, "a")
        results = [Completion("a", claim.token, "1", then=(new("b"),), data="[2]")]
        change, taken = store.transitions.complete_and_take(results, QUEUE, "w", LEASE_MS, 2)
        assert self.ids(change.ready) == self.ids_of(taken) == ["b"]
        assert self.record(store, "a").data == "[2]"

    def test_results_may_be_of_other_queues_and_claims_that_are_lost_are_named(self, store: Store) -> None:
        first = self.start(store, new("x", "other"))
        lost = Claim("gone", self.start(store, new("y", "other")).record)
        self.add(store, new("a"))
        change, taken = self.go_on(store, [lost, first])
        assert (change.stale, self.ids_of(taken)) == (("y",), ["a"])
        assert self.states(store, "x", "y") == ["completed", "active"]

    def test_what_is_not_kept_goes(self, store: Store) -> None:
        _, taken = self.go_on(store, self.begun(store, "a", "b", keep_completed=KEEP_NONE))
        assert self.ids_of(taken) == ["b"]
        assert self.states(store, "a") == ["gone"]

    # -- asked again ------------------------------------------------------------------------------

    def test_asked_again_it_answers_the_same(self, store: Store) -> None:
        done, request = self.begun(store, "a", "b", "c"), new_request()
        _, first = self.go_on(store, done, request=request)
        emitted = self.emitted(store)
        change, again = self.go_on(store, done, request=request)
        assert (change.stale, again.claims, again.left) == ((), first.claims, True)
        assert self.emitted(store) == emitted
        assert self.counts(store) == {"waiting": 1, "active": 1, "completed": 1}

    def test_each_half_may_be_asked_again_alone(self, store: Store) -> None:
        done, request = self.begun(store, "a", "b", "c"), new_request()
        _, first = self.go_on(store, done, request=request)
        assert store.transitions.complete([Completion("a", done[0].token, '"r"')]).stale == ()
        assert self.take(store, 1, request=request).claims == first.claims
        assert self.counts(store) == {"waiting": 1, "active": 1, "completed": 1}

    def test_what_was_asked_apart_may_be_asked_again_together(self, store: Store) -> None:
        done, request = self.begun(store, "a", "b", "c"), new_request()
        assert store.transitions.complete([Completion("a", done[0].token, '"r"')]).stale == ()
        first = self.take(store, 1, request=request)
        change, again = self.go_on(store, done, request=request)
        assert (change.stale, again.claims) == ((), first.claims)
