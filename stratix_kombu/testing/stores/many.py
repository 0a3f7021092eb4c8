"""Jobs with more edges than a step touches, and queues with more crowded jobs: what is left over is done by further
steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stratix_kombu.errors import DependencyCycle, DependencyNotFound
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Change, NewJob
from stratix_kombu.model.state import State, Sweep
from stratix_kombu.stores.contract import PAGE, Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, native, new

MANY = 2 * PAGE + 50


class ManySuite(StoreCase):
    def settled(self, store: Store, change: Change) -> None:
        self.finish_releases(store, change)

    def parts(self, store: Store, prefix: str, count: int = MANY) -> tuple[str, ...]:
        names = tuple(f"{prefix}{n:04}" for n in range(count))
        self.add(store, *(new(name, prefix) for name in names))
        return names

    def test_removing_a_job_with_many_dependencies(self, store: Store) -> None:
        parts = self.parts(store, "p")
        self.add(store, new("all", dependencies=parts))
        self.settled(store, store.transitions.remove("all"))
        assert [store.queries.dependents(one) for one in parts] == [[]] * MANY
        for part in parts:
            self.settled(store, store.transitions.remove(part))

    def test_an_id_used_again_keeps_its_edges_while_those_of_the_earlier_job_are_forgotten(self, store: Store) -> None:
        parts = self.parts(store, "p")
        self.add(store, new("all", dependencies=parts))
        change = store.transitions.remove("all")
        self.add(store, new("all", dependencies=(parts[0], parts[-1])))
        self.settled(store, change)
        assert [part for part in parts if store.queries.dependents(part)] == [parts[0], parts[-1]]
        assert self.take_all(store, parts, "p") == ["all"]

    def test_a_dependency_that_ends_meanwhile_loses_nothing(self, store: Store) -> None:
        parts = self.parts(store, "p")
        self.add(store, new("all", dependencies=parts))
        change = store.transitions.remove("all")
        self.take_all(store, parts, "p")
        self.settled(store, change)
        assert store.transitions.recover(1).lost == ()
        assert [store.queries.dependents(part) for part in parts] == [[]] * MANY

    def test_sweeping_jobs_with_many_edges_in_all(self, store: Store) -> None:
        parts = self.parts(store, "p", 60)
        names = [f"j{n}" for n in range(40)]
        self.add(store, *(new(name, dependencies=parts) for name in names))
        change = store.transitions.sweep(QUEUE, Sweep.REMOVE, State.BLOCKED)
        assert sorted(change.affected) == sorted(names)
        self.settled(store, change)
        assert [store.queries.dependents(part) for part in parts] == [[]] * 60

    def test_retrying_one_of_many_dependencies(self, store: Store) -> None:
        parts = self.parts(store, "p")
        self.add(store, new("all", dependencies=parts))
        self.fail(store, parts[0], queue="p")
        assert self.states(store, "all") == ["failed"]
        self.settled(store, store.transitions.retry(parts[0]))
        assert self.states(store, "all") == ["blocked"]
        assert self.record(store, "all").failed_reason is None
        assert self.take_all(store, parts, "p") == ["all"]

    def test_retrying_one_of_many_of_which_another_has_failed(self, store: Store) -> None:
        parts = self.parts(store, "p")
        self.add(store, new("all", dependencies=parts))
        self.settled(store, self.fail(store, parts[0], queue="p"))
        self.settled(store, self.fail(store, parts[-1], queue="p", reason="too"))
        self.settled(store, store.transitions.retry(parts[0]))
        assert self.states(store, "all") == ["failed"]
        assert self.record(store, "all").failed_reason == f"dependency {parts[-1]} failed: too"
        self.settled(store, store.transitions.retry(parts[-1]))
        assert self.states(store, "all") == ["blocked"]

    def test_many_that_depend_on_one_and_fail_and_wait_again(self, store: Store) -> None:
        self.add(store, new("a"), *(new(f"d{n}", "d", dependencies=("a",)) for n in range(MANY)))
        self.settled(store, self.fail(store, "a"))
        assert self.counts(store, "d") == {"failed": MANY}
        self.settled(store, store.transitions.retry("a"))
        assert self.counts(store, "d") == {"blocked": MANY}

    @pytest.mark.parametrize("kind", [new, native])
    def test_all_that_were_refused_may_try(self, store: Store, kind: Callable[[str], NewJob]) -> None:
        parts = [f"p{n:04}" for n in range(MANY)]
        self.add(store, *(kind(part) for part in parts))
        claimed = store.transitions.claim(QUEUE, parts, "w", LEASE_MS, Bounds(global_concurrency=1))
        assert len(claimed.refused) == MANY - 1
        store.transitions.pause(QUEUE)
        store.transitions.set_global_concurrency(QUEUE, 0)
        pages, more = [], True
        while more:
            change = store.transitions.resume(QUEUE)
            pages.append(len(change.ready))
            more = change.more
        assert max(pages) <= PAGE
        assert sum(pages) == MANY - 1

    def test_many_edges_at_once_all_or_none(self, store: Store) -> None:
        parts = self.parts(store, "p")
        self.add(store, new("a"), new("b", dependencies=("a",)))
        with pytest.raises(DependencyNotFound) as unknown:
            store.transitions.add_dependency("a", *parts[:3], "nobody", parts[3])
        assert unknown.value.dependency_id == "nobody"
        with pytest.raises(DependencyCycle):
            store.transitions.add_dependency("a", *parts[:3], "b")
        assert (store.queries.dependencies("a"), self.states(store, "a")) == ({}, ["waiting"])
        store.transitions.add_dependency("a", *parts, parts[0])
        store.transitions.add_dependency("a", *parts)
        assert self.record(store, "a").pending == MANY
        assert self.take_all(store, parts, "p") == ["a"]

    @pytest.mark.parametrize("bad", [0, 1])
    def test_many_edges_to_what_has_ended(self, store: Store, bad: int) -> None:
        self.add(store, new("good"), new("bad"), new("a"), new("open"))
        self.complete(store, "good")
        self.fail(store, "bad")
        store.transitions.add_dependency("a", "good", "open", *["bad"] * bad)
        assert self.states(store, "a") == (["failed"] if bad else ["blocked"])

    def test_a_cycle_is_found_in_a_large_graph(self, store: Store) -> None:
        """Behind `low` there are many, and before `high` as well."""
        below, above = self.parts(store, "p"), [f"q{n:04}" for n in range(MANY)]
        self.add(store, new("low", dependencies=below), new("middle", dependencies=("low",)))
        self.add(store, new("high", dependencies=("middle",)), *(new(one, dependencies=("high",)) for one in above))
        for job_id, dependency in ((below[-1], above[-1]), ("low", "high"), ("low", above[0]), (below[0], "low")):
            with pytest.raises(DependencyCycle):
                store.transitions.add_dependency(job_id, dependency)
        self.add(store, new("other"), *(new(f"r{n:04}", dependencies=("other",)) for n in range(MANY)))
        store.transitions.add_dependency("other", "high")
        with pytest.raises(DependencyCycle):
            store.transitions.add_dependency("middle", f"r{MANY - 1:04}")
        assert store.queries.dependencies("other") == {"high": State.BLOCKED}
