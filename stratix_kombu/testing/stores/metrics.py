"""What is counted in the steps of a job's life."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.metrics import COUNTS, HOUR_MS, KEPT_HOURS, NAMED_HOURS, NAMES_KEPT, OTHER, Tally
from stratix_kombu.model.record import ANY_CLAIM, Completion, Failure, HandOver, Held, Limit, Retention
from stratix_kombu.model.state import Refusal
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new, until


def total(store: Store, queue: str = QUEUE) -> Tally:
    """The last minutes together: a test may run over the end of one."""
    whole = Tally()
    for one in store.queries.metrics(queue, 3):
        whole.add(one)
    return whole


def counted(store: Store, queue: str = QUEUE) -> dict[str, int]:
    """Counts that are not zero; they are the same in the minutes and in the totals."""
    minutes, hours, totals = total(store, queue), Tally(), store.queries.totals(queue)
    for one in store.queries.hours(queue, 2):
        hours.add(one)
    assert replace(hours, start_ms=minutes.start_ms) == minutes
    of_minutes = {name: getattr(minutes, name) for name in COUNTS}
    assert of_minutes == {name: getattr(totals, name) for name in COUNTS}
    assert sum(totals.wait.counts) == minutes.wait.count
    assert totals.wait.sum_ms == minutes.wait.sum_ms
    return {name: count for name, count in of_minutes.items() if count}


class MetricsSuite(StoreCase):
    def test_a_queue_that_nobody_knows_has_counted_nothing(self, store: Store) -> None:
        minutes = store.queries.metrics("nobody", 60)
        assert len(minutes) == 60
        assert all(minute == Tally(start_ms=minute.start_ms) for minute in minutes)
        starts = [minute.start_ms for minute in minutes]
        assert starts == list(range(starts[0], starts[0] + 60 * 60_000, 60_000))
        assert 0 <= store.queries.now() - starts[-1] < 120_000
        assert counted(store, "nobody") == {}
        assert store.queries.totals("nobody").runs == {}

    def test_hours_of_a_month(self, store: Store) -> None:
        hours = store.queries.hours("nobody", KEPT_HOURS)
        starts = [hour.start_ms for hour in hours]
        assert hours == [Tally(start_ms=start) for start in starts]
        assert starts == list(range(starts[0], starts[0] + KEPT_HOURS * HOUR_MS, HOUR_MS))
        assert 0 <= store.queries.now() - starts[-1] < HOUR_MS + 60_000
        self.add(store, new("a"))
        self.complete(store, "a")
        assert sum(hour.completed for hour in store.queries.hours(QUEUE, 2)) == 1
        assert sum(hour.completed for hour in store.queries.hours(QUEUE, KEPT_HOURS)) == 1

    def test_hours_by_the_name_of_jobs(self, store: Store) -> None:
        assert store.queries.names(QUEUE) == []
        self.add(store, *(new(f"a{n}", name="a") for n in range(3)))
        self.add(store, new("b", name="b", max_attempts=2), new("c", "elsewhere", name="c"))
        self.complete(store, "a0", "a1")
        self.fail(store, "a2")
        self.fail(store, "b", retry_ms=0)
        time.sleep(0.03)
        self.complete(store, "b")
        assert store.queries.names(QUEUE) == ["a", "b"]
        a, b, whole = (self.of_name(store, name) for name in ("a", "b", ""))
        assert (a.completed, a.failed, a.run.count, a.wait.count) == (2, 1, 3, 3)
        assert (b.completed, b.failed, b.retried, b.run.count) == (1, 1, 0, 2)
        assert b.wait.sum_ms >= 25
        a.add(b)
        assert (a.wait, a.run) == (whole.wait, whole.run)
        assert self.of_name(store, "nobody") == Tally()
        assert len(store.queries.hours(QUEUE, NAMED_HOURS, "a")) == NAMED_HOURS
        for job_id in ("a0", "a1", "a2", "b"):
            store.transitions.remove(job_id)
        assert store.transitions.forget_queue(QUEUE)
        assert store.queries.names(QUEUE) == []
        self.add(store, new("a0", name="a"))
        self.complete(store, "a0")
        assert self.of_name(store, "a").completed == 1

    @staticmethod
    def of_name(store: Store, name: str) -> Tally:
        total = Tally()
        for hour in store.queries.hours(QUEUE, 2, name):
            total.add(hour)
        return total

    def test_as_many_names_as_are_kept(self, store: Store) -> None:
        jobs = [new(name=f"n{number:03}") for number in range(NAMES_KEPT + 5)]
        self.add(store, *jobs)
        self.complete(store, *(job.id for job in jobs[:NAMES_KEPT]))
        for job in jobs[NAMES_KEPT:]:
            self.fail(store, job.id)
        assert store.queries.names(QUEUE) == [OTHER, *(job.name for job in jobs[:NAMES_KEPT])]
        others = self.of_name(store, OTHER)
        assert (others.completed, others.failed) == (0, 5)
        assert self.of_name(store, "n000").completed == 1
        assert self.of_name(store, f"n{NAMES_KEPT:03}") == Tally()

    def test_ends_are_counted_as_they_are(self, store: Store) -> None:
        self.add(store, *(new(name, max_attempts=3) for name in "abcd"), new("other", "elsewhere"))
        self.complete(store, "a", "b")
        self.fail(store, "c", retry_ms=0)
        self.fail(store, "c", retry_ms=60_000)
        self.fail(store, "d")
        assert counted(store) == {"completed": 2, "failed": 1, "retried": 2}
        assert (total(store).wait.count, total(store).run.count) == (5, 5)
        assert counted(store, "elsewhere") == {}

    def test_what_is_refused_is_not_counted(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.complete([Completion("a", "w:9", "1"), Completion("a", claim.token, "1")])
        store.transitions.complete([Completion("a", claim.token, "1")])
        store.transitions.fail([Failure("a", claim.token, "no"), Failure("nobody", "w:1", "no")])
        self.claim(store, "a", "nobody")
        assert counted(store) == {"completed": 1}
        assert (total(store).wait.count, total(store).run.count) == (1, 1)

    def test_jobs_that_are_not_kept_are_counted(self, store: Store) -> None:
        self.add(store, new("a", keep_completed=Retention(count=0)), new("b", keep_failed=Retention(count=0)))
        self.complete(store, "a")
        self.fail(store, "b")
        assert counted(store) == {"completed": 1, "failed": 1}
        assert list(store.queries.totals(QUEUE).runs) == ["send"]

    def test_jobs_fail_in_many_ways(self, store: Store) -> None:
        self.add(store, new("a"), new("b", "below", dependencies=("a",)), new("c", "below", dependencies=("b",)))
        self.finish_releases(store, self.fail(store, "a"))
        self.add(store, new("late", "below", dependencies=("a",)), new("d", "below"))
        store.transitions.cancel("d", "no longer needed")
        assert counted(store) == {"failed": 1}
        assert counted(store, "below") == {"failed": 3, "cancelled": 1}
        assert (total(store, "below").wait.count, total(store, "below").run.count) == (0, 0)

    def test_ended_by_hand_without_an_attempt(self, store: Store) -> None:
        self.add(store, new("a"), new("b"))
        store.transitions.complete([Completion("a", ANY_CLAIM, "1")])
        store.transitions.fail([Failure("b", ANY_CLAIM, "no")])
        assert counted(store) == {"completed": 1, "failed": 1}
        assert total(store).run.count == 0
        assert store.queries.totals(QUEUE).runs == {}

    def test_an_attempt_that_goes_on_as_another_job(self, store: Store) -> None:
        for name, reason in (("a", ""), ("b", "OSError: away")):
            claim = self.start(store, new(name))
            store.transitions.hand_over([HandOver(name, claim.token, (new(name, delay_ms=60_000),), reason)])
        assert counted(store) == {"retried": 1}
        assert total(store).run.count == 2

    def test_leases_that_run_out(self, store: Store) -> None:
        claim = self.start(store, new("a"), lease_ms=1)
        until(lambda: store.transitions.recover(1).affected)
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ("a",)
        assert counted(store) == {"stalled": 1}
        self.claim(store, "a", lease_ms=1)
        until(lambda: store.transitions.recover(1).affected)
        assert counted(store) == {"stalled": 2, "failed": 1}
        assert (total(store).wait.count, total(store).run.count) == (0, 0)

    @pytest.mark.parametrize("bounce_back", [True, False])
    def test_starts_that_a_limit_refused(self, store: Store, bounce_back: bool) -> None:
        limit = Limit("k", 1, 60_000, bounce_back=bounce_back)
        self.add(store, new("a"), new("b"), new("c"))
        claimed = store.transitions.claim(QUEUE, ["a", "b", "c"], "w", LEASE_MS, Bounds(limit))
        assert [claim.record.id for claim in claimed.claims] == ["a"]
        assert counted(store) == {"limited": 2}
        assert self.take(store, 2, Bounds(limit)).why is Refusal.LIMITED
        assert counted(store) == {"limited": 3}
        self.add(store, *(new(f"k{n}", limit=Limit("key", 1, 60_000)) for n in range(3)))
        assert len(self.taken(store, 9)) == 3
        assert self.taken(store, 9) == []
        assert counted(store) == {"limited": 5}, "each that is set aside, once"

    def test_handing_back_is_no_end(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.hand_back([Held("a", claim.token)])
        assert counted(store) == {}
        assert total(store).run.count == 0

    def test_how_long_jobs_waited_and_ran(self, store: Store) -> None:
        self.add(store, new("a"))
        time.sleep(0.06)
        begun = time.monotonic()
        claims = self.claim(store, "a")
        time.sleep(0.03)
        store.transitions.complete([Completion("a", claim.token, "1") for claim in claims])
        most = (time.monotonic() - begun) * 1000
        found, totals = total(store), store.queries.totals(QUEUE)
        assert found.wait.sum_ms >= 55
        assert 25 <= found.run.sum_ms <= most + 5
        assert abs(found.wait.percentile(50) - found.wait.sum_ms) <= found.wait.sum_ms / 16
        (run,) = totals.runs.values()
        assert (sum(run.counts), run.sum_ms) == (1, found.run.sum_ms)
        assert run.counts[:1] == [0]  # not within 10 ms
        assert totals.wait.counts[:2] == [0, 0]

    def test_waiting_begins_when_a_job_becomes_waiting(self, store: Store) -> None:
        """Not when it was added; and being dispatched again does not restart it."""
        self.add(store, new("later", delay_ms=3_600_000), new("lost"))
        time.sleep(0.06)
        assert len(store.transitions.redeliver(QUEUE, 0, 0).ready) == 1
        promoted = time.monotonic()
        store.transitions.promote_job("later")
        self.complete(store, "later")
        wait_ms = total(store).wait.sum_ms
        assert wait_ms <= (time.monotonic() - promoted) * 1000 + 1
        self.complete(store, "lost")
        assert total(store).wait.sum_ms >= wait_ms + 55

    def test_run_times_are_kept_by_name(self, store: Store) -> None:
        names = [f"name {number}" for number in range(NAMES_KEPT + 5)]
        jobs = [new(name=name) for name in names for _ in range(2)]
        self.add(store, *jobs)
        self.complete(store, *(job.id for job in jobs))
        runs = store.queries.totals(QUEUE).runs
        assert len(runs) == NAMES_KEPT + 1
        assert runs.keys() <= {*names, OTHER}
        assert {sum(one.counts) for name, one in runs.items() if name != OTHER} == {2}
        assert sum(runs[OTHER].counts) == 10

    def test_failed_attempts_are_not_in_the_times_by_name(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2))
        self.fail(store, "a", retry_ms=0)
        assert store.queries.totals(QUEUE).runs == {}

    def test_a_forgotten_queue_has_counted_nothing(self, store: Store) -> None:
        self.add(store, new("a"))
        self.complete(store, "a")
        store.transitions.remove("a")
        assert counted(store) == {"completed": 1}
        assert store.transitions.forget_queue(QUEUE)
        assert counted(store) == {}
        assert total(store) == Tally()
        assert store.queries.totals(QUEUE).runs == {}

    def test_how_late_the_clock_is(self, store: Store) -> None:
        self.add(store, new("far", delay_ms=3_600_000))
        assert store.queries.status(QUEUE).overdue_ms == 0
        self.add(store, new("a", delay_ms=1))
        until(lambda: store.queries.status(QUEUE).overdue_ms >= 5)
        store.transitions.promote()
        assert store.queries.status(QUEUE).overdue_ms == 0
