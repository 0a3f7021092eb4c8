"""What is known of the attempts at a job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stratix_kombu.model.attempts import ATTEMPTS_KEPT, REASON_BYTES, TRACE_BYTES, Attempt
from stratix_kombu.model.record import ANY_CLAIM, Completion, Failure, HandOver, Held
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, new, until

TRACE = json.dumps(["Traceback ...\n  File x\nshop.errors.CardRefused: no\n"])


class AttemptSuite(StoreCase):
    @staticmethod
    def attempts(store: Store, job_id: str = "a") -> list[Attempt]:
        found = store.queries.attempts(job_id)
        assert found is not None
        for one in found:
            assert 0 < one.started_on <= (one.finished_on or store.queries.now())
        return found

    def outcomes(self, store: Store, job_id: str = "a") -> list[tuple[int, str, str]]:
        return [(one.number, one.outcome, one.worker) for one in self.attempts(store, job_id)]

    def try_once(self, store: Store, worker: str = "w", **failure: Any) -> None:
        (claim,) = self.claim(store, "a", worker=worker)
        store.transitions.fail([Failure("a", claim.token, failure.pop("reason", "no"), **failure)])

    def test_a_job_that_has_not_begun_has_none(self, store: Store) -> None:
        assert store.queries.attempts("a") is None
        self.add(store, new("a"))
        assert self.attempts(store) == []
        store.transitions.cancel("a", "why")
        assert self.attempts(store) == []

    def test_the_only_one(self, store: Store) -> None:
        claim = self.start(store, new("a"), worker="w1")
        (one,) = self.attempts(store)
        assert (one.number, one.outcome, one.worker, one.finished_on) == (1, "active", "w1", None)
        store.transitions.complete([Completion("a", claim.token, "1")])
        (one,) = self.attempts(store)
        record = self.record(store, "a")
        assert (one.outcome, one.started_on, one.finished_on) == ("completed", record.processed_ms, record.finished_ms)
        assert (one.reason, one.error_path, one.stacktrace) == (None, None, None)

    def test_each_one_that_failed(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=4))
        self.try_once(store, "w1", reason="timed out after 30 ms", retry_ms=0)
        self.try_once(store, "w2", reason="CardRefused: no", stacktrace=TRACE, retry_ms=0)
        assert self.outcomes(store) == [(1, "timeout", "w1"), (2, "failed", "w2")]
        claim = self.claim(store, "a", worker="w3")[0]
        assert self.outcomes(store)[2:] == [(3, "active", "w3")]
        store.transitions.fail([Failure("a", claim.token, "ValueError: bad")])
        first, second, third = self.attempts(store)
        assert (first.reason, first.error_path, first.stacktrace) == ("timed out after 30 ms", None, None)
        assert (second.reason, second.error_path) == ("CardRefused: no", "shop.errors.CardRefused")
        assert second.stacktrace == json.loads(TRACE)[0]
        assert (third.outcome, third.reason, third.error_path) == ("failed", "ValueError: bad", "ValueError")
        assert first.finished_on is not None
        assert first.finished_on <= second.started_on

    def test_one_that_is_delayed_before_the_next(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2))
        self.try_once(store, retry_ms=600_000)
        assert self.outcomes(store) == [(1, "failed", "w")]
        store.transitions.promote_job("a")
        self.complete(store, "a")
        assert self.outcomes(store) == [(1, "failed", "w"), (2, "completed", "w")]

    def test_one_that_stalled(self, store: Store) -> None:
        self.start(store, new("a"), lease_ms=1, worker="w1")
        until(lambda: store.transitions.recover(1).affected)
        assert self.outcomes(store) == [(1, "stalled", "w1")]
        self.claim(store, "a", lease_ms=1, worker="w2")
        until(lambda: store.transitions.recover(1).affected)
        assert self.states(store, "a") == ["failed"]
        assert self.outcomes(store) == [(1, "stalled", "w1"), (2, "stalled", "w2")]
        store.transitions.retry("a")
        self.complete(store, "a")
        assert self.outcomes(store)[2:] == [(3, "completed", "w")]

    def test_one_that_was_handed_back_was_none(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.hand_back([Held("a", claim.token)])
        assert self.attempts(store) == []
        self.complete(store, "a")
        assert self.outcomes(store) == [(1, "completed", "w")]

    def test_one_that_was_cancelled(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.cancel("a", "not needed")
        store.transitions.fail([Failure("a", claim.token, "stopped", retry_ms=0)])
        (one,) = self.attempts(store)
        assert (one.outcome, one.reason) == ("cancelled", "not needed")
        store.transitions.retry("a")
        self.complete(store, "a")
        assert self.outcomes(store) == [(1, "cancelled", "w"), (2, "completed", "w")]

    def test_after_a_retry_and_a_rerun_by_hand(self, store: Store) -> None:
        self.add(store, new("a"))
        self.try_once(store, reason="KeyError: 'x'")
        store.transitions.retry("a")
        assert self.outcomes(store) == [(1, "failed", "w")]
        assert self.attempts(store)[0].error_path == "KeyError"
        self.complete(store, "a")
        store.transitions.rerun("a")
        assert self.outcomes(store) == [(1, "failed", "w"), (2, "completed", "w")]
        self.complete(store, "a")
        assert [outcome for _, outcome, _ in self.outcomes(store)] == ["failed", "completed", "completed"]

    def test_what_was_ended_without_an_attempt_adds_none(self, store: Store) -> None:
        self.add(store, new("a"))
        self.try_once(store, retry_ms=0)
        store.transitions.fail([Failure("a", ANY_CLAIM, "by hand", retry_ms=600_000)])
        assert self.outcomes(store) == [(1, "failed", "w")]
        store.transitions.complete([Completion("a", ANY_CLAIM, "1")])
        assert self.outcomes(store) == [(1, "failed", "w")]
        store.transitions.rerun("a")
        assert self.outcomes(store) == [(1, "failed", "w")]

    def test_one_that_went_on_as_another_message(self, store: Store) -> None:
        claim = self.start(store, new("a", message="{}"))
        store.transitions.hand_over([HandOver("a", claim.token, (new("a", message="{}"),))])
        assert self.outcomes(store) == [(1, "continued", "w")]
        (claim,) = self.claim(store, "a")
        store.transitions.hand_over([HandOver("a", claim.token, (new("a", message="{}"),), "again", TRACE)])
        self.complete(store, "a")
        assert self.outcomes(store) == [(1, "continued", "w"), (2, "failed", "w"), (3, "completed", "w")]

    def test_the_newest_are_kept(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=100))
        for n in range(1, ATTEMPTS_KEPT + 5):
            self.try_once(store, reason=f"no {n}", retry_ms=0)
        self.complete(store, "a")
        found = self.attempts(store)
        last = ATTEMPTS_KEPT + 5
        assert [one.number for one in found] == list(range(last - ATTEMPTS_KEPT, last + 1))
        assert [one.reason for one in found] == [*(f"no {n}" for n in range(5, last)), None]

    def test_long_reasons_are_cut_and_long_tracebacks_left_out(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=3))
        self.try_once(store, reason="ä" * REASON_BYTES, stacktrace=json.dumps(["x" * TRACE_BYTES]), retry_ms=0)
        self.try_once(store, stacktrace=json.dumps(["x" * (TRACE_BYTES - 4)]), retry_ms=0)
        first, second = self.attempts(store)
        assert (first.reason, first.stacktrace) == ("ä" * (REASON_BYTES // 2), None)
        assert second.stacktrace == "x" * (TRACE_BYTES - 4)

    @pytest.mark.parametrize("state", ["waiting", "completed", "failed", "stalled"])
    def test_they_go_with_the_record(self, store: Store, state: str) -> None:
        """A later job of the same id has none of them."""
        self.add(store, new("a", max_attempts=3))
        if state == "stalled":
            self.claim(store, "a", lease_ms=1)
            until(lambda: store.transitions.recover(0).affected)
        else:
            self.try_once(store, retry_ms=0)
        if state == "completed":
            self.complete(store, "a")
        if state == "failed":
            self.try_once(store)
        store.transitions.remove("a")
        assert store.queries.attempts("a") is None
        self.add(store, new("a"))
        assert self.attempts(store) == []
        assert self.counts(store, QUEUE) == {"waiting": 1}
