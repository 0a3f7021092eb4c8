"""Jobs that depend on one that a deduplication did not add, in the same call: they depend on the one that is there."""

from __future__ import annotations

from stratix_kombu.model.record import KEEP_NONE, Deduplication
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import StoreCase, new

ONCE = Deduplication("d")
A_MINUTE = Deduplication("m", 60_000)
LAST = Deduplication("l", replace=True)
FAR_MS = 60_000


class StandInSuite(StoreCase):
    def edges(self, store: Store, job_id: str) -> list[str]:
        ((before, _),) = store.queries.edges([job_id])
        return sorted(before)

    def test_a_dependent_waits_for_the_job_that_is_there(self, store: Store) -> None:
        self.add(store, new("first", delay_ms=FAR_MS, deduplication=ONCE))
        added = store.transitions.add(
            [new("child", deduplication=ONCE), new("other"), new("sum", "far", dependencies=("child", "other"))]
        )
        assert added.instead == (("child", "first"),)
        assert [one and (one.state.value, one.pending) for one in added.placed] == [
            None,
            ("waiting", 0),
            ("blocked", 2),
        ]
        assert self.edges(store, "sum") == ["first", "other"]
        assert [one.id for one in store.queries.roots()[0]] == ["sum"]
        assert self.ids(self.complete(store, "other").ready) == []
        store.transitions.promote_job("first")
        assert self.ids(self.complete(store, "first", result="5").ready) == ["sum"]
        assert store.queries.dependency_results("sum")["first"] == "5"

    def test_one_that_has_ended_counts_as_such(self, store: Store) -> None:
        broken, brief = Deduplication("broken", 60_000), Deduplication("brief", 60_000)
        self.add(
            store,
            new("done", deduplication=A_MINUTE),
            new("failed", deduplication=broken),
            new("gone", deduplication=brief, keep_completed=KEEP_NONE),
        )
        self.complete(store, "done", "gone")
        self.fail(store, "failed")
        for name, given in (("a", A_MINUTE), ("b", broken), ("c", brief)):
            self.add(store, new(f"{name}0", deduplication=given), new(name, dependencies=(f"{name}0",)))
        assert self.states(store, "a", "b", "c") == ["waiting", "failed", "failed"]
        reasons = [self.record(store, one).failed_reason for one in "bc"]
        assert reasons == ["dependency failed failed: broken", "dependency gone was removed"]

    def test_a_later_job_under_the_id_of_one_that_has_gone_is_not_meant(self, store: Store) -> None:
        self.add(store, new("first", deduplication=A_MINUTE, keep_completed=KEEP_NONE))
        self.complete(store, "first")
        self.add(store, new("first"))
        self.add(store, new("child", deduplication=A_MINUTE), new("sum", dependencies=("child",)))
        assert self.states(store, "first", "sum") == ["waiting", "failed"]

    def test_two_of_one_call(self, store: Store) -> None:
        self.add(store, new("a", deduplication=ONCE), new("b", deduplication=ONCE), new("sum", dependencies=("a", "b")))
        assert (self.edges(store, "sum"), self.record(store, "sum").pending) == (["a"], 1)
        assert self.ids(self.complete(store, "a").ready) == ["sum"]

    def test_one_that_replaces_another_is_waited_for(self, store: Store) -> None:
        self.add(store, new("before", delay_ms=FAR_MS, deduplication=LAST))
        self.add(
            store,
            new("a", delay_ms=FAR_MS, deduplication=LAST),
            new("b", delay_ms=FAR_MS, deduplication=LAST),
            new("sum", dependencies=("before", "a", "b")),
        )
        assert self.states(store, "before", "a", "b", "sum") == ["gone", "gone", "delayed", "blocked"]
        assert self.edges(store, "sum") == ["b"]

    def test_one_that_replaces_what_it_depends_on_fails(self, store: Store) -> None:
        self.add(
            store, new("a", delay_ms=FAR_MS, deduplication=LAST), new("b", dependencies=("a",), deduplication=LAST)
        )
        assert self.states(store, "a", "b") == ["gone", "failed"]

    def test_what_a_job_that_is_not_added_depends_on_is_added(self, store: Store) -> None:
        self.add(store, new("first", delay_ms=FAR_MS, deduplication=ONCE))
        self.add(
            store,
            new("below"),
            new("child", deduplication=ONCE, dependencies=("below",)),
            new("sum", dependencies=("child",)),
        )
        assert self.states(store, "below", "child", "first", "sum") == ["waiting", "gone", "delayed", "blocked"]
        assert (self.edges(store, "first"), self.edges(store, "sum")) == ([], ["first"])

    def test_it_is_forgotten_with_the_call(self, store: Store) -> None:
        self.add(store, new("first", deduplication=ONCE))
        self.add(store, new("child", deduplication=ONCE), new("sum", dependencies=("child",)))
        self.add(store, new("child"), new("later", dependencies=("child",)))
        assert self.edges(store, "later") == ["child"]
