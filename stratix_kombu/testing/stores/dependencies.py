"""Jobs that wait for others."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu.errors import DependencyCycle, DependencyNotFound, JobAlreadyStarted, JobNotFound
from stratix_kombu.model.dependency import Dependency
from stratix_kombu.model.record import Change, Completion, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, new


class DependencySuite(StoreCase):
    @pytest.mark.parametrize("how", [{}, {"anew": True}, {"vacant": True}])
    def test_no_job_depends_on_itself(self, store: Store, how: dict[str, Any]) -> None:
        """Not on one that it takes the place of, either."""
        self.add(store, new("a"))
        self.fail(store, "a")
        for jobs in ([new("a", dependencies=("a",), **how)], [new("b"), new("a", dependencies=("a",), **how)]):
            with pytest.raises(DependencyNotFound):
                store.transitions.add(jobs)
        assert self.states(store, "a", "b") == ["failed", "gone"]

    def test_a_dependent_is_blocked_until_all_have_completed(self, store: Store) -> None:
        ready = self.add(store, new("a"), new("b", "other"), new("c", dependencies=("a", "b")))
        assert ready == ["a", "b"]
        assert self.states(store, "c") == ["blocked"]
        assert ("blocked", "c") in self.emitted(store)
        assert self.record(store, "c").pending == 2
        assert self.complete(store, "a", result="1").ready == ()
        assert self.ids(self.complete(store, "b", queue="other", result="2").ready) == ["c"]
        assert self.record(store, "c").pending == 0
        assert store.queries.dependency_results("c") == {"a": "1", "b": "2"}
        assert store.queries.dependencies("c") == {"a": State.COMPLETED, "b": State.COMPLETED}
        ended = {
            one: Dependency(State.COMPLETED, result, self.record(store, one).finished_ms)
            for one, result in (("a", "1"), ("b", "2"))
        }
        assert store.queries.depends_on("c") == ended
        assert store.queries.dependents("a") == ["c"]
        assert store.queries.edges(["c", "a", "none"]) == [(["a", "b"], []), ([], ["c"]), ([], [])]

    def test_those_that_a_dependent_waits_for_end_together(self, store: Store) -> None:
        """All but the last in one step, which releases nothing; kept for a time, with data."""
        kept = Retention(age_ms=60_000)
        members = [f"m{n}" for n in range(4)]
        self.add(store, *(new(one, keep_completed=kept) for one in members), new("all", dependencies=tuple(members)))
        claims = {one: self.claim(store, one)[0].token for one in members}
        ends = [Completion(one, claims[one], f'"{one}"', data='{"said":1}') for one in members]
        assert store.transitions.complete(ends[:3]) == Change()
        assert store.transitions.complete(ends[:1]).stale == ()  # asked again
        assert self.record(store, "all").pending == 1
        assert self.record(store, "m0").data == '{"said":1}'
        assert store.queries.dependencies("all") == dict.fromkeys(members[:3], State.COMPLETED) | {"m3": State.ACTIVE}
        assert self.ids(store.transitions.complete(ends[3:]).ready) == ["all"]
        assert store.queries.dependency_results("all") == {one: f'"{one}"' for one in members}

    def test_the_last_ones_end_together(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("both", dependencies=("a", "b")))
        ends = [Completion(one, self.claim(store, one)[0].token, "1") for one in ("a", "b")]
        assert self.ids(store.transitions.complete(ends).ready) == ["both"]

    def test_what_is_released_keeps_its_queue_from_being_drained(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",)))
        self.complete(store, "a")
        assert "drained" not in dict(self.emitted(store))

    def test_a_dependency_named_twice_is_one(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a", "a")))
        assert self.record(store, "b").pending == 1
        assert self.ids(self.complete(store, "a").ready) == ["b"]

    def test_a_completed_dependency_is_satisfied_at_once(self, store: Store) -> None:
        self.add(store, new("a"))
        self.complete(store, "a", result="5")
        assert self.add(store, new("b", dependencies=("a",))) == ["b"]
        assert store.queries.dependency_results("b") == {"a": "5"}

    def test_a_failed_dependency_fails_the_dependent_at_once(self, store: Store) -> None:
        self.add(store, new("a"))
        self.fail(store, "a", reason="ValueError: no")
        assert self.add(store, new("b", dependencies=("a",))) == []
        record = self.record(store, "b")
        assert (record.state, record.failed_reason) == (State.FAILED, "dependency a failed: ValueError: no")

    def test_a_failure_goes_down_the_whole_tree(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",)), new("c", "other", dependencies=("b",)))
        self.fail(store, "a", reason="no")
        assert self.record(store, "b").failed_reason == "dependency a failed: no"
        assert self.record(store, "c").failed_reason == "dependency b failed: dependency a failed: no"
        assert self.record(store, "b").attempts_started == 0
        assert ("failed", "c") in self.emitted(store, "other")

    def test_a_retry_fails_nobody(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2), new("b", dependencies=("a",)))
        self.fail(store, "a", retry_ms=0)
        assert self.states(store, "a", "b") == ["waiting", "blocked"]
        assert self.ids(self.complete(store, "a").ready) == ["b"]

    def test_optional_dependents_run_however_their_dependencies_ended(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c", dependencies=("a", "b"), optional=True))
        self.fail(store, "a")
        assert self.states(store, "c") == ["blocked"]
        known = {
            "a": Dependency(State.FAILED, None, self.record(store, "a").finished_ms),
            "b": Dependency(State.WAITING),
        }
        assert store.queries.depends_on("c") == known
        assert self.ids(self.complete(store, "b", result="2").ready) == ["c"]
        assert store.queries.dependency_results("c") == {"b": "2"}
        assert self.add(store, new("d", dependencies=("a",), optional=True)) == ["d"]

    def test_removing_a_dependency_that_has_not_ended(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",)), new("c", dependencies=("a",), optional=True))
        change = store.transitions.remove("a")
        assert self.ids(change.ready) == ["c"]
        assert self.record(store, "b").failed_reason == "dependency a was removed"
        assert store.queries.dependencies("b") == {"a": None}
        assert store.queries.depends_on("b") == {"a": Dependency(None)}

    def test_results_outlive_the_record(self, store: Store) -> None:
        self.add(store, new("a", keep_completed=Retention(count=0)), new("b", dependencies=("a",)))
        self.complete(store, "a", result="7")
        assert self.states(store, "a", "b") == ["gone", "waiting"]
        assert store.queries.dependency_results("b") == {"a": "7"}
        assert store.queries.dependencies("b") == {"a": State.COMPLETED}

    def test_a_dependency_that_failed_and_is_gone_still_says_why(self, store: Store) -> None:
        self.add(store, new("a", keep_failed=Retention(count=0)), new("b", dependencies=("a",)))
        self.fail(store, "a", reason="no")
        assert self.record(store, "b").failed_reason == "dependency a failed: no"

    def test_a_dependent_with_a_delay_waits_for_both(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",), delay_ms=60_000))
        assert self.states(store, "b") == ["blocked"]
        assert self.complete(store, "a").ready == ()
        assert self.states(store, "b") == ["delayed"]

    def test_a_dependent_in_a_paused_queue_waits_there(self, store: Store) -> None:
        self.add(store, new("a"), new("b", "other", dependencies=("a",)))
        store.transitions.pause("other")
        assert self.ids(self.complete(store, "a").ready) == ["b"]
        assert self.claim(store, "b", queue="other") == []
        assert self.ids(store.transitions.resume("other").ready) == [""]

    # -- changing edges -------------------------------------------------------------------------

    def test_adding_an_edge_blocks_a_job_that_has_not_started(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c", delay_ms=60_000))
        for job_id in ("b", "c"):
            assert store.transitions.add_dependency(job_id, "a").ready == ()
            assert store.transitions.add_dependency(job_id, "a").ready == ()
        assert self.states(store, "b", "c") == ["blocked", "blocked"]
        assert self.claim(store, "b") == []
        assert self.ids(self.complete(store, "a").ready) == ["b"]
        assert self.states(store, "c") == ["delayed"]

    def test_adding_an_edge_to_what_has_ended(self, store: Store) -> None:
        self.add(store, new("done"), new("failed"), new("b"), new("c"), new("d", optional=True))
        self.complete(store, "done", result="1")
        self.fail(store, "failed", reason="no")
        store.transitions.add_dependency("b", "done")
        store.transitions.add_dependency("c", "failed")
        store.transitions.add_dependency("d", "failed")
        assert self.states(store, "b", "c", "d") == ["waiting", "failed", "waiting"]
        assert self.record(store, "c").failed_reason == "dependency failed failed: no"
        assert store.queries.dependency_results("b") == {"done": "1"}

    def test_removing_the_last_edge_releases(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c", dependencies=("a", "b")))
        self.add(store, new("later", dependencies=("a",), delay_ms=60_000))
        assert store.transitions.remove_dependency("c", "a").ready == ()
        assert self.ids(store.transitions.remove_dependency("c", "b").ready) == ["c"]
        store.transitions.remove_dependency("later", "a")
        assert self.states(store, "c", "later") == ["waiting", "delayed"]
        assert store.queries.dependents("a") == []
        assert store.queries.dependencies("c") == {}

    def test_edges_that_cannot_be(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",)), new("c", dependencies=("b",)))
        transitions = store.transitions
        for job_id, dependency in (("a", "a"), ("a", "b"), ("a", "c")):
            with pytest.raises(DependencyCycle):
                transitions.add_dependency(job_id, dependency)
        with pytest.raises(JobNotFound):
            transitions.add_dependency("nobody", "a")
        with pytest.raises(DependencyNotFound):
            transitions.add_dependency("b", "nobody")
        with pytest.raises(DependencyNotFound):
            transitions.remove_dependency("c", "a")
        with pytest.raises(JobNotFound):
            transitions.remove_dependency("nobody", "a")
        assert self.states(store, "a", "b", "c") == ["waiting", "blocked", "blocked"]

    def test_edges_of_a_job_that_has_started_stay(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c", dependencies=("a",)), new("x"))
        self.complete(store, "a")
        self.claim(store, "c")
        for _ in range(2):
            with pytest.raises(JobAlreadyStarted):
                store.transitions.add_dependency("c", "b")
            with pytest.raises(JobAlreadyStarted):
                store.transitions.remove_dependency("c", "a")
        with pytest.raises(JobAlreadyStarted):
            store.transitions.add_dependency("a", "x")

    # -- again ----------------------------------------------------------------------------------

    def test_retrying_by_hand_revives_who_failed_because_of_it(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",)), new("c", dependencies=("b",)))
        self.add(store, new("own"), new("x", dependencies=("a", "own")))
        self.fail(store, "a", "own")
        assert self.states(store, "b", "c", "x") == ["failed", "failed", "failed"]
        change = store.transitions.retry("a")
        self.finish_releases(store, change)
        assert self.states(store, "a", "b", "c", "x") == ["waiting", "blocked", "blocked", "failed"]
        assert self.record(store, "b").failed_reason is None
        assert self.record(store, "x").failed_reason == "dependency own failed: broken"
        assert self.ids(self.complete(store, "a").ready) == ["b"]
        assert self.ids(self.complete(store, "b").ready) == ["c"]
        assert self.ids(store.transitions.retry("own").ready) == ["own"]
        assert self.ids(self.complete(store, "own").ready) == ["x"]

    def test_retrying_does_not_wake_who_failed_by_himself(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",), optional=True))
        self.fail(store, "a")
        self.fail(store, "b", reason="own fault")
        self.finish_releases(store, store.transitions.retry("a"))
        assert self.states(store, "b") == ["failed"]
        self.complete(store, "a")
        assert self.record(store, "b").failed_reason == "own fault"

    # -- many -----------------------------------------------------------------------------------

    def test_a_job_with_five_thousand_dependencies(self, store: Store) -> None:
        parts = [new(f"p{n}") for n in range(5_000)]
        for start in range(0, 5_000, 1_000):
            self.add(store, *parts[start : start + 1_000])
        self.add(store, new("all", dependencies=tuple(job.id for job in parts)))
        assert self.record(store, "all").pending == 5_000
        assert self.take_all(store, [job.id for job in parts]) == ["all"]
        assert len(store.queries.dependency_results("all")) == 5_000

    def test_a_job_with_five_thousand_dependents(self, store: Store) -> None:
        self.add(store, new("a"))
        for start in range(0, 5_000, 1_000):
            self.add(store, *(new(f"d{n}", dependencies=("a",)) for n in range(start, start + 1_000)))
        change = self.complete(store, "a")
        assert change.more
        assert len(change.ready) <= 500
        released = self.finish_releases(store, change)
        assert sorted(released) == sorted(f"d{n}" for n in range(5_000))
        assert self.counts(store) == {"completed": 1, "waiting": 5_000}

    def test_what_is_left_to_tell_is_told_by_the_clock(self, store: Store) -> None:
        self.add(store, new("a"), *(new(f"d{n}", dependencies=("a",)) for n in range(700)))
        change = self.fail(store, "a", reason="no")
        assert change.more
        left = store.transitions.release(1_000)
        assert not left.more
        assert self.counts(store) == {"failed": 701}
        assert len(store.queries.find(QUEUE, [State.FAILED])) == 701

    def test_a_diamond_of_ten_thousand_jobs(self, store: Store) -> None:
        self.add(store, new("top"))
        middle = [f"m{n}" for n in range(9_998)]
        for start in range(0, len(middle), 2_000):
            self.add(store, *(new(one, "middle", dependencies=("top",)) for one in middle[start : start + 2_000]))
        self.add(store, new("bottom", dependencies=tuple(middle)))
        released = self.finish_releases(store, self.complete(store, "top"))
        assert sorted(released) == sorted(middle)
        assert self.take_all(store, middle, "middle") == ["bottom"]
        assert self.counts(store, "middle") == {"completed": 9_998}
        assert self.states(store, "bottom") == ["waiting"]
