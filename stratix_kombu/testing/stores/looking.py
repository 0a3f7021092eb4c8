"""Looking at what is there: all queues at once, jobs that are looked for."""

from __future__ import annotations

from dataclasses import fields

from stratix_kombu.model.overview import QueueOverview
from stratix_kombu.model.record import Limit, QueueStatus, WorkerInfo
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new


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
