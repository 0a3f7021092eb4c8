"""Which clock leads, what it learns, and what wakes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stratix_kombu.model.record import Completion, Retention
from stratix_kombu.stores.contract import Lead, Store
from stratix_kombu.testing.stores.base import DEADLINE_S, StoreCase, new, until
from stratix_kombu.testing.stores.parts import FAR, schedule

REST_MS = 60_000
NOTHING = Lead(True)


class LeadSuite(StoreCase):
    def test_one_clock_leads_until_it_resigns(self, store: Store) -> None:
        clocks = store.clocks
        assert clocks.lead("a", REST_MS) == NOTHING
        other = clocks.lead("b", REST_MS)
        assert (other.leads, other.promote, other.repeat, other.expire) == (False, False, False, False)
        assert other.next_ms is not None
        assert 0 < other.next_ms <= 2 * REST_MS
        clocks.resign("b")
        assert clocks.lead("a", REST_MS) == NOTHING
        clocks.resign("a")
        clocks.resign("a")
        assert clocks.lead("b", REST_MS) == NOTHING
        assert not clocks.lead("a", REST_MS).leads

    def test_another_clock_leads_when_the_first_does_not_ask_again(self, store: Store) -> None:
        assert store.clocks.lead("a", 1) == NOTHING
        until(lambda: store.clocks.lead("b", REST_MS).leads)
        assert not store.clocks.lead("a", 1).leads

    def test_one_that_yields_leads_until_another_asks(self, store: Store) -> None:
        clocks = store.clocks
        assert clocks.lead("a", REST_MS, yields=True) == NOTHING
        assert clocks.lead("a", REST_MS) == NOTHING
        assert not clocks.lead("b", REST_MS).leads, "it does not yield any more"
        clocks.lead("a", REST_MS, yields=True)
        assert clocks.lead("b", REST_MS) == NOTHING
        assert not clocks.lead("a", REST_MS, yields=True).leads

    def test_it_learns_what_is_due(self, store: Store) -> None:
        self.add(store, new("later", "far", delay_ms=FAR), new("soon", delay_ms=30_000))
        self.add(store, new("x", keep_completed=Retention(age_ms=1)))
        lead = store.clocks.lead("a", REST_MS)
        assert (lead.promote, lead.repeat, lead.expire) == (False, False, False)
        assert lead.next_ms is not None
        assert 0 < lead.next_ms <= 30_000
        store.transitions.change_delay("soon", 1)
        until(lambda: store.clocks.lead("a", REST_MS).promote)
        store.transitions.promote()
        assert not store.clocks.lead("a", REST_MS).promote
        (claim,) = self.claim(store, "x")
        store.transitions.complete([Completion("x", claim.token, "1")])
        until(lambda: store.clocks.lead("a", REST_MS).expire)
        store.transitions.expire()
        lead = store.clocks.lead("a", REST_MS)
        assert (lead.promote, lead.repeat, lead.expire) == (False, False, False)

    def test_it_learns_which_slots_come(self, store: Store) -> None:
        now = store.queries.now()
        store.schedules.put(replace(schedule("beats", now), owner="beat"))
        assert store.clocks.lead("a", REST_MS) == NOTHING, "its owner fires it"
        store.schedules.put(schedule("k", now + 30_000))
        lead = store.clocks.lead("a", REST_MS)
        assert not lead.repeat
        assert 0 < (lead.next_ms or 0) <= 30_000
        store.schedules.put(schedule("due", now))
        lead = store.clocks.lead("a", REST_MS)
        assert lead.repeat
        assert 0 < (lead.next_ms or 0) <= 30_000, "what comes next is known though one is due"
        store.schedules.set_paused("due", True)
        store.schedules.remove("k")
        assert store.clocks.lead("a", REST_MS) == NOTHING

    def test_what_a_step_has_left_over_is_due(self, store: Store) -> None:
        self.add(store, new("a"), *(new(f"d{n}", dependencies=("a",)) for n in range(600)))
        change = self.complete(store, "a")
        assert change.more
        assert store.clocks.lead("c", REST_MS).promote
        self.finish_releases(store, change)
        assert not store.clocks.lead("c", REST_MS).promote

    @pytest.mark.parametrize(
        "step",
        [
            lambda case, store: case.add(store, new("a", delay_ms=5_000)),
            lambda case, store: store.transitions.change_delay("far", 5_000),
            lambda case, store: store.schedules.put(schedule("k", store.queries.now() + 5_000)),
            lambda case, store: store.schedules.set_paused("far", False, store.queries.now() + 5_000),
            lambda case, store: case.fail(store, "waits", retry_ms=5_000),
            lambda case, store: store.clocks.resign("c"),
        ],
        ids=["add", "change_delay", "put", "resume", "fail", "resign"],
    )
    def test_a_rest_ends_when_something_is_due_sooner(self, store: Store, step: Callable[[Any, Store], object]) -> None:
        self.add(store, new("far", delay_ms=FAR), new("waits", max_attempts=2))
        store.schedules.put(schedule("far", FAR))
        store.clocks.lead("c", REST_MS)
        resting = threading.Thread(target=store.clocks.rest, args=("c", REST_MS), daemon=True)
        resting.start()
        step(self, store)
        resting.join(DEADLINE_S)
        assert not resting.is_alive()

    def test_what_comes_before_the_rest_begins_ends_it_too(self, store: Store) -> None:
        store.clocks.lead("c", REST_MS)
        self.add(store, new("a", delay_ms=5_000))
        resting = threading.Thread(target=store.clocks.rest, args=("c", REST_MS), daemon=True)
        resting.start()
        resting.join(DEADLINE_S)
        assert not resting.is_alive()
        assert store.clocks.lead("c", REST_MS).next_ms is not None
        store.clocks.rest("c", 1)  # nobody wakes it: it ends by itself

    def test_queues_in_which_a_job_waits_long(self, store: Store) -> None:
        assert store.queries.late_queues(0) == []
        self.add(store, new("a", "x"), new("b", "y", priority=3), new("c", "paused"), new("d", "later", delay_ms=FAR))
        store.transitions.pause("paused")
        assert store.queries.late_queues(0) == ["x", "y"]
        assert store.queries.late_queues(60_000) == []
        self.complete(store, "a", queue="x")
        assert store.queries.late_queues(0) == ["y"]
