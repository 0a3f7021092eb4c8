"""Roots of flows."""

from __future__ import annotations

import pytest

from stratix_kombu.errors import DependencyNotFound
from stratix_kombu.model.names import gate_id
from stratix_kombu.model.record import ANY_CLAIM, KEEP_NONE, Completion
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import StoreCase, new


class FlowSuite(StoreCase):
    def roots(self, store: Store) -> list[str]:
        records, cursor = store.queries.roots()
        assert cursor == ""
        return [record.id for record in records]

    def test_the_last_to_run_is_the_root_and_newer_flows_are_first(self, store: Store) -> None:
        assert self.roots(store) == []
        self.add(store, new("alone"), new("a"), new("b", "other"), new("c", dependencies=("a", "b")))
        self.add(store, new("root", "third", dependencies=("c",)))
        self.add(store, new("one"), new("two", dependencies=("one",)))
        assert self.roots(store) == ["two", "root"]
        (two, root), _ = store.queries.roots()
        assert [two, root] == store.queries.get(["two", "root"])

    def test_one_stays_while_its_record_does(self, store: Store) -> None:
        self.add(
            store,
            new("a"),
            new("kept", dependencies=("a",)),
            new("gone", dependencies=("a",), keep_completed=KEEP_NONE),
        )
        self.finish_releases(store, self.complete(store, "a"))
        self.complete(store, "kept", "gone")
        assert self.roots(store) == ["kept"]
        store.transitions.remove("a")
        assert self.roots(store) == ["kept"]
        store.transitions.remove("kept")
        assert self.roots(store) == []

    def test_edges_that_come_and_go(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c"))
        store.transitions.add_dependency("b", "a")
        assert self.roots(store) == ["b"]
        store.transitions.add_dependency("c", "b")
        assert self.roots(store) == ["c"]
        store.transitions.remove_dependency("c", "b")
        assert self.roots(store) == [], "b is emitted only when an edge comes"

    def test_a_dependency_that_has_ended_counts_too(self, store: Store) -> None:
        self.add(store, new("a"))
        self.fail(store, "a")
        self.add(store, new("b", dependencies=("a",)))
        assert self.states(store, "b") == ["failed"]
        assert self.roots(store) == ["b"]

    def test_a_job_that_is_refused_is_none(self, store: Store) -> None:
        self.add(store, new("a"))
        with pytest.raises(DependencyNotFound):
            self.add(store, new("b", dependencies=("a", "nobody")))
        assert self.roots(store) == []

    def test_placeholders_and_what_carries_them(self, store: Store) -> None:
        self.add(store, new("vacant", vacant=True))
        self.add(store, new("a", carries=("vacant",)))
        assert self.roots(store) == ["vacant"]
        self.add(store, new("vacant"))
        assert self.roots(store) == [], "its dependencies are forgotten"

    def test_gates_belong_to_no_flow(self, store: Store) -> None:
        gate = gate_id("g")
        self.add(store, new(gate, kind="gate", vacant=True, delay_ms=60_000))
        self.add(store, new("alone", dependencies=(gate,)), new("a", dependencies=(gate,)))
        self.add(store, new("b", dependencies=(gate, "a")))
        assert self.roots(store) == ["b"]
        self.finish_releases(store, store.transitions.complete([Completion(gate, ANY_CLAIM, "null")]))
        assert self.states(store, "alone", "a", "b") == ["waiting", "waiting", "blocked"]
        assert self.roots(store) == ["b"]

    def test_page_by_page(self, store: Store) -> None:
        self.add(store, new("a"))
        names = [f"r{n:03}" for n in range(25)]
        self.add(store, *(new(name, dependencies=("a",)) for name in names))
        found, cursor, pages = list[str](), "", 0
        while True:
            records, cursor = store.queries.roots(cursor, 10)
            found += [record.id for record in records]
            pages += 1
            if not cursor:
                break
        assert (found, pages) == (names[::-1], 3)

    def test_many_edges(self, store: Store) -> None:
        names = [f"d{n:04}" for n in range(1_500)]
        self.add(store, *(new(name) for name in names))
        self.add(store, new("root", dependencies=tuple(names)))
        assert self.roots(store) == ["root"]
        change = store.transitions.remove("root")
        while change.more:
            change = store.transitions.release()
        assert self.roots(store) == []
