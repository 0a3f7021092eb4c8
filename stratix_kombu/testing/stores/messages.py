"""The message that a completion leaves in place of the job's own."""

from __future__ import annotations

import pytest

from stratix_kombu.model.record import ANY_CLAIM, KEEP_ALL, KEEP_NONE, UNCLAIMED, Completion, Retention
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, native, new

LEFT = '{"body":"","headers":{"left":"\\u00fc\u00fc\u20ac"},"properties":{}}'


class MessageSuite(StoreCase):
    @pytest.mark.parametrize("data", ["", "3"])
    @pytest.mark.parametrize("message", ["", LEFT], ids=["none", "another"])
    def test_a_completion_may_leave_another_message(self, store: Store, message: str, data: str) -> None:
        """Whatever else it leaves, and not to the job beside it."""
        jobs = native("a", data="1"), native("b", data="2"), native("c", data="4")
        given = jobs[0].message
        self.add(store, *jobs)
        a, b, c = self.claim(store, "a", "b", "c")
        first = Completion("a", a.token, '"r"', data=data, message=message)
        change = store.transitions.complete([first, Completion("b", b.token, '"s"')])
        assert (change.ready, change.stale, change.more) == ((), (), False)
        found = self.record(store, "a"), self.record(store, "b"), self.record(store, "c")
        assert [one.message for one in found] == [message or given, given, given]
        assert [(one.data, one.result) for one in found] == [(data or "1", '"r"'), ("2", '"s"'), ("4", None)]
        assert self.emitted(store)[-2:] == [("completed", "a"), ("completed", "b")]
        assert jobs[0].message == given
        store.transitions.complete([Completion("c", c.token, "1")])

    def test_it_is_sent_when_the_job_is_run_again(self, store: Store) -> None:
        claim = self.start(store, native("a"))
        store.transitions.complete([Completion("a", claim.token, "1", message=LEFT)])
        (ready,) = store.transitions.rerun("a").ready
        assert (ready.id, ready.message) == ("a", LEFT)
        assert self.complete(store, "a").stale == ()
        assert self.record(store, "a").message == LEFT

    @pytest.mark.parametrize("message", ["", LEFT], ids=["none", "another"])
    def test_in_the_step_that_adds_the_next_task(self, store: Store, message: str) -> None:
        """In the place of a vacant one, and an unrelated one besides; each has a message of its own."""
        before = native("a", carries=("b", "c"))
        vacant = [new("b", vacant=True, dependencies=("a",)), new("c", vacant=True, dependencies=("b",))]
        self.add(store, before, *vacant)
        (claim,) = self.claim(store, "a")
        then = native("b", carries=("c",)), native("d", "other")
        change = store.transitions.complete([Completion("a", claim.token, "1", then, message=message)])
        assert [(one.id, one.message) for one in change.ready] == [(one.id, one.message) for one in then]
        assert self.record(store, "a").message == (message or before.message)
        assert [self.record(store, one.id).message for one in then] == [one.message for one in then]
        assert self.states(store, *"abcd") == ["completed", "waiting", "blocked", "waiting"]

    @pytest.mark.parametrize(
        "keep", [KEEP_ALL, Retention(age_ms=60_000), Retention(count=2)], ids=["all", "age", "count"]
    )
    def test_with_the_next_jobs_in_one_call(self, store: Store, keep: Retention) -> None:
        """Whichever way the jobs are kept."""
        jobs = native("a", keep_completed=keep), native("b", keep_completed=keep), new("c")
        self.add(store, *jobs)
        a, b = self.claim(store, "a", "b")
        results = [Completion("a", a.token, "1"), Completion("b", b.token, "2", message=LEFT)]
        change, taken = store.transitions.complete_and_take(results, QUEUE, "w", LEASE_MS, 2)
        assert (change.stale, change.ready) == ((), ())
        assert [one.record.id for one in taken.claims] == ["c"]
        assert [self.record(store, one.id).message for one in jobs] == [jobs[0].message, LEFT, ""]

    def test_with_dependents_that_await_others(self, store: Store) -> None:
        parts = [native(one) for one in "abc"]
        self.add(store, *parts, native("join", dependencies=("a", "b", "c")))
        ends = [
            Completion(one.record.id, one.token, "1", message=LEFT if one.record.id == "b" else "")
            for one in self.claim(store, "a", "b", "c")
        ]
        assert self.ids(store.transitions.complete(ends[:2]).ready) == []
        assert self.record(store, "join").pending == 1
        assert self.ids(store.transitions.complete(ends[2:]).ready) == ["join"]
        assert [self.record(store, one).message for one in "abc"] == [parts[0].message, LEFT, parts[2].message]

    @pytest.mark.parametrize("token", [ANY_CLAIM, UNCLAIMED], ids=["any claim", "unclaimed"])
    def test_by_hand_in_every_state(self, store: Store, token: str) -> None:
        self.add(store, native("w"), native("d", delay_ms=60_000), native("b", dependencies=("d",)), native("a"))
        self.claim(store, "a")
        ended = "wbda" if token == ANY_CLAIM else "wbd"
        for job_id in ended:
            change = store.transitions.complete([Completion(job_id, token, "1", message=LEFT)])
            assert (change.stale, change.ready) == ((), ())
        assert {one: self.record(store, one).message for one in ended} == dict.fromkeys(ended, LEFT)
        assert self.counts(store).get("completed") == len(ended)

    def test_a_job_without_a_message_leaves_its_queue_like_any_other(self, store: Store) -> None:
        """How jobs wait depends on whether they have one."""
        self.add(store, new("a"), new("b"), new("c"))
        assert self.taken(store) == ["a"]
        change = store.transitions.complete([Completion(one, ANY_CLAIM, "1", message=LEFT) for one in "ab"])
        assert (change.stale, change.ready) == ((), ())
        assert [self.record(store, one).message for one in "abc"] == [LEFT, LEFT, ""]
        assert self.counts(store) == {"waiting": 1, "completed": 2}
        assert self.taken(store, 3) == ["c"]

    def test_a_lost_lease_leaves_it(self, store: Store) -> None:
        job = native("a")
        claim = self.start(store, job)
        assert store.transitions.complete([Completion("a", "no token", "1", message=LEFT)]).stale == ("a",)
        assert self.record(store, "a").message == job.message
        store.transitions.complete([Completion("a", claim.token, "1")])
        assert store.transitions.complete([Completion("a", claim.token, "1", message=LEFT)]).stale == ()
        assert self.record(store, "a").message == job.message

    def test_a_job_that_is_not_kept_leaves_none(self, store: Store) -> None:
        self.add(store, native("a", keep_completed=KEEP_NONE), native("b", keep_completed=KEEP_NONE))
        (claim,) = self.claim(store, "a")
        store.transitions.complete([Completion("a", claim.token, "1", message=LEFT)])
        store.transitions.complete([Completion("b", ANY_CLAIM, "1", message=LEFT)])
        assert self.states(store, "a", "b") == ["gone", "gone"]
        assert [one and one.result for one in store.queries.ended(["a", "b"])] == ["1", "1"]
        assert self.counts(store) == {}
