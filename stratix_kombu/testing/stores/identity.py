"""A job is one incarnation: its number, and ids that are used again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stratix_kombu.errors import JobIdTaken
from stratix_kombu.model.record import ANY_CLAIM, GATE, KEEP_NONE, Completion, Deduplication, Retention
from stratix_kombu.model.state import State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, new, until

ONCE = Deduplication("d")
FOR_LONG = Deduplication("d", ttl_ms=60_000)


class IdentitySuite(StoreCase):
    # -- numbers, and what add answers ----------------------------------------------------------

    def test_each_job_has_a_number_that_is_not_used_again(self, store: Store) -> None:
        added = store.transitions.add([new("a"), new("b"), new("a"), new("c", "other")])
        first, second, double, third = added.placed
        assert first is not None
        assert second is not None
        assert third is not None
        assert double is None
        assert 0 < first.number < second.number < third.number
        assert [self.record(store, one).number for one in "abc"] == [first.number, second.number, third.number]
        store.transitions.sweep(QUEUE, Sweep.REMOVE, State.WAITING)
        assert store.transitions.forget_queue(QUEUE)
        (again,) = store.transitions.add([new("a")]).placed
        assert again is not None
        assert again.number > third.number
        (claim,) = self.claim(store, "a")
        assert claim.record.number == again.number

    def test_what_was_forgotten_comes_back_as_something_new(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        cursor = store.events.tail(QUEUE)
        store.transitions.sweep(QUEUE, Sweep.REMOVE, State.ACTIVE)
        self.add(store, new("later"))
        assert not store.transitions.forget_queue(QUEUE), "it has jobs"
        store.transitions.remove("later")
        assert store.transitions.forget_queue(QUEUE)
        again = self.start(store, new("a"))
        assert again.token != claim.token
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ("a",)
        events = store.events.read(QUEUE, cursor)
        assert [(event.name, event.missed) for event in events if event.name in ("waiting", "active")][-2:] == [
            ("waiting", 0),
            ("active", 0),
        ]
        assert store.events.read(QUEUE, events[-1].cursor) == []

    def test_who_waits_for_events_hears_them_although_the_queue_is_forgotten_meanwhile(self, store: Store) -> None:
        self.add(store, new("a"))
        cursor = store.events.tail(QUEUE)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(lambda: until(lambda: self.heard(store, cursor, "b")))
            store.transitions.remove("a")
            assert store.transitions.forget_queue(QUEUE)
            self.add(store, new("b"))
            assert reading.result(10)

    @staticmethod
    def heard(store: Store, cursor: str, job_id: str) -> bool:
        return any(one.job_id == job_id for one in store.events.read(QUEUE, cursor, wait_ms=50))

    def test_add_answers_what_became_of_each_job(self, store: Store) -> None:
        self.add(store, new("done"), new("broken"), new("open"))
        self.complete(store, "done")
        self.fail(store, "broken")
        jobs = [
            new("w"),
            new("d", delay_ms=60_000),
            new("p", dependencies=["open"]),
            new("r", dependencies=["done"]),
            new("f", dependencies=["broken"]),
            new("v", vacant=True),
            new("w"),
            new("l", dependencies=["w"]),
        ]
        placed = store.transitions.add(jobs).placed
        states = [one and one.state.value for one in placed]
        assert states == ["waiting", "delayed", "blocked", "waiting", "failed", "blocked", None, "blocked"]
        for job, one in zip(jobs, placed, strict=True):
            if one is not None:
                kept = self.record(store, job.id)
                assert (kept.state, kept.number, kept.created_ms) == (one.state, one.number, one.created_ms)
                assert (kept.due_ms, kept.pending) == (one.due_ms, one.pending)
        assert store.transitions.add([new("x", keep_failed=KEEP_NONE, dependencies=["broken"])]).placed[0] is not None

    def test_who_takes_the_place_of_a_placeholder_is_that_job(self, store: Store) -> None:
        (vacant,) = store.transitions.add([new("v", vacant=True)]).placed
        (taken,) = store.transitions.add([new("v", "other")]).placed
        assert vacant is not None
        assert taken is not None
        assert (taken.state, taken.number) == (State.WAITING, vacant.number)
        assert taken.created_ms == vacant.created_ms == self.record(store, "v").created_ms

    def test_a_mark_is_kept(self, store: Store) -> None:
        self.add(store, new("g", kind=GATE, vacant=True), new("u"))
        assert [self.record(store, one).kind for one in "gu"] == [GATE, ""]

    # -- ids of other queues --------------------------------------------------------------------

    @pytest.mark.parametrize("after", [False, True])
    def test_an_id_of_another_queue_adds_nothing(self, store: Store, after: bool) -> None:
        self.add(store, new("a", "other"))
        jobs = [new("b"), new("a", dependencies=["b"]), new("c")]
        with pytest.raises(JobIdTaken, match=r"'a'.*'other'") as refused:
            store.transitions.add(jobs[::-1] if after else jobs)
        assert (refused.value.job_id, refused.value.queue) == ("a", "other")
        assert self.states(store, "b", "c") == ["gone", "gone"]
        assert store.transitions.add([new("a", "other")]).duplicates == {"a"}

    def test_one_call_that_names_an_id_for_two_queues_adds_nothing(self, store: Store) -> None:
        with pytest.raises(JobIdTaken):
            store.transitions.add([new("a"), new("b"), new("a", "other")])
        assert self.states(store, "a", "b") == ["gone", "gone"]

    def test_many_ids_are_looked_at(self, store: Store) -> None:
        self.add(store, new("j2400", "other"))
        many = [new(f"j{number}") for number in range(2500)]
        with pytest.raises(JobIdTaken):
            store.transitions.add(many)
        assert self.counts(store) == {}
        store.transitions.remove("j2400")
        placed = store.transitions.add(many).placed
        numbers = [one.number for one in placed if one]
        assert len(numbers) == 2500
        assert numbers == sorted(set(numbers))

    # -- edges ----------------------------------------------------------------------------------

    def test_a_result_is_that_of_the_job_one_depended_on(self, store: Store) -> None:
        self.add(store, new("k", keep_completed=KEEP_NONE), new("slow"), new("p", dependencies=["k", "slow"]))
        self.complete(store, "k", result='"first"')
        self.add(store, new("k"), new("q", dependencies=["k"]))
        assert store.queries.dependency_results("p") == {"k": '"first"'}
        assert store.queries.dependencies("p") == {"k": State.COMPLETED, "slow": State.WAITING}
        assert store.queries.dependents("k") == ["q"]
        assert store.queries.edges(["p", "q"]) == [(["slow"], []), (["k"], [])]
        self.fail(store, "k")
        assert self.states(store, "p", "q") == ["blocked", "failed"]
        store.transitions.retry("k")
        self.complete(store, "k", result='"second"')
        self.complete(store, "slow")
        assert store.queries.dependency_results("p") == {"k": '"first"', "slow": "null"}
        assert store.queries.dependency_results("q") == {"k": '"second"'}
        assert self.complete(store, "p", "q").stale == ()

    def test_a_dependent_does_not_wait_for_the_next_job_of_that_id(self, store: Store) -> None:
        """It is removed with more dependents than one step releases, and its id is used again before they know."""
        self.add(store, new("k"), *(new(f"d{n}", dependencies=["k"], optional=n % 2 == 0) for n in range(600)))
        change = store.transitions.remove("k")
        assert change.more
        self.add(store, new("k"))
        self.finish_releases(store, change)
        assert self.counts(store) == {"waiting": 301, "failed": 300}
        store.transitions.remove("k")
        self.add(store, new("k"))
        assert self.counts(store) == {"waiting": 301, "failed": 300}

    def test_the_next_job_of_an_id_that_fails_and_runs_again_wakes_no_dependents_of_the_first(
        self, store: Store
    ) -> None:
        self.add(store, new("k"), new("p", dependencies=["k"]), new("e"), new("o", dependencies=["k", "e"]))
        store.transitions.remove("k")
        assert self.states(store, "p", "o") == ["failed", "failed"]
        self.add(store, new("k"))
        self.fail(store, "k")
        assert store.transitions.retry("k").ready
        assert self.states(store, "p", "o") == ["failed", "failed"]
        assert store.transitions.retry("p").ready
        assert self.states(store, "p") == ["waiting"]

    def test_edges_to_two_jobs_of_one_id_are_taken_away_each_by_itself(self, store: Store) -> None:
        self.add(store, new("k"), new("slow"), new("p", dependencies=["k", "slow"], optional=True))
        store.transitions.remove("k")
        self.add(store, new("k"), new("q", dependencies=["k"]))
        store.transitions.add_dependency("p", "k")
        assert self.record(store, "p").pending == 1
        store.transitions.remove_dependency("p", "k")
        assert store.queries.dependents("k") == ["q"]
        store.transitions.add_dependency("p", "k")
        assert (self.record(store, "p").pending, store.queries.dependents("k")) == (2, ["p", "q"])
        store.transitions.remove("p")
        assert store.queries.dependents("k") == ["q"]

    def test_a_cycle_is_one_of_jobs_and_not_of_ids(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=["a"], optional=True), new("x"))
        store.transitions.add_dependency("b", "x")
        store.transitions.remove("a")
        self.add(store, new("a"))
        store.transitions.add_dependency("a", "b")
        assert self.states(store, "a") == ["blocked"]

    def test_a_gate_is_no_dependency_that_is_told(self, store: Store) -> None:
        gate = new("g", kind=GATE, vacant=True, delay_ms=60_000, keep_completed=KEEP_NONE, keep_failed=KEEP_NONE)
        self.add(store, gate, new("north.gate"), new("p", dependencies=["g", "north.gate"]))
        self.add(store, new("s", dependencies=["g"]))
        assert store.queries.dependencies("p") == {"north.gate": State.WAITING}
        assert store.queries.edges(["p", "north.gate"]) == [(["north.gate"], []), ([], ["p"])]
        change = store.transitions.complete([Completion("g", ANY_CLAIM, "null")])
        assert self.ids(change.ready) == ["s"]
        self.complete(store, "north.gate", result="5")
        assert store.queries.dependency_results("p") == {"north.gate": "5"}
        assert store.queries.dependencies("p") == {"north.gate": State.COMPLETED}
        assert (self.states(store, "p"), store.queries.dependencies("s")) == (["waiting"], {})

    # -- age, and deduplication -----------------------------------------------------------------

    def test_the_age_of_an_earlier_job_of_that_id_removes_nothing(self, store: Store) -> None:
        self.add(store, new("k", keep_completed=Retention(age_ms=1)), new("m", keep_completed=Retention(age_ms=1)))
        self.complete(store, "k", "m")
        store.transitions.remove("k")
        self.add(store, new("k"))
        self.complete(store, "k")
        until(lambda: (store.transitions.expire(), self.states(store, "m") == ["gone"])[1])
        assert self.states(store, "k") == ["completed"]

    @pytest.mark.parametrize("once", [ONCE, FOR_LONG], ids=["while it runs", "for a time"])
    @pytest.mark.parametrize("way", ["remove", "sweep", "forgotten"])
    def test_a_job_that_was_removed_holds_no_deduplication_id(self, store: Store, once: Any, way: str) -> None:
        self.add(store, new("a", delay_ms=60_000, deduplication=once))
        assert store.transitions.add([new("b", deduplication=once)]).instead == (("b", "a"),)
        if way == "remove":
            store.transitions.remove("a")
        else:
            store.transitions.sweep(QUEUE, Sweep.REMOVE, State.DELAYED)
        if way == "forgotten":
            assert store.transitions.forget_queue(QUEUE)
        assert self.add(store, new("b", deduplication=once)) == ["b"]
        self.add(store, new("a"))
        store.transitions.remove("a")
        assert store.transitions.add([new("c", deduplication=once)]).instead == (("c", "b"),)

    def test_a_queue_that_is_forgotten_remembers_no_deduplication(self, store: Store) -> None:
        self.add(store, new("a", keep_completed=KEEP_NONE, deduplication=FOR_LONG))
        self.complete(store, "a")
        assert store.transitions.add([new("b", deduplication=FOR_LONG)]).instead == (("b", "a"),)
        assert store.transitions.forget_queue(QUEUE)
        assert self.add(store, new("b", deduplication=FOR_LONG)) == ["b"]

    def test_a_later_job_of_an_id_does_not_hold_what_the_first_one_held(self, store: Store) -> None:
        self.add(store, new("a", keep_completed=KEEP_NONE, deduplication=FOR_LONG))
        self.complete(store, "a")
        self.add(store, new("a", delay_ms=60_000))
        replacing = Deduplication("d", ttl_ms=60_000, replace=True)
        assert store.transitions.add([new("b", deduplication=replacing)]).instead == (("b", "a"),)
        assert self.states(store, "a", "b") == ["delayed", "gone"]

    def test_both_kinds_of_deduplication_share_their_ids(self, store: Store) -> None:
        self.add(store, new("a", deduplication=ONCE))
        assert store.transitions.add([new("b", deduplication=FOR_LONG)]).instead == (("b", "a"),)
        self.complete(store, "a")
        self.add(store, new("b", deduplication=FOR_LONG))
        self.complete(store, "b")
        assert store.transitions.add([new("c", deduplication=ONCE)]).instead == (("c", "b"),)

    @pytest.mark.parametrize("by_dependency", [False, True])
    def test_a_failed_job_that_runs_again_holds_its_deduplication_id(self, store: Store, by_dependency: bool) -> None:
        self.add(store, new("k"), new("a", deduplication=ONCE, dependencies=["k"] if by_dependency else ()))
        failing = "k" if by_dependency else "a"
        self.fail(store, failing)
        assert self.add(store, new("b", deduplication=ONCE)) == ["b"]
        store.transitions.retry(failing)
        assert store.transitions.add([new("c", deduplication=ONCE)]).instead == (("c", "b"),)
        self.complete(store, failing)
        assert store.transitions.add([new("c", deduplication=ONCE)]).instead == (("c", "b"),)
        store.transitions.remove("b")
        self.add(store, new("e", deduplication=ONCE))
        self.fail(store, "e")
        store.transitions.retry("e")
        assert store.transitions.add([new("f", deduplication=ONCE)]).instead == (("f", "e"),)

    def test_a_job_that_fails_at_once_frees_its_deduplication_id(self, store: Store) -> None:
        self.add(store, new("k"))
        self.fail(store, "k")
        self.add(store, new("a", deduplication=ONCE, dependencies=["k"]))
        assert self.add(store, new("b", deduplication=ONCE)) == ["b"]
