"""Looking at what is there: all queues at once, jobs that are looked for."""

from __future__ import annotations

from dataclasses import fields, replace

from stratix_kombu.model.overview import QueueOverview
from stratix_kombu.model.record import Limit, QueueStatus, WorkerInfo
from stratix_kombu.model.workers import WorkerProcess
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new, until


class LookingSuite(StoreCase):
    @staticmethod
    def overview(store: Store, limit: int = 200, minutes: int = 60) -> dict[str, QueueOverview]:
        """By name, page by page."""
        found: dict[str, QueueOverview] = {}
        page, after = store.queries.overview("", limit, minutes)
        found.update((one.name, one) for one in page)
        while after:
            page, after = store.queries.overview(after, limit, minutes)
            found.update((one.name, one) for one in page)
        return found

    def test_an_overview_without_queues(self, store: Store) -> None:
        assert store.queries.overview() == ([], "")

    def test_an_overview_says_what_each_queue_says(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c"), new("late", delay_ms=60_000), new("x", "other"))
        self.complete(store, "a")
        self.fail(store, "b")
        store.transitions.renew([WorkerInfo(id="w", queue=QUEUE)], [], LEASE_MS)
        limit = Limit("queue:other", 3, 5_000)
        store.transitions.pause("other")
        store.transitions.set_limit("other", limit)
        store.transitions.set_global_concurrency("other", 4)
        store.transitions.hold("other", 60_000)
        found = self.overview(store)
        assert found.keys() == {QUEUE, "other"}
        timed = {"oldest_waiting_ms", "overdue_ms"}
        for name, one in found.items():
            status = store.queries.status(name)
            for field in fields(QueueStatus):
                if field.name not in timed:
                    assert getattr(one, field.name) == getattr(status, field.name)
        mail, other = found[QUEUE], found["other"]
        assert (mail.counts["waiting"], mail.workers, mail.paused) == (1, 1, False)
        assert mail.oldest_waiting_ms is not None
        assert (mail.limit, mail.global_concurrency, mail.held_ms) == (None, None, 0)
        assert (other.counts["paused"], other.paused, other.global_concurrency) == (1, True, 4)
        assert other.limit == limit
        assert 0 < other.held_ms <= 60_000

    def test_an_overview_counts_by_minute(self, store: Store) -> None:
        self.add(store, *(new(name) for name in "abcd"))
        self.complete(store, "a", "b", "c")
        self.fail(store, "d")
        one = self.overview(store, minutes=10)[QUEUE]
        assert (len(one.completed), len(one.failed)) == (10, 10)
        assert (sum(one.completed[-2:]), sum(one.failed[-2:])) == (3, 1), "the minute may be over by now"
        assert (sum(one.completed), sum(one.failed)) == (3, 1)
        assert (one.recent.minutes, one.recent.completed, one.recent.failed) == (5, 3, 1)
        assert (one.recent.run.count, one.recent.wait.count) == (4, 4)
        short = self.overview(store, minutes=2)[QUEUE]
        assert (len(short.completed), short.recent.minutes, short.recent.completed) == (2, 2, 3)

    def test_an_overview_of_many_comes_in_pages(self, store: Store) -> None:
        names = [f"q{n:04}" for n in range(700)]
        self.add(store, *(new(f"j{name}", name) for name in names))
        found = self.overview(store, 100, 1)
        assert sorted(found) == names
        assert all(one.counts["waiting"] == 1 for one in found.values())

    def test_each_worker_once_with_its_queues(self, store: Store) -> None:
        assert store.queries.processes() == ([], "")
        both = [
            WorkerInfo(
                id="w1",
                queue=queue,
                host="here",
                pid=7,
                concurrency=slots,
                idle_ms=idle,
                stuck=1,
                version="1.2",
                started_ms=5,
            )
            for queue, slots, idle in (("a", 2, 9_000), ("b", 3, 50))
        ]
        shared = WorkerInfo(id="w2", queue="a", host="there", concurrency=8, slots=8)
        store.transitions.renew(both, [], LEASE_MS, every_ms=60_000)
        store.transitions.renew([shared, replace(shared, queue="c")], [], LEASE_MS)
        store.transitions.renew([WorkerInfo(id="w3", queue="a")], [], LEASE_MS)
        store.transitions.leave("w3", ["a"])
        store.clocks.lead("here-7-abc", 60_000)
        now = store.queries.now()
        page, after = store.queries.processes()
        assert after == ""
        first, second = sorted(page, key=lambda one: one.id)
        assert (first.id, first.host, first.pid, first.version, first.started_on) == ("w1", "here", 7, "1.2", 5)
        assert (first.queues, first.slots, first.stuck) == ({"a": 2, "b": 3}, 5, 2)
        assert first.last_take_on is not None
        assert now - 5_000 < first.last_take_on <= now, "on the queue where it took last"
        assert (first.leads_clock, first.clock_lag_ms) == (True, 0)
        assert (second.queues, second.slots, second.last_take_on) == ({"a": 8, "c": 8}, 8, None)
        assert (second.leads_clock, second.clock_lag_ms, second.started_on) == (False, None, None)
        self.add(store, new("late", delay_ms=1))
        until(lambda: any(one.clock_lag_ms for one in store.queries.processes()[0]))
        store.transitions.leave("w1", ["a", "b"])
        assert [one.id for one in store.queries.processes()[0]] == ["w2"]

    def test_workers_come_in_pages_and_may_serve_many_queues(self, store: Store) -> None:
        workers = [f"w{n:03}" for n in range(300)]
        for worker in workers:
            store.transitions.renew([WorkerInfo(id=worker, queue=QUEUE)], [], LEASE_MS)
        queues = {f"q{n:03}": n for n in range(120)}
        many = [WorkerInfo(id="many", queue=name, concurrency=slots) for name, slots in queues.items()]
        store.transitions.renew(many, [], LEASE_MS)
        found: dict[str, WorkerProcess] = {}
        page, after = store.queries.processes("", 50)
        found.update((one.id, one) for one in page)
        while after:
            page, after = store.queries.processes(after, 50)
            found.update((one.id, one) for one in page)
        assert sorted(found) == ["many", *workers]
        assert (found["many"].queues, found["many"].slots) == (queues, sum(queues.values()))
