"""Random programs in which jobs are taken: order, groups, limits, bounds, holds, pauses, permits. All stores must
answer the same, and the rules of who is next hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from redis import Redis

from stratix_kombu.model.claims import Bounds, Taken
from stratix_kombu.model.limiter import ahead_ms
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import Completion, Limit, NewJob
from stratix_kombu.model.state import Refusal, State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.stores.memory import MemoryStore
from stratix_kombu.stores.memory.state import Job, Space
from tests.conformance.opened import one_of_each, run_model, with_postgres
from tests.conformance.redis_audit import audit_order
from tests.conformance.seen import plain
from tests.conformance.test_store_model import FAR_MS, IDS, LEASE_MS, QUEUES, Stores, queue_of

ids = st.sampled_from(IDS)
queues = st.sampled_from(QUEUES)
MESSAGE = '{"body":"","headers":{},"properties":{}}'
OWN = {
    "none": None,
    "one": Limit("one", 1, FAR_MS),
    "two": Limit("two", 2, FAR_MS),
    "bucket": Limit("bucket", 3, refill_per_s=0.0001),
}
own_limits = st.sampled_from(["none", "none", *OWN])
groups = st.sampled_from(["", "", "g", "h"])
bounds = st.builds(
    Bounds,
    limit=st.sampled_from([None, None, Limit("w", 2, FAR_MS), Limit("w", 4, FAR_MS)]),
    global_concurrency=st.sampled_from([0, 0, 1, 2]),
    group_concurrency=st.sampled_from([0, 0, 1]),
)


def _told(taken: Taken) -> Any:
    """The answer without instants."""
    granted = [(one.record.id, one.token, plain(one.record)) for one in taken.claims]
    return granted, taken.why, bool(taken.until_ms), taken.left


class TakingStores(Stores):
    """With the rules of ``Stores``, which claim by id."""

    url = ""

    @property
    def space(self) -> Space:
        memory = self.stores[0]
        assert isinstance(memory, MemoryStore)
        return memory._space

    @rule(
        chosen=st.lists(
            st.tuples(ids, own_limits, groups, st.integers(0, 2), st.sampled_from([False, False, True])),
            min_size=1,
            max_size=5,
        )
    )
    def add_for_taking(self, chosen: list[Any]) -> None:
        jobs = [
            NewJob(
                id=one,
                queue=queue_of(one),
                name=f"n{one}",
                limit=OWN[own],
                group=group,
                priority=priority,
                message=MESSAGE if native else "",
                max_attempts=3,
            )
            for one, own, group, priority, native in chosen
        ]
        self.both(lambda store: store.transitions.add(jobs))

    @rule(
        queue=queues,
        want=st.integers(1, 4),
        given_bounds=bounds,
        permits=st.integers(0, 3),
        worker=st.sampled_from("wv"),
    )
    def take(self, queue: str, want: int, given_bounds: Bounds, permits: int, worker: str) -> None:
        request = new_request()
        before, active = self._waiting(queue), self._active(queue)

        def step(store: Store) -> Any:
            take = store.transitions.take
            return _told(take(queue, worker, LEASE_MS, want, given_bounds, permits=permits, request=request))

        answer = self.both(step)
        granted, why, _, left = answer
        started = [job_id for job_id, *_ in granted]
        self.tokens.update((job_id, token) for job_id, token, _ in granted)
        self._check(queue, before, active, started, given_bounds)
        assert (why is None) == (len(started) == want)
        assert not (left and why in (Refusal.PAUSED, Refusal.LIMITED, Refusal.CROWDED))
        self.last = step, answer
        if why is Refusal.EMPTY and not granted:
            self.last = None  # asked again, it may be given what came since

    @rule(
        chosen=st.lists(ids, max_size=3, unique=True),
        queue=queues,
        want=st.integers(0, 3),
        given_bounds=bounds,
        worker=st.sampled_from("wv"),
    )
    def complete_and_take(self, chosen: list[str], queue: str, want: int, given_bounds: Bounds, worker: str) -> None:
        request, results = new_request(), [Completion(one, self.tokens.get(one, ""), "1") for one in chosen]
        ready: list[Any] = []

        def step(store: Store) -> Any:
            change, taken = store.transitions.complete_and_take(
                results, queue, worker, LEASE_MS, want, given_bounds, permits=1, request=request
            )
            ready.append(change.ready)
            return change.stale, change.more, _told(taken)

        answer = self.both(step)
        assert ready[0] == ready[1]
        granted, why, *_ = answer[2]
        self.tokens.update((job_id, token) for job_id, token, _ in granted)
        if not (answer[1] or (why is Refusal.EMPTY and not granted)):
            self.last = step, answer

    def _waiting(self, queue: str) -> list[Job]:
        """Those that may be taken, in their order, whatever keeps them from starting."""
        jobs = [self.space.jobs[one] for one in self.space.queues[queue].ids[State.WAITING]]
        return sorted((replace(one) for one in jobs if not one.new.native), key=lambda one: one.key)

    def _active(self, queue: str) -> int:
        return len(self.space.queues[queue].ids[State.ACTIVE])

    def _check(self, queue: str, before: list[Job], active: int, started: list[str], given: Bounds) -> None:
        """No job starts while an eligible one of better order waits, and no bound is exceeded."""
        here = self.space.queues[queue]
        most = given.global_concurrency if here.global_concurrency is None else here.global_concurrency
        assert not (most and started and active + len(started) > most)
        assert not (here.paused and started)
        ordered = [one.new.id for one in before]
        assert started == [one for one in ordered if one in started], "in their order"
        last = ordered.index(started[-1]) if started else 0
        for passed in (one for one in before[:last] if one.new.id not in started):
            assert self._is_closed(passed, given), f"{passed.new.id} was passed over"
        if given.group_concurrency:
            for group in {self.space.jobs[one].new.group for one in started} - {""}:
                assert here.order.active[group] <= max(given.group_concurrency, 1)

    def _is_closed(self, job: Job, given: Bounds) -> bool:
        limit, group = job.new.limit, job.new.group
        now, order = self.space.now(), self.space.queues[job.new.queue].order
        if limit is not None:
            starts = self.space.limits.get((limit.key, bool(limit.refill_per_s)))
            if starts is not None and starts.free_at(limit, now) > now + ahead_ms(limit):
                return True
        return bool(group and given.group_concurrency and order.active[group] >= given.group_concurrency)

    @rule(queue=queues, given_bounds=bounds, wanted=st.lists(ids, max_size=3))
    def claim_bounded(self, queue: str, given_bounds: Bounds, wanted: list[str]) -> None:
        request = new_request()

        def step(store: Store) -> Any:
            claimed = store.transitions.claim(queue, wanted, "w", LEASE_MS, given_bounds, request=request)
            granted = [(one.record.id, one.token, plain(one.record)) for one in claimed.claims]
            return granted, [(one.job_id, one.why, bool(one.retry_ms)) for one in claimed.refused]

        answer = self.both(step)
        self.tokens.update((job_id, token) for job_id, token, _ in answer[0])

    @rule(queue=queues, limit=st.sampled_from([None, Limit("set", 1, FAR_MS), Limit("set", 3, FAR_MS)]))
    def limit(self, queue: str, limit: Limit | None) -> None:
        self.both(lambda store: store.transitions.set_limit(queue, limit))

    @rule(queue=queues, lost=st.sampled_from([(0, None), (0, 0), (FAR_MS, 0), (FAR_MS, 3)]))
    def redeliver(self, queue: str, lost: tuple[int, int | None]) -> None:
        self.both(lambda store: store.transitions.redeliver(queue, *lost))

    @rule(worker=st.sampled_from("wv"), queue=queues)
    def leave(self, worker: str, queue: str) -> None:
        self.both(lambda store: store.transitions.leave(worker, [queue]))

    @rule(due=st.lists(ids, min_size=2, max_size=5, unique=True))
    def add_for_one_instant(self, due: list[str]) -> None:
        """Promoted together, they have the order in which they came."""
        at = 4_000_000_000_000
        self.both(
            lambda store: store.transitions.add(
                [NewJob(id=one, queue=queue_of(one), name="due", due_ms=at) for one in due]
            )
        )

    @rule(queue=queues)
    def promote_all(self, queue: str) -> None:
        self.both(lambda store: store.transitions.sweep(queue, Sweep.PROMOTE, State.DELAYED).affected)

    @invariant()
    def order_is_the_same(self) -> None:
        for queue in QUEUES:
            self.alike(lambda store, queue=queue: [one.id for one in store.queries.find(queue, [State.WAITING])])

    def teardown(self) -> None:
        for store in self.stores[1:2] if self.url else ():
            namespace = store.transitions._scripts._base[1:-1]  # type: ignore[attr-defined]
            with Redis.from_url(self.url, decode_responses=True) as client:
                assert audit_order(client, namespace) == []
        super().teardown()


@pytest.mark.timeout(600)  # many random programs; how long they take depends on the machine
def test_all_stores_agree_on_who_is_next(redis_url: str, tmp_path: Path) -> None:
    url = f"{redis_url.rpartition('/')[0]}/9"  # a database of its own: the audit looks at all keys
    machine = type("TakingStores", (TakingStores,), {"url": url})
    run_model(machine, lambda: one_of_each(url, tmp_path), 80, 40)


@pytest.mark.timeout(600)  # many random programs; how long they take depends on the machine
def test_postgres_agrees_on_who_is_next(postgres_database: str) -> None:
    run_model(TakingStores, lambda: with_postgres(postgres_database), 25, 40)
