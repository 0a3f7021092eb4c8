"""The same steps from many threads at once: each happens once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

from stratix_kombu.errors import JobAlreadyStarted, StratixError
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.record import Completion, Failure, Limit
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, gather, new, until
from stratix_kombu.testing.stores.parts import schedule

THREADS = 8


def together(work: Callable[[int], None], threads: int = THREADS) -> None:
    """Call ``work(number)`` in as many threads, started at one moment; raise the first error."""
    barrier = threading.Barrier(threads)
    problems: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as problem:
            problems.append(problem)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if problems:
        raise problems[0]


class ConcurrencySuite(StoreCase):
    def test_one_of_many_adds_the_job(self, store: Store) -> None:
        ready: list[str] = []
        together(lambda number: ready.extend(self.add(store, new("same", data=str(number)))))
        assert ready == ["same"]
        assert Counter(name for name, _ in self.emitted(store)) == {"waiting": 1, "duplicated": THREADS - 1}

    def test_one_of_many_claims_a_job(self, store: Store) -> None:
        ids = [f"{n}" for n in range(100)]
        self.add(store, *(new(job_id) for job_id in ids))
        claimed: list[str] = []
        together(lambda number: claimed.extend(c.record.id for c in self.claim(store, *ids, worker=f"w{number}")))
        assert sorted(claimed) == sorted(ids)

    def test_one_of_many_ends_the_attempt(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        stale: list[str] = []

        def end(number: int) -> None:
            if number % 2:
                stale.extend(store.transitions.complete([Completion("a", claim.token, "1")]).stale)
            else:
                stale.extend(store.transitions.fail([Failure("a", claim.token, "no", retry_ms=0)]).stale)

        together(end)
        assert len(stale) == THREADS / 2, "the others asked again for what the first one did"
        assert self.record(store, "a").attempts_made == 1

    def test_a_lease_is_recovered_once(self, store: Store) -> None:
        self.add(store, *(new(f"{n}") for n in range(50)))
        self.claim(store, *(f"{n}" for n in range(50)), lease_ms=1)
        recovered: list[str] = []

        def recover(number: int) -> None:
            gather(lambda: store.transitions.recover(5, 7).affected, 50, recovered)

        together(recover)
        assert Counter(recovered) == Counter(f"{n}" for n in range(50))

    def test_a_delayed_job_is_promoted_once(self, store: Store) -> None:
        ready = self.add(store, *(new(f"{n}", delay_ms=50) for n in range(50)))

        def promote(number: int) -> None:
            gather(lambda: self.ids(store.transitions.promote(7)[0].ready), 50, ready)

        together(promote)
        assert Counter(ready) == Counter(f"{n}" for n in range(50))

    def test_a_slot_is_fired_once(self, store: Store) -> None:
        store.schedules.put(schedule("s", 1_000))
        fired: list[int] = []

        def fire(number: int) -> None:
            if store.schedules.fire("s", 1_000, 2_000, new(f"run-{number}")) is not None:
                fired.append(number)

        together(fire)
        assert len(fired) == 1
        assert self.counts(store) == {"waiting": 1}

    def test_a_lock_has_one_owner_at_a_time(self, store: Store) -> None:
        inside, most = [0], [0]

        def work(number: int) -> None:
            for turn in range(5):
                token = f"{number}-{turn}"
                until(partial(store.locks.acquire, "k", token, 60_000))
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1
                assert store.locks.release("k", token)

        together(work)
        assert most == [1]

    def test_a_limit_holds_for_all_claimers(self, store: Store) -> None:
        self.add(store, *(new(f"{n}") for n in range(80)))
        limit = Limit("api", 10, 60_000)
        claimed: list[str] = []

        def work(number: int) -> None:
            mine = [f"{n}" for n in range(number, 80, THREADS)]
            claims = store.transitions.claim(QUEUE, mine, "w", LEASE_MS, Bounds(limit)).claims
            claimed.extend(claim.record.id for claim in claims)

        together(work)
        assert len(claimed) == 10
        assert self.counts(store) == {"active": 10, "waiting": 70}

    def test_no_window_holds_more_than_it_may_whoever_takes(self, store: Store) -> None:
        """Of the queue, and of a key that some of the jobs share."""
        key = Limit("key", 5, 60)
        self.add(store, *(new(f"{n}", limit=key if n % 2 else None) for n in range(90)))
        bounds, starts = Bounds(Limit("api", 15, 60)), dict[str, int]()

        def work(number: int) -> None:
            def all_started() -> bool:
                for claim in self.take(store, 4, bounds, worker=f"w{number}").claims:
                    starts[claim.record.id] = claim.record.processed_ms
                return len(starts) == 90

            until(all_started)

        together(work)
        for most, ids in ((15, starts), (5, [start for start in starts if int(start) % 2])):
            instants = sorted(starts[job_id] for job_id in ids)
            assert all(later - first >= 60 for first, later in zip(instants, instants[most:], strict=False))

    def test_one_of_many_takes_a_job(self, store: Store) -> None:
        self.add(store, *(new(f"{n:03}", group=f"g{n % 7}") for n in range(200)))
        bounds = Bounds(group_concurrency=20)
        taken: list[str] = []

        def work(number: int) -> None:
            while ids := self.taken(store, 5, bounds, worker=f"w{number}"):
                taken.extend(ids)

        together(work)
        assert sorted(taken) == sorted(set(taken))
        assert Counter(int(one) % 7 for one in taken) == dict.fromkeys(range(7), 20)

    def test_edges_added_while_dependencies_end(self, store: Store) -> None:
        """Whatever comes first, a dependent is released exactly once or was released before."""
        dependencies = [f"d{n}" for n in range(40)]
        self.add(store, *(new(dependency) for dependency in dependencies))
        self.add(store, new("gate"), *(new(f"w{n}", "waiting", dependencies=("gate",)) for n in range(40)))
        ready: list[str] = []

        def work(number: int) -> None:
            if number % 2:
                for n in range(number // 2, 40, THREADS // 2):
                    store.transitions.add_dependency(f"w{n}", f"d{n}")
            else:
                for n in range(number // 2, 40, THREADS // 2):
                    ready.extend(self.ids(self.complete(store, f"d{n}").ready))

        together(work)
        assert ready == []
        released = self.finish_releases(store, self.complete(store, "gate"))
        assert Counter(released) == Counter(f"w{n}" for n in range(40))

    def test_cycles_cannot_be_made_together(self, store: Store) -> None:
        self.add(store, new("gate"), *(new(f"{n}", dependencies=("gate",)) for n in range(THREADS)))
        refused: list[int] = []

        def work(number: int) -> None:
            try:
                store.transitions.add_dependency(f"{number}", f"{(number + 1) % THREADS}")
            except StratixError:
                refused.append(number)

        together(work)
        assert len(refused) == 1

    def test_started_or_blocked_but_never_both(self, store: Store) -> None:
        for turn in range(20):
            a, b = f"a{turn}", f"b{turn}"
            self.add(store, new(a), new(b))
            outcome: list[str] = []

            def work(number: int, a: str = a, b: str = b, outcome: list[str] = outcome) -> None:
                if number:
                    outcome.extend("claimed" for _ in self.claim(store, b))
                else:
                    try:
                        store.transitions.add_dependency(b, a)
                        outcome.append("blocked")
                    except JobAlreadyStarted:
                        pass

            together(work, 2)
            assert len(outcome) == 1
            assert self.states(store, b) == ["active" if outcome == ["claimed"] else "blocked"]
