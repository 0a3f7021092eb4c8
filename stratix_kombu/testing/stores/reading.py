"""Reading what is long: in pages, and nothing is passed over."""

from __future__ import annotations

import pytest

from stratix_kombu.model.record import WorkerInfo
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import FOUND_AT_ONCE, Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new
from stratix_kombu.testing.stores.parts import schedule

MANY = FOUND_AT_ONCE + 230


class ReadingSuite(StoreCase):
    def scan(self, store: Store, state: State, limit: int) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page, cursor = store.queries.scan(QUEUE, state, cursor, limit)
            assert len(page) <= limit
            found += self.ids(page)
            if not cursor:
                return found

    def test_finding_is_bounded(self, store: Store) -> None:
        names = [f"{n:05}" for n in range(MANY)]
        self.add(store, *(new(name) for name in names))
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == names[:FOUND_AT_ONCE]
        assert self.ids(store.queries.find(QUEUE, list(State), 5, MANY)) == names[5 : 5 + FOUND_AT_ONCE]
        assert self.ids(store.queries.find(QUEUE, [State.WAITING], FOUND_AT_ONCE)) == names[FOUND_AT_ONCE:]
        assert self.ids(store.queries.find(QUEUE, [State.WAITING], -3, -2)) == names[-3:-1]

    def test_scanning_reads_every_record(self, store: Store) -> None:
        names = [f"{n:02}" for n in range(25)]
        self.add(store, *(new(name, priority=int(name) % 3) for name in names))
        in_order = sorted(names, key=lambda name: (int(name) % 3, name))
        assert self.scan(store, State.WAITING, 7) == in_order
        assert self.scan(store, State.WAITING, 25) == in_order
        assert self.scan(store, State.FAILED, 7) == []
        self.complete(store, *names)
        assert self.scan(store, State.COMPLETED, 10) == names, "the oldest first"

    def test_scanning_passes_over_none_that_stays(self, store: Store) -> None:
        """However many leave between two pages, those that were read and others."""
        names = [f"{n:02}" for n in range(30)]
        self.add(store, *(new(name) for name in names))
        page, cursor = store.queries.scan(QUEUE, State.WAITING, "", 10)
        gone = {*names[:5], names[9], *names[12:14]}
        for one in gone:
            store.transitions.remove(one)
        found = self.ids(page)
        while cursor:
            page, cursor = store.queries.scan(QUEUE, State.WAITING, cursor, 10)
            found += self.ids(page)
        assert {*names} - gone <= {*found}
        assert len(found) == len(set(found))

    def test_the_states_of_many(self, store: Store) -> None:
        self.add(store, new("a"), new("b", delay_ms=60_000))
        self.complete(store, "a")
        assert store.queries.states(["b", "none", "a"]) == [State.DELAYED, None, State.COMPLETED]
        assert store.queries.states([]) == []

    @pytest.mark.parametrize("count", [3, 1_200])
    def test_a_job_with_many_neighbours(self, store: Store, count: int) -> None:
        before, after = [f"b{n:04}" for n in range(count)], [f"a{n:04}" for n in range(count)]
        self.add(store, *(new(one) for one in before))
        self.add(store, new("middle", dependencies=tuple(before)))
        self.add(store, *(new(one, dependencies=("middle",)) for one in after))
        self.complete(store, before[0])
        states = store.queries.dependencies("middle")
        assert sorted(states) == before
        assert (states[before[0]], states[before[-1]]) == (State.COMPLETED, State.WAITING)
        assert store.queries.dependency_results("middle") == {before[0]: "null"}
        assert store.queries.dependents("middle") == after
        ids = [before[0], "middle", after[0]]
        found = [(sorted(one), other) for one, other in store.queries.edges(ids)]
        assert found == [([], ["middle"]), (before, after), (["middle"], [])]

    def test_all_workers_and_all_that_one_holds(self, store: Store) -> None:
        workers = [f"w{n:03}" for n in range(600)]
        for worker in workers:
            store.transitions.renew([WorkerInfo(id=worker, queue=QUEUE)], [], LEASE_MS)
        assert self.ids(store.queries.workers(QUEUE)) == workers
        names = [f"{n:04}" for n in range(1_200)]
        self.add(store, *(new(name) for name in names))
        for start in range(0, 1_200, 400):
            self.claim(store, *names[start : start + 400], worker=workers[start // 400])
        assert sorted(one.job_id for one in store.queries.held(QUEUE, workers[1])) == names[400:800]

    def test_all_names_of_queues(self, store: Store) -> None:
        names = [f"q{n:04}" for n in range(1_200)]
        self.add(store, *(new(f"j{name}", name) for name in names))
        assert store.queries.queues() == names

    def test_all_schedules_and_one(self, store: Store) -> None:
        keys = [f"k{n:04}" for n in range(700)]
        for key in keys:
            store.schedules.put(schedule(key))
        store.schedules.put(schedule("other", queue="other"))
        assert [one.key for one in store.schedules.all()] == [*keys, "other"]
        assert [one.key for one in store.schedules.all("other")] == ["other"]
        assert store.schedules.get("k0005") == schedule("k0005")
        assert store.schedules.get("none") is None
