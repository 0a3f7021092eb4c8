"""What the clock does: promotion, recovery, redelivery, expiry."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from stratix_kombu.errors import InvalidJobState
from stratix_kombu.model.record import Completion, Failure, Retention
from stratix_kombu.model.state import BY_HAND, Refusal, State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, gather, native, new, until


class ClockSuite(StoreCase):
    def test_due_jobs_become_waiting_in_order(self, store: Store) -> None:
        self.add(store, new("b", delay_ms=40), new("a", "other", delay_ms=20), new("later", delay_ms=60_000))
        change, wait = store.transitions.promote()
        promoted = self.ids(change.ready)
        assert wait is not None
        assert wait <= (40 if len(promoted) < 2 else 60_000)  # on a busy machine both may be due already
        gather(lambda: self.ids(store.transitions.promote()[0].ready), 2, promoted)
        assert promoted == ["a", "b"]
        assert self.states(store, "a", "b", "later") == ["waiting", "waiting", "delayed"]
        assert self.emitted(store)[-1] == ("waiting", "b")
        assert self.record(store, "b").due_ms == 0
        change, wait = store.transitions.promote()
        assert change.ready == ()
        assert wait is not None
        assert 0 < wait <= 60_000

    def test_nothing_is_delayed(self, store: Store) -> None:
        self.add(store, new("a"))
        change, wait = store.transitions.promote()
        assert (change.ready, change.more, wait) == ((), False, None)

    def test_promotion_goes_page_by_page(self, store: Store) -> None:
        # A job whose time comes while it is added is ready at once.
        late = 25 - len(self.add(store, *(new(f"{n}", delay_ms=50) for n in range(25))))
        pages: list[int] = []

        def page() -> bool:
            change, _ = store.transitions.promote(limit=4)
            pages.append(len(change.ready))
            return sum(pages) == late

        until(page)
        assert max(pages) <= 4

    def test_what_is_told_is_removed_when_its_delay_is_over(self, store: Store) -> None:
        told: dict[str, Any] = {"vacant": True, "kind": BY_HAND, "delay_ms": 60_000}
        self.add(store, new("x", **told), new("y", **told), new("z", vacant=True, kind=BY_HAND))
        self.add(store, new("after", dependencies=("x",)))
        store.transitions.change_delay("x", 1)
        until(lambda: store.transitions.promote() and self.states(store, "x", "after") == ["gone", "failed"])
        assert self.states(store, "y", "z") == ["delayed", "blocked"]
        assert ("removed", "x") in self.emitted(store)
        store.transitions.change_delay("y", 120_000)
        assert self.record(store, "y").due_ms > store.queries.now() + 60_000
        with pytest.raises(InvalidJobState):
            store.transitions.change_delay("y", 0)
        with pytest.raises(InvalidJobState):
            store.transitions.promote_job("y")
        store.transitions.progress("y", "1")
        self.add(store, new("y"))
        assert (self.states(store, "y"), self.record(store, "y").kind) == (["waiting"], "")

    def test_a_lost_lease_makes_the_job_waiting_again(self, store: Store) -> None:
        claim = self.start(store, new("a"), lease_ms=1)
        self.start(store, new("held"))
        change = until(lambda: (got := store.transitions.recover(1)).affected and got)
        assert (change.affected, self.ids(change.ready)) == (("a",), ["a"])
        record = self.record(store, "a")
        assert (record.state, record.stalled_count) == (State.WAITING, 1)
        assert (record.attempts_started, record.attempts_made) == (1, 0)
        names = [name for name, job_id in self.emitted(store) if job_id == "a"]
        assert names == ["waiting", "active", "stalled", "waiting"]
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ("a",)
        assert store.transitions.fail([Failure("a", claim.token, "1")]).stale == ("a",)
        assert self.states(store, "held") == ["active"]

    def test_a_job_that_stalls_too_often_fails(self, store: Store) -> None:
        self.add(store, new("a"), new("b", dependencies=("a",)))
        for expected in ("waiting", "failed"):
            self.claim(store, "a", lease_ms=1)
            until(lambda: store.transitions.recover(1).affected)
            assert self.states(store, "a") == [expected]
        assert "stalled" in str(self.record(store, "a").failed_reason)
        assert self.states(store, "b") == ["failed"]
        names = [name for name, job_id in self.emitted(store) if job_id in ("a", "")]
        assert names[-3:] == ["stalled", "failed", "drained"]

    def test_recovery_goes_page_by_page(self, store: Store) -> None:
        self.add(store, *(new(f"{n}") for n in range(25)))
        self.claim(store, *(f"{n}" for n in range(25)), lease_ms=1)
        pages: list[int] = []

        def page() -> bool:
            pages.append(len(store.transitions.recover(1, limit=10).affected))
            return sum(pages) == 25

        until(page)
        assert max(pages) == 10

    def test_nothing_is_sent_again_within_the_grace(self, store: Store) -> None:
        self.add(store, new("a"))
        assert store.transitions.redeliver(QUEUE, 60_000, depth=0).ready == ()

    def test_an_empty_broker_has_lost_what_waits(self, store: Store) -> None:
        self.add(store, *(native(f"{n}") for n in range(3)), native("later", delay_ms=60_000))
        ready = gather(lambda: self.ids(store.transitions.redeliver(QUEUE, 30, 0).ready), 3)
        assert ready == ["0", "1", "2"]
        assert self.states(store, "0", "1", "2") == ["waiting"] * 3

    def test_a_job_that_was_overtaken_is_sent_again(self, store: Store) -> None:
        self.add(store, native("lost"), native("other", priority=5))

        def overtaken() -> list[str]:
            job = native()
            self.add(store, job)
            self.complete(store, job.id)
            return self.ids(store.transitions.redeliver(QUEUE, 40, 1).ready)

        assert until(overtaken) == ["lost"]

    def test_each_time_the_grace_doubles(self, store: Store) -> None:
        self.add(store, native("a"))
        created_ms = self.record(store, "a").created_ms
        sent = [(created_ms, created_ms)]
        """Each time: an instant before it, and one after it."""
        clock = new("clock", "clock")

        def now() -> int:
            store.transitions.add([clock])
            (claim,) = self.claim(store, "clock", queue="clock")
            store.transitions.fail([Failure("clock", claim.token, "", retry_ms=0)])
            return claim.record.processed_ms

        while len(sent) < 4:
            before = now()
            if store.transitions.redeliver(QUEUE, 25, 0).ready:
                sent.append((before, now()))
        gaps = [later[1] - earlier[0] for earlier, later in pairwise(sent)]
        assert gaps[0] >= 25
        assert gaps[1] >= 50
        assert gaps[2] >= 100

    def test_paused_jobs_are_not_undelivered(self, store: Store) -> None:
        self.add(store, native("a"), native("b"))
        store.transitions.pause(QUEUE)
        claimed = store.transitions.claim(QUEUE, ["a"], "w", LEASE_MS)
        assert [one.why for one in claimed.refused] == [Refusal.PAUSED]
        self.add(store, native("x", "other"))
        until(lambda: store.transitions.redeliver("other", 20, 0).ready)
        assert store.transitions.redeliver(QUEUE, 20, 0).ready == ()
        assert self.ids(store.transitions.resume(QUEUE).ready) == ["a"]

    def test_jobs_expire_by_age(self, store: Store) -> None:
        keep = Retention(age_ms=30)
        self.add(store, new("c", keep_completed=keep), new("f", keep_failed=keep), new("stays"))
        self.complete(store, "c", "stays")
        self.fail(store, "f")
        gone = gather(lambda: store.transitions.expire().affected, 2)
        assert sorted(gone) == ["c", "f"]
        assert self.states(store, "c", "f", "stays") == ["gone", "gone", "completed"]

    def test_a_job_that_was_retried_does_not_expire(self, store: Store) -> None:
        self.add(store, new("a", keep_failed=Retention(age_ms=20)), new("b", keep_completed=Retention(age_ms=40)))
        self.fail(store, "a")
        self.complete(store, "b")
        store.transitions.retry("a")
        gone = gather(lambda: store.transitions.expire().affected, 1)
        assert gone == ["b"]
        assert self.states(store, "a") == ["waiting"]

    def test_what_is_kept_follows_the_last_end(self, store: Store) -> None:
        at_once = Retention(age_ms=0)
        self.add(store, new("a", keep_failed=at_once), new("b", keep_failed=at_once, dependencies=("a",)))
        self.fail(store, "a")
        store.transitions.retry("a")
        self.complete(store, "a", result="1")
        self.complete(store, "b", result="2")
        assert store.transitions.expire().affected == ()
        assert self.states(store, "a", "b") == ["completed", "completed"]

    @pytest.mark.parametrize("ends", ["completed", "failed"])
    def test_an_id_that_is_used_again_does_not_expire_for_its_predecessor(self, store: Store, ends: str) -> None:
        self.add(store, new("a", keep_completed=Retention(age_ms=0), keep_failed=Retention(age_ms=0)))
        self.complete(store, "a")
        store.transitions.remove("a")
        keep = Retention(age_ms=3_600_000)
        self.add(store, new("a", keep_completed=keep, keep_failed=keep))
        assert store.transitions.expire().affected == ()
        if ends == "completed":
            self.complete(store, "a")
        else:
            self.fail(store, "a")
        assert store.transitions.expire().affected == ()
        assert self.states(store, "a") == [ends]

    def test_expiry_goes_page_by_page(self, store: Store) -> None:
        self.add(store, *(new(f"{n}", keep_completed=Retention(age_ms=1)) for n in range(25)))
        self.complete(store, *(f"{n}" for n in range(25)))
        pages: list[int] = []

        def page() -> bool:
            pages.append(len(store.transitions.expire(limit=10).affected))
            return sum(pages) == 25

        until(page)
        assert max(pages) == 10
