"""Steps that are asked for again, since their answer was lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stratix_kombu.model.claims import Bounds, Claimed
from stratix_kombu.model.metrics import COUNTS
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import (
    ANY_CLAIM,
    KEEP_NONE,
    Change,
    Claim,
    Completion,
    Failure,
    HandOver,
    Held,
    Limit,
    WorkerInfo,
)
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new

Ending = Callable[[Store, Claim], Change]
WORKER = WorkerInfo(id="w", queue=QUEUE)


def _ends() -> dict[str, Ending]:
    def end(verb: str, kind: Any, *how: Any, **options: Any) -> Ending:
        def step(store: Store, claim: Claim) -> Change:
            change: Change = getattr(store.transitions, verb)([kind(claim.record.id, claim.token, *how, **options)])
            return change

        return step

    return {
        "complete": end("complete", Completion, '"r"', (new("after"),)),
        "fail": end("fail", Failure, "no", then=(new("after"),)),
        "retry": end("fail", Failure, "no", retry_ms=0),
        "later": end("fail", Failure, "no", retry_ms=60_000),
        "hand_over": end("hand_over", HandOver, (new("a"),), "again"),
        "hand_back": end("hand_back", Held),
    }


ENDS = _ends()


class AgainSuite(StoreCase):
    def look(self, store: Store) -> Any:
        """All that one sees of the queue."""
        records = [one for state in State for one in store.queries.find(QUEUE, [state])]
        totals = store.queries.totals(QUEUE)
        counts = [getattr(totals, name) for name in COUNTS]
        return sorted(records, key=lambda record: record.id), self.emitted(store), counts, sum(totals.wait.counts)

    @staticmethod
    def asked(store: Store, request: str, *ids: str, worker: str = "w", lease_ms: int = LEASE_MS) -> Claimed:
        return store.transitions.claim(QUEUE, ids, worker, lease_ms, request=request)

    # -- claims ---------------------------------------------------------------------------------

    def test_a_claim_asked_for_again_is_the_same(self, store: Store) -> None:
        self.add(store, new("a", data="[1]", options="{}", max_attempts=3, priority=2), new("b"), new("c"))
        request = new_request()
        first = self.asked(store, request, "a", "b").claims
        before = self.look(store)
        assert self.asked(store, request, "a", "b").claims == first
        assert self.look(store) == before
        assert store.transitions.complete([Completion(one.record.id, one.token, "1") for one in first]).stale == ()

    def test_another_request_gets_nothing_of_it(self, store: Store) -> None:
        self.add(store, new("a"))
        self.asked(store, new_request(), "a")
        again = self.asked(store, new_request(), "a")
        assert (again.claims, [one.why for one in again.refused]) == ([], [Refusal.NOT_WAITING])

    def test_a_token_is_the_request_and_the_place(self, store: Store) -> None:
        self.add(store, new("a"), new("b"))
        request = new_request()
        claims = self.asked(store, request, "nobody", "b", "b", "a").claims
        assert [claim.token for claim in claims] == [f"{request}:1", f"{request}:3"]
        assert self.asked(store, request, "nobody", "b", "b", "a").claims == claims

    def test_a_claim_asked_for_again_has_its_lease_as_new(self, store: Store) -> None:
        self.add(store, new("a"))
        request = new_request()
        self.asked(store, request, "a", lease_ms=0)
        self.asked(store, request, "a")
        assert store.transitions.recover(5).affected == ()

    def test_what_was_lost_meanwhile_is_claimed_anew_or_not_at_all(self, store: Store) -> None:
        self.add(store, new("a"), new("b"))
        request = new_request()
        self.asked(store, request, "a", "b", lease_ms=0)
        store.transitions.recover(5)
        self.claim(store, "b", worker="another")
        again = self.asked(store, request, "a", "b")
        assert [(claim.record.id, claim.record.attempts_started) for claim in again.claims] == [("a", 2)]
        assert self.record(store, "b").worker == "another"

    def test_a_pause_and_a_limit_do_not_keep_back_what_was_claimed(self, store: Store) -> None:
        self.add(store, new("a"), new("b"))
        limit, request = Limit("api", 1, 60_000), new_request()
        first = store.transitions.claim(QUEUE, ["a", "b"], "w", LEASE_MS, Bounds(limit, 1), request=request)
        store.transitions.pause(QUEUE)
        again = store.transitions.claim(QUEUE, ["a", "b"], "w", LEASE_MS, Bounds(limit, 1), request=request)
        assert [claim.record.id for claim in again.claims] == ["a"]
        assert again.claims == first.claims

    # -- ends -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("way", sorted(ENDS))
    def test_an_end_asked_for_again_is_done_already(self, store: Store, way: str) -> None:
        claim = self.start(store, new("a", max_attempts=3, dead_letter="dead"))
        assert ENDS[way](store, claim).stale == ()
        before = self.look(store), self.emitted(store, "dead")
        assert ENDS[way](store, claim).stale == ()
        assert (self.look(store), self.emitted(store, "dead")) == before

    @pytest.mark.parametrize("way", ["retry", "hand_over", "hand_back"])
    def test_also_when_the_job_runs_again(self, store: Store, way: str) -> None:
        claim = self.start(store, new("a", max_attempts=3))
        ENDS[way](store, claim)
        (second,) = self.claim(store, "a")
        before = self.look(store)
        assert ENDS[way](store, claim).stale == ()
        assert self.look(store) == before
        assert store.transitions.complete([Completion("a", second.token, "1")]).stale == ()
        assert ENDS[way](store, claim).stale == ("a",), "that is not how its last attempt ended"

    def test_also_when_a_completed_job_runs_again_by_hand(self, store: Store) -> None:
        complete, claim = ENDS["complete"], self.start(store, new("a"))
        assert complete(store, claim).stale == ()
        store.transitions.rerun("a")
        assert complete(store, claim).stale == ()
        assert self.states(store, "a") == ["waiting"]
        (second,) = self.claim(store, "a")
        assert complete(store, claim).stale == ()
        assert self.states(store, "a") == ["active"]
        assert complete(store, second).stale == ()
        assert complete(store, claim).stale == ("a",), "that is not how its last attempt ended"

    @pytest.mark.parametrize("way", sorted(ENDS))
    @pytest.mark.parametrize("other", ["complete", "retry", "hand_over", "hand_back"])
    def test_an_end_of_another_kind_is_refused(self, store: Store, way: str, other: str) -> None:
        claim = self.start(store, new("a", max_attempts=3))
        ENDS[way](store, claim)
        before = self.look(store)
        same = way == other or {way, other} <= {"fail", "retry", "later"}
        assert ENDS[other](store, claim).stale == (() if same else ("a",))
        assert self.look(store) == before

    @pytest.mark.parametrize("way", ["complete", "fail"])
    def test_also_when_retention_has_removed_the_job(self, store: Store, way: str) -> None:
        claim = self.start(store, new("a", keep_completed=KEEP_NONE, keep_failed=KEEP_NONE))
        ENDS[way](store, claim)
        assert store.queries.get(["a"]) == [None]
        before = self.look(store)
        assert ENDS[way](store, claim).stale == ()
        assert self.look(store) == before
        other = Claim("another", claim.record, 0)
        assert ENDS[way](store, other).stale == ("a",)
        self.add(store, new("a"))
        assert ENDS[way](store, claim).stale == (), "though another job has the id by now"
        assert self.states(store, "a") == ["waiting"]

    def test_an_end_of_a_job_removed_by_hand_is_refused(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        ENDS["complete"](store, claim)
        store.transitions.remove("a")
        assert ENDS["complete"](store, claim).stale == ("a",)

    def test_an_end_by_hand_is_nobodys(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.fail([Failure("a", ANY_CLAIM, "no")])
        assert store.transitions.fail([Failure("a", ANY_CLAIM, "no")]).stale == ("a",)
        assert store.transitions.fail([Failure("a", claim.token, "no")]).stale == ("a",)

    # -- leases ---------------------------------------------------------------------------------

    def test_a_worker_may_hold_the_second_attempt_when_it_has_lost_the_first(self, store: Store) -> None:
        first = self.start(store, new("a", max_attempts=3), lease_ms=0)
        store.transitions.recover(5)
        (second,) = self.claim(store, "a")
        held = [Held("a", first.token), Held("a", second.token)]
        renewed = store.transitions.renew([WORKER], held, LEASE_MS)
        assert (renewed.lost, renewed.cancelled) == (frozenset({first.token}), frozenset())
        store.transitions.cancel("a", "stop")
        renewed = store.transitions.renew([WORKER], held, LEASE_MS)
        assert (renewed.lost, renewed.cancelled) == (frozenset({first.token}), frozenset({second.token}))
