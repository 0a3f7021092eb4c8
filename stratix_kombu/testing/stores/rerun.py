"""Completed jobs that run again, and jobs that were cancelled."""

from __future__ import annotations

import pytest

from stratix_kombu.errors import InvalidJobState, JobNotFound
from stratix_kombu.model.record import Completion, Deduplication, Failure, Held, Retention
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, new
from stratix_kombu.testing.stores.metrics import counted


class RerunSuite(StoreCase):
    def test_a_completed_job_runs_again(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=3))
        self.complete(store, "a", result="1")
        change = store.transitions.rerun("a")
        assert (self.ids(change.ready), change.more) == (["a"], False)
        record = self.record(store, "a")
        assert (record.state.value, record.result, record.finished_ms) == ("waiting", None, 0)
        assert (record.attempts_made, record.max_attempts) == (1, 3)
        self.complete(store, "a", result="2")
        assert (self.record(store, "a").result, self.record(store, "a").attempts_made) == ("2", 2)
        assert [name for name, one in self.emitted(store) if one == "a"] == ["waiting", "active", "completed"] * 2

    @pytest.mark.parametrize("state", ["waiting", "active", "delayed", "failed"])
    def test_only_a_completed_one(self, store: Store, state: str) -> None:
        self.add(store, new("a", delay_ms=60_000 if state == "delayed" else 0))
        if state == "active":
            self.claim(store, "a")
        if state == "failed":
            self.fail(store, "a")
        with pytest.raises(InvalidJobState) as caught:
            store.transitions.rerun("a", True)
        assert caught.value.state == state
        with pytest.raises(JobNotFound):
            store.transitions.rerun("nobody")
        assert self.states(store, "a") == [state]

    def test_dependents_are_left_alone(self, store: Store) -> None:
        self.add(store, new("a"), new("done", dependencies=("a",)), new("waits", dependencies=("a",)))
        self.complete(store, "a")
        self.complete(store, "done")
        assert self.ids(store.transitions.rerun("a").ready) == ["a"]
        assert self.states(store, "done", "waits") == ["completed", "waiting"]
        assert self.fail(store, "a").ready == ()
        assert self.states(store, "a", "done", "waits") == ["failed", "completed", "waiting"]
        self.finish_releases(store, store.transitions.retry("a"))
        self.complete(store, "a", "waits")
        assert self.states(store, "a", "done", "waits") == ["completed", "completed", "completed"]

    def test_dependents_that_did_not_know_yet_learn_of_the_next_end(self, store: Store) -> None:
        self.add(store, new("a"), *(new(f"d{n}", "below", dependencies=("a",)) for n in range(700)))
        assert self.complete(store, "a").more
        assert self.counts(store, "below") == {"waiting": 250, "blocked": 450}
        assert not store.transitions.rerun("a").more
        assert self.counts(store, "below") == {"waiting": 250, "blocked": 450}
        self.finish_releases(store, self.complete(store, "a"))
        assert self.counts(store, "below") == {"waiting": 700}

    def test_what_depends_on_it_runs_again_too(self, store: Store) -> None:
        self.add(
            store,
            new("a"),
            new("b", dependencies=("a",)),
            new("c", dependencies=("a",), optional=True),
            new("d", dependencies=("b", "c")),
            new("other"),
            new("not", dependencies=("other",)),
        )
        for one in ("a", "b", "c", "d", "other", "not"):
            self.complete(store, one)
        assert self.finish_releases(store, store.transitions.rerun("a", dependents=True)) == ["a"]
        assert self.states(store, "a", "b", "c", "d") == ["waiting", "blocked", "blocked", "blocked"]
        assert self.states(store, "other", "not") == ["completed", "completed"]
        assert sorted(self.ids(self.complete(store, "a").ready)) == ["b", "c"]
        self.complete(store, "b")
        assert self.ids(self.fail(store, "c").ready) == []
        assert self.record(store, "d").failed_reason == "dependency c failed: broken"

    def test_dependents_in_all_states(self, store: Store) -> None:
        self.add(
            store,
            new("a"),
            new("x"),
            new("active", dependencies=("a",)),
            new("waiting", dependencies=("a",)),
            new("delayed", dependencies=("a",), delay_ms=60_000),
            new("blocked", dependencies=("a", "x")),
            new("failed", dependencies=("a",)),
            new("removed", dependencies=("a",)),
        )
        self.complete(store, "a")
        (claim,) = self.claim(store, "active")
        self.fail(store, "failed")
        store.transitions.remove("removed")
        self.finish_releases(store, store.transitions.rerun("a", dependents=True))
        assert self.states(store, "active", "waiting", "delayed", "blocked", "failed", "removed") == [
            "active",
            "blocked",
            "blocked",
            "blocked",
            "blocked",
            "gone",
        ]
        assert store.transitions.complete([Completion("active", claim.token, "1")]).stale == ()
        assert sorted(self.ids(self.complete(store, "a").ready)) == ["failed", "waiting"]
        assert self.states(store, "delayed", "blocked") == ["delayed", "blocked"]
        assert self.ids(self.complete(store, "x").ready) == ["blocked"]

    def test_one_that_failed_because_of_another_waits_for_both(self, store: Store) -> None:
        self.add(store, new("a"), new("x"), new("both", dependencies=("a", "x")))
        self.complete(store, "a")
        self.fail(store, "x")
        self.finish_releases(store, store.transitions.rerun("a", dependents=True))
        assert self.record(store, "both").failed_reason == "dependency x failed: broken"
        self.finish_releases(store, store.transitions.retry("x"))
        assert self.ids(self.complete(store, "x").ready) == []
        assert self.ids(self.complete(store, "a").ready) == ["both"]

    def test_it_begins_anew_once(self, store: Store) -> None:
        """A retry after that does not take along what depends on it."""
        self.add(store, new("a"), new("b", dependencies=("a",), optional=True))
        self.complete(store, "a")
        self.complete(store, "b")
        self.finish_releases(store, store.transitions.rerun("a", dependents=True))
        self.fail(store, "a")
        self.complete(store, "b")
        self.finish_releases(store, store.transitions.retry("a"))
        assert self.states(store, "a", "b") == ["waiting", "completed"]

    def test_many_dependents_follow_page_by_page(self, store: Store) -> None:
        below = [f"d{n}" for n in range(1_200)]
        self.add(store, new("a"))
        for start in range(0, 1_200, 400):
            self.add(store, *(new(one, "below", dependencies=("a",)) for one in below[start : start + 400]))
        self.finish_releases(store, self.complete(store, "a"))
        self.take_all(store, below, "below")
        change = store.transitions.rerun("a", dependents=True)
        assert change.more
        # It may end before all of them wait for it.
        again = self.complete(store, "a")
        ready = self.finish_releases(store, again)
        assert sorted(ready) == sorted(below)
        assert self.counts(store, "below") == {"waiting": 1_200}

    def test_it_holds_its_deduplication_id_again(self, store: Store) -> None:
        same = Deduplication("one")
        self.add(store, new("a", deduplication=same))
        self.complete(store, "a")
        store.transitions.rerun("a")
        answer = store.transitions.add([new("b", deduplication=same)])
        assert dict(answer.instead) == {"b": "a"}

    # -- cancelled ------------------------------------------------------------------------------

    def test_a_cancelled_job_says_so(self, store: Store) -> None:
        self.add(store, new("waiting"), new("later", delay_ms=60_000), new("below", dependencies=("waiting",)))
        claim = self.start(store, new("active", max_attempts=3))
        for one in ("waiting", "later", "active"):
            self.finish_releases(store, store.transitions.cancel(one, "by user 7"))
        assert self.states(store, "active") == ["active"]
        assert not self.record(store, "active").cancelled, "it has not ended"
        store.transitions.fail([Failure("active", claim.token, "CancelledError", retry_ms=0)])
        for one in ("waiting", "later", "active"):
            record = self.record(store, one)
            assert (record.state.value, record.failed_reason, record.cancelled) == ("failed", "by user 7", True)
        assert not self.record(store, "below").cancelled, "it failed because of another job"
        assert counted(store) == {"cancelled": 3, "failed": 1}
        (listed,) = [one for one in store.queries.get(["active"]) if one is not None and one.cancelled]
        assert listed.failed_reason == "by user 7"

    @pytest.mark.parametrize("reason", ["", "why"])
    def test_what_runs_again_was_not_cancelled(self, store: Store, reason: str) -> None:
        self.add(store, new("a"))
        store.transitions.cancel("a", reason)
        assert self.record(store, "a").cancelled
        store.transitions.retry("a")
        assert not self.record(store, "a").cancelled
        self.fail(store, "a")
        record = self.record(store, "a")
        assert (record.failed_reason, record.cancelled) == ("broken", False)
        assert counted(store) == {"cancelled": 1, "failed": 1}

    @pytest.mark.parametrize("way", ["fail", "hand_back", "complete"])
    def test_one_that_ran_while_it_was_cancelled(self, store: Store, way: str) -> None:
        claim = self.start(store, new("a"))
        store.transitions.cancel("a", "stop")
        if way == "fail":
            store.transitions.fail([Failure("a", claim.token, "no")])
        elif way == "hand_back":
            store.transitions.hand_back([Held("a", claim.token)])
        else:
            store.transitions.complete([Completion("a", claim.token, "1")])
        assert self.record(store, "a").cancelled is (way != "complete")
        assert counted(store) == {"completed" if way == "complete" else "cancelled": 1}
        if way == "complete":
            store.transitions.rerun("a")
            self.fail(store, "a", retry_ms=0)
            assert self.states(store, "a") == ["waiting"], "the run before was cancelled, not this one"

    def test_cancelled_jobs_that_are_not_kept_are_counted(self, store: Store) -> None:
        not_kept = Retention(count=0)
        self.add(store, *(new(one, keep_failed=not_kept, keep_completed=not_kept) for one in "abcd"))
        store.transitions.cancel("a", "stop")
        for one in "bcd":
            (claim,) = self.claim(store, one)
            if one != "c":
                store.transitions.cancel(one, "stop")
            if one == "d":
                store.transitions.complete([Completion(one, claim.token, "1")])
            else:
                store.transitions.fail([Failure(one, claim.token, "no")])
        assert self.states(store, *"abcd") == ["gone"] * 4
        assert counted(store, QUEUE) == {"cancelled": 2, "failed": 1, "completed": 1}
        known = [one and (one.failed_reason, one.cancelled) for one in store.queries.ended([*"abcd"])]
        assert known == [("stop", True), ("stop", True), ("no", False), (None, False)]
