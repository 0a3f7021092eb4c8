"""The same done to many jobs that are named."""

from __future__ import annotations

import pytest

from stratix_kombu.model.state import Action, State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new

IN_STATES = ("waiting", "active", "delayed", "blocked", "completed", "failed")


class EachSuite(StoreCase):
    def one_in_each_state(self, store: Store) -> None:
        self.start(store, new("active"))
        self.add(store, new("completed"), new("failed"), new("waiting"), new("delayed", delay_ms=60_000))
        self.add(store, new("blocked", dependencies=("active",)), new("elsewhere", "other"))
        self.complete(store, "completed")
        self.fail(store, "failed")

    @pytest.mark.parametrize(
        ("action", "done"),
        [
            (Action.RETRY, ["failed"]),
            (Action.PROMOTE, ["delayed"]),
            (Action.CANCEL, ["blocked", "delayed", "active", "waiting"]),
            (Action.REMOVE, ["completed", "blocked", "failed", "delayed", "waiting"]),
        ],
    )
    def test_those_whose_state_allows_it(self, store: Store, action: Action, done: list[str]) -> None:
        self.one_in_each_state(store)
        ids = ["nobody", "completed", "blocked", "elsewhere", "failed", "delayed", "active", "waiting"]
        change = store.transitions.each(QUEUE, action, ids, None, "why")
        assert list(change.affected) == done
        after = dict(zip(IN_STATES, self.states(store, *IN_STATES), strict=True))
        became = {"retry": "waiting", "promote": "waiting", "cancel": "failed", "remove": "gone"}[action.value]
        for job_id in IN_STATES:
            expected = became if job_id in done and job_id != "active" else job_id
            assert after[job_id] == expected
        assert self.states(store, "elsewhere") == ["waiting"]
        assert self.ids(change.ready) == {"retry": done, "promote": done}.get(action.value, [])
        if action is Action.CANCEL:
            reasons = [self.record(store, one).failed_reason for one in done if one != "active"]
            assert reasons == ["why"] * 3
            (held,) = store.queries.held(QUEUE, "w")
            assert store.transitions.renew([], [held], LEASE_MS).cancelled == {held.token}

    @pytest.mark.parametrize("action", list(Action))
    def test_those_of_a_rule_are_still_in_the_state(self, store: Store, action: Action) -> None:
        self.one_in_each_state(store)
        for state in State:
            others = [one for one in IN_STATES if one != state.value]
            assert store.transitions.each(QUEUE, action, others, state).affected == ()
        assert self.states(store, *IN_STATES) == list(IN_STATES)

    def test_dependents_are_released_page_by_page(self, store: Store) -> None:
        self.add(store, new("a"), new("b"))
        self.add(store, *(new(f"of_a{n:03}", dependencies=("a",)) for n in range(300)))
        self.add(store, *(new(f"of_b{n:03}", dependencies=("b",), optional=True) for n in range(300)))
        change = store.transitions.each(QUEUE, Action.CANCEL, ["a", "b"], None, "why")
        assert change.more
        assert sorted(self.finish_releases(store, change)) == [f"of_b{n:03}" for n in range(300)]
        assert self.counts(store) == {"failed": 302, "waiting": 300}

    def test_what_failed_by_a_dependency_waits_for_it_again_and_is_not_retried_by_a_rule(self, store: Store) -> None:
        self.add(store, new("a"))
        self.add(store, new("b", dependencies=("a",)))
        self.finish_releases(store, self.fail(store, "a"))
        assert store.transitions.each(QUEUE, Action.RETRY, ["b"], State.FAILED).affected == ()
        change = store.transitions.each(QUEUE, Action.RETRY, ["b", "a"], State.FAILED)
        assert change.affected == ("a",)
        self.finish_releases(store, change)
        assert self.states(store, "a", "b") == ["waiting", "blocked"]
        store.transitions.cancel("a", "no")
        assert store.transitions.each(QUEUE, Action.RETRY, ["b"]).affected == ("b",), "as retry does"

    def test_events_are_those_of_single_jobs(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c", delay_ms=60_000))
        cursor = store.events.tail(QUEUE)
        store.transitions.each(QUEUE, Action.PROMOTE, ["c"])
        store.transitions.each(QUEUE, Action.CANCEL, ["a"], State.WAITING, "why")
        store.transitions.each(QUEUE, Action.REMOVE, ["a", "b"])
        assert self.emitted(store, cursor=cursor) == [
            ("waiting", "c"),
            ("failed", "a"),
            ("removed", "a"),
            ("removed", "b"),
        ]

    def test_none_named(self, store: Store) -> None:
        self.one_in_each_state(store)
        assert store.transitions.each(QUEUE, Action.REMOVE, []).affected == ()
