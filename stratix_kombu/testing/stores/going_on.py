"""Jobs with a message of their own, and jobs that go on as others: what a bridge to another system needs."""

from __future__ import annotations

from typing import Any

import pytest

from stratix_kombu.errors import InvalidJobState, JobIdTaken
from stratix_kombu.model.record import (
    ANY_CLAIM,
    KEEP_NONE,
    UNCLAIMED,
    Completion,
    Deduplication,
    Failure,
    HandOver,
    Limit,
    NewJob,
)
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new, until

MESSAGE = '{"body":"[]","properties":{"correlation_id":"a"}}'


class GoingOnSuite(StoreCase):
    def completion(self, store: Store, job_id: str, *then: NewJob, queue: str = QUEUE) -> list[str]:
        """Claim and complete, adding jobs in the same step; ids made ready."""
        (claim,) = self.claim(store, job_id, queue=queue)
        change = store.transitions.complete([Completion(job_id, claim.token, "1", then)])
        assert change.stale == ()
        return self.ids(change.ready)

    # -- messages -------------------------------------------------------------------------------

    def test_a_message_of_its_own_is_sent_whenever_the_job_is(self, store: Store) -> None:
        jobs = [new("a", message=MESSAGE), new("b"), new("c", dependencies=("b",), message="{}")]
        added = store.transitions.add(jobs)
        assert [(job.id, job.message) for job in added.ready] == [("a", MESSAGE), ("b", "")]
        assert self.record(store, "a").message == MESSAGE
        assert [job.message for job in self.complete(store, "b").ready] == ["{}"]
        (claim,) = self.claim(store, "a")
        assert claim.record.message == ""
        again = store.transitions.fail([Failure("a", claim.token, "no", retry_ms=0)])
        assert [job.message for job in again.ready] == [MESSAGE]
        store.transitions.pause(QUEUE)
        assert self.claim(store, "a") == []
        assert [job.message for job in store.transitions.resume(QUEUE).ready] == [MESSAGE]

    def test_a_job_to_be_forwarded_says_so_each_time_it_is_sent(self, store: Store) -> None:
        (ready,) = store.transitions.add([new("a", message=MESSAGE, forward=True)]).ready
        assert (ready.message, ready.forward) == (MESSAGE, True)
        (claim,) = self.claim(store, "a", lease_ms=0)
        (ready,) = store.transitions.recover(5).ready
        assert ready.forward
        assert store.transitions.complete([Completion("a", claim.token, "null")]).stale == ("a",)
        self.complete(store, "a")

    def test_a_job_may_say_how_often_it_may_stall(self, store: Store) -> None:
        self.add(store, new("a", max_stalled=0), new("b"), new("c", dependencies=("a",), optional=True))
        self.claim(store, "a", "b", lease_ms=0)
        change = store.transitions.recover(1)
        assert self.states(store, "a", "b", "c") == ["failed", "waiting", "waiting"]
        assert sorted(self.finish_releases(store, change)) == ["b", "c"]
        assert "stalled more than 0 times" in str(self.record(store, "a").failed_reason)

    # -- jobs added by an ending one --------------------------------------------------------------

    def test_jobs_are_added_in_the_step_that_completes(self, store: Store) -> None:
        self.add(store, new("a"))
        then = (new("b", "other", name="next", data="5"), new("c", delay_ms=60_000))
        assert self.completion(store, "a", *then) == ["b"]
        assert self.states(store, "a", "b", "c") == ["completed", "waiting", "delayed"]
        assert self.record(store, "b").data == "5"
        assert ("waiting", "b") in self.emitted(store, "other")

    def test_jobs_that_are_added_so_have_the_messages_that_they_were_given(self, store: Store) -> None:
        texts = ['{"body":"\\u00fc\u00fc\u20ac\\n","properties":{}}', '{"body":"","properties":{"a":"\u4e2d"}}']
        self.add(store, *(new(one) for one in "abc"))
        for job_id, kind in (("a", "complete"), ("b", "fail"), ("c", "hand_over")):
            (claim,) = self.claim(store, job_id)
            then = (
                new(f"{kind}-1", message=texts[0], data='"\u00fc"'),
                new(f"{kind}-2"),
                new(f"{kind}-3", message=texts[1]),
            )
            if kind == "complete":
                change = store.transitions.complete([Completion(job_id, claim.token, "1", then)])
            elif kind == "fail":
                change = store.transitions.fail([Failure(job_id, claim.token, "no", then=then)])
            else:
                change = store.transitions.hand_over([HandOver(job_id, claim.token, then)])
            sent = {one.id: one.message for one in change.ready if one.id in {job.id for job in then}}
            assert sent == {job.id: job.message for job in then}
            for job in then:
                record = self.record(store, job.id)
                assert (record.message, record.data) == (job.message, job.data)

    def test_a_completion_may_leave_other_data(self, store: Store) -> None:
        claim = self.start(store, new("a", data="1"))
        store.transitions.complete([Completion("a", claim.token, "2", data="3")])
        assert (self.record(store, "a").data, self.record(store, "a").result) == ("3", "2")

    def test_a_lost_lease_adds_nothing(self, store: Store) -> None:
        self.start(store, new("a"))
        ended = store.transitions.complete([Completion("a", "no token", "1", (new("b"),))])
        failed = store.transitions.fail([Failure("a", "no token", "no", then=(new("c"),))])
        over = store.transitions.hand_over([HandOver("a", "no token", (new("a"),))])
        assert ended.stale == failed.stale == over.stale == ("a",)
        assert self.states(store, "a", "b", "c") == ["active", "gone", "gone"]

    def test_jobs_are_added_in_the_step_that_fails(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        rest = (new("b"), new("c", vacant=True, dependencies=("a",)), new("d", dependencies=("never",)))
        change = store.transitions.fail([Failure("a", claim.token, "no", error='{"e":1}', then=rest)])
        assert self.ids(change.ready) == ["b"]
        assert self.states(store, "a", "b", "c", "d") == ["failed", "waiting", "failed", "failed"]
        assert self.record(store, "c").failed_reason == "dependency a failed: no"
        assert self.record(store, "d").failed_reason == "dependency never was removed"

    def test_a_job_that_is_removed_at_its_end_still_adds(self, store: Store) -> None:
        self.add(store, new("a", keep_completed=KEEP_NONE))
        assert self.completion(store, "a", new("b")) == ["b"]
        assert self.states(store, "a", "b") == ["gone", "waiting"]

    # -- errors -----------------------------------------------------------------------------------

    def test_an_error_goes_to_the_dependents_that_fail_because_of_it(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        self.add(store, new("b", dependencies=("a",)), new("c", dependencies=("b",)))
        store.transitions.fail([Failure("a", claim.token, "no", error='{"kind":"ValueError"}')])
        assert {self.record(store, one).result for one in "abc"} == {'{"kind":"ValueError"}'}
        assert store.queries.dependency_results("b") == {}
        store.transitions.retry("a")
        assert {self.record(store, one).result for one in "abc"} == {None}
        assert self.states(store, "a", "b", "c") == ["waiting", "blocked", "blocked"]

    def test_an_error_is_kept_only_when_the_job_has_failed(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.fail([Failure("a", claim.token, "no", retry_ms=0, error="1")])
        assert self.record(store, "a").result is None

    # -- any claim --------------------------------------------------------------------------------

    def test_any_claim_ends_a_job_in_every_state(self, store: Store) -> None:
        self.add(
            store, new("w"), new("d", delay_ms=60_000), new("a"), new("b", dependencies=("w",)), new("v", vacant=True)
        )
        self.claim(store, "a")
        ended = [Failure(one, ANY_CLAIM, "revoked") for one in "dabv"]
        assert store.transitions.fail(ended).stale == ()
        assert store.transitions.complete([Completion("w", ANY_CLAIM, "7")]).stale == ()
        assert self.states(store, *"wdabv") == ["completed", "failed", "failed", "failed", "failed"]
        assert store.transitions.fail(ended).stale == tuple("dabv")
        assert self.claim(store, *"wdabv") == []
        assert store.transitions.promote()[0].ready == ()
        assert [self.record(store, one).attempts_made for one in "wda"] == [0, 0, 1]

    def test_unclaimed_ends_a_job_in_every_state_but_active(self, store: Store) -> None:
        self.add(
            store, new("w"), new("d", delay_ms=60_000), new("a"), new("b", dependencies=("w",)), new("v", vacant=True)
        )
        held = self.claim(store, "a")
        ended = [Failure(one, UNCLAIMED, "revoked") for one in "wdabv"]
        assert store.transitions.fail(ended).stale == ("a",)
        assert self.states(store, *"wdabv") == ["failed", "failed", "active", "failed", "failed"]
        assert store.transitions.fail(ended).stale == tuple("wdabv")
        assert store.transitions.complete([Completion("a", UNCLAIMED, "6")]).stale == ("a",)
        assert store.transitions.complete([Completion("a", held[0].token, "7")]).stale == ()
        assert store.transitions.fail(ended).stale == tuple("wdabv")
        assert self.record(store, "a").result == "7"

    def test_unclaimed_ends_a_job_between_two_attempts(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.fail([Failure("a", claim.token, "no", retry_ms=60_000)])
        assert store.transitions.fail([Failure("a", UNCLAIMED, "revoked")]).stale == ()
        assert self.record(store, "a").failed_reason == "revoked"

    def test_a_parked_job_that_was_ended_is_not_sent_by_resume(self, store: Store) -> None:
        self.add(store, new("a"))
        store.transitions.pause(QUEUE)
        self.claim(store, "a")
        store.transitions.fail([Failure("a", ANY_CLAIM, "revoked")])
        assert store.transitions.resume(QUEUE).ready == ()

    def test_any_claim_does_not_renew_or_hand_back(self, store: Store) -> None:
        self.start(store, new("a"))
        assert store.transitions.hand_over([HandOver("a", ANY_CLAIM, ())]).stale == ("a",)
        assert self.states(store, "a") == ["active"]

    # -- placeholders -----------------------------------------------------------------------------

    def test_a_vacant_job_is_blocked_until_it_is_taken_over(self, store: Store) -> None:
        self.add(store, new("x", vacant=True), new("after", dependencies=("x",)))
        assert self.record(store, "x").vacant
        assert self.states(store, "x", "after") == ["blocked", "blocked"]
        assert self.claim(store, "x") == []
        taken = store.transitions.add([new("x", "other", name="real", data="3")])
        assert (self.ids(taken.ready), taken.duplicates) == (["x"], frozenset())
        record = self.record(store, "x")
        assert (record.queue, record.name, record.data, record.vacant) == ("other", "real", "3", False)
        assert self.counts(store) == {"blocked": 1}
        assert self.ids(self.complete(store, "x", queue="other", result="9").ready) == ["after"]
        assert store.queries.dependency_results("after") == {"x": "9"}

    def test_a_vacant_job_with_a_delay_fails_when_that_is_over(self, store: Store) -> None:
        self.add(store, new("x", vacant=True, delay_ms=60_000), new("y", vacant=True, delay_ms=1))
        self.add(store, new("after", dependencies=("y",)))
        assert self.states(store, "x") == ["delayed"]
        with pytest.raises(InvalidJobState):
            store.transitions.promote_job("x")
        until(lambda: store.transitions.promote() and self.states(store, "y") == ["failed"])
        assert self.states(store, "after") == ["failed"]
        assert self.add(store, new("x")) == ["x"]
        assert self.states(store, "x") == ["waiting"]

    def test_a_known_id_is_not_made_vacant_and_emits_nothing(self, store: Store) -> None:
        self.add(store, new("a", data="1"), new("v", vacant=True))
        self.add(store, new("a", vacant=True), new("v", vacant=True))
        assert self.record(store, "a").data == "1"
        assert "duplicated" not in dict(self.emitted(store))
        assert store.transitions.add([new("v"), new("v")]).duplicates == {"v"}

    def test_a_vacant_job_whose_dependencies_end_has_failed(self, store: Store) -> None:
        self.add(store, new("a"), new("x", vacant=True, dependencies=("a",)), new("after", dependencies=("x",)))
        self.complete(store, "a")
        assert self.states(store, "x", "after") == ["failed", "failed"]
        assert "ended without sending it" in str(self.record(store, "x").failed_reason)
        assert store.transitions.add([new("x")]).duplicates == {"x"}
        with pytest.raises(InvalidJobState):
            store.transitions.retry("x")

    def test_a_vacant_job_fails_with_its_dependency_and_waits_again(self, store: Store) -> None:
        self.add(store, new("a"), new("x", vacant=True, dependencies=("a",)))
        self.fail(store, "a", reason="no")
        assert self.record(store, "x").failed_reason == "dependency a failed: no"
        store.transitions.retry("a")
        assert self.states(store, "a", "x") == ["waiting", "blocked"]
        assert self.completion(store, "a", new("x")) == ["x"]

    def test_a_completing_job_sends_what_it_carried(self, store: Store) -> None:
        """A chain whose last job others wait for: each step says what it still carries."""
        self.add(
            store,
            new("1", carries=("2", "3")),
            new("3", vacant=True, dependencies=("1",)),
            new("after", dependencies=("3",)),
        )
        assert self.completion(store, "1", new("2", carries=("3",))) == ["2"]
        assert store.queries.dependencies("3") == {"1": State.COMPLETED, "2": State.WAITING}
        assert self.states(store, "3", "after") == ["blocked", "blocked"]
        assert self.completion(store, "2", new("3")) == ["3"]
        assert store.queries.dependencies("3") == {}
        assert self.completion(store, "3") == ["after"]

    def test_a_row_that_is_carried_waits_for_one_another(self, store: Store) -> None:
        """Each step of a long chain adds an edge to the next one only."""
        row = [new(str(number), vacant=True, dependencies=(str(number - 1),)) for number in range(2, 6)]
        self.add(store, new("1", carries=("2", "3", "4", "5")), *row)
        assert self.completion(store, "1", new("2", carries=("3", "4", "5"))) == ["2"]
        before = [depends for depends, _ in store.queries.edges(["3", "4", "5"])]
        assert before == [["2"], ["3"], ["4"]]
        assert self.completion(store, "2", new("3", carries=("4", "5"))) == ["3"]
        store.transitions.remove("3")
        assert self.states(store, "4", "5") == ["failed", "failed"]

    def test_a_row_with_a_gap_is_carried(self, store: Store) -> None:
        """Where nobody waits for a step, those behind it depend on what carries them."""
        self.add(store, new("1", carries=("2", "3", "4")))
        self.add(store, new("3", vacant=True, dependencies=("1",)), new("4", vacant=True, dependencies=("1",)))
        assert self.completion(store, "1", new("2", carries=("3", "4"))) == ["2"]
        assert [sorted(depends) for depends, _ in store.queries.edges(["3", "4"])] == [["1", "2"], ["1", "2"]]
        assert self.states(store, "3", "4") == ["blocked", "blocked"]

    def test_carrying_an_id_that_is_not_vacant_is_nothing(self, store: Store) -> None:
        self.add(store, new("a"), new("b", carries=("a", "unknown")))
        assert store.queries.dependencies("a") == {}
        assert self.states(store, "unknown") == ["gone"]

    def test_removing_what_carries_a_job_fails_it(self, store: Store) -> None:
        self.add(store, new("1", carries=("2",)), new("2", vacant=True, dependencies=("1",)))
        store.transitions.remove("1")
        assert self.record(store, "2").failed_reason == "dependency 1 was removed"

    def test_dependents_are_released_in_the_order_of_their_ids(self, store: Store) -> None:
        self.add(store, new("0"), *(new(one, dependencies=("0",)) for one in ("c", "a", "b")))
        store.transitions.remove("0")
        emitted = [event.job_id for event in store.events.read(QUEUE, "0") if event.name == "failed"]
        assert emitted == ["a", "b", "c"]

    # -- the id of a job that has ended ------------------------------------------------------------

    def test_a_job_takes_the_place_of_one_that_has_ended(self, store: Store) -> None:
        """A whole graph at once: nobody waits for a job, or reads a result, of the time before."""

        def graph() -> list[NewJob]:
            return [
                new("1", carries=("2",), anew=True),
                new("2", vacant=True, dependencies=("1",), anew=True),
                new("after", dependencies=("2",), anew=True),
            ]

        self.add(store, *graph())
        self.add(store, new("other", dependencies=("1", "after")))
        assert self.completion(store, "1", new("2", anew=True)) == ["2"]
        self.fail(store, "2", reason="no")
        assert self.states(store, "1", "2", "after", "other") == ["completed", "failed", "failed", "failed"]
        first = self.record(store, "1")
        added = store.transitions.add(graph())
        assert (self.ids(added.ready), added.duplicates) == (["1"], frozenset())
        assert self.states(store, "1", "2", "after", "other") == ["waiting", "blocked", "blocked", "failed"]
        again = self.record(store, "1")
        assert (again.result, again.attempts_made, again.number > first.number) == (None, 0, True)
        assert store.queries.dependencies("other") == {"1": State.COMPLETED, "after": State.FAILED}
        assert self.completion(store, "1", new("2", anew=True)) == ["2"]
        assert self.completion(store, "2") == ["after"]

    def test_one_that_has_not_ended_stays(self, store: Store) -> None:
        self.add(store, new("a"), new("b", queue="else", dependencies=("a",)))
        for one in (new("a", anew=True), new("b", queue="else", anew=True)):
            assert store.transitions.add([one]).duplicates == {one.id}
        self.start(store, new("c"))
        assert store.transitions.add([new("c", anew=True)]).duplicates == {"c"}
        with pytest.raises(JobIdTaken):
            store.transitions.add([new("b", anew=True)])

    def test_it_may_be_of_another_queue_and_come_by_another_job(self, store: Store) -> None:
        for one in ("a", "b"):
            self.add(store, new(one))
            self.complete(store, one)
        assert self.ids(store.transitions.add([new("a", queue="else", anew=True)]).ready) == ["a"]
        self.add(store, new("c"))
        assert self.completion(store, "c", new("b", queue="else", anew=True)) == ["b"]
        assert [self.record(store, one).queue for one in ("a", "b")] == ["else", "else"]

    # -- handing over -----------------------------------------------------------------------------

    def test_a_job_hands_over_to_another_message(self, store: Store) -> None:
        claim = self.start(store, new("a", message="{1}"))
        self.add(store, new("after", dependencies=("a",)))
        again = HandOver("a", claim.token, (new("a", message="{2}"),), "Busy: later", '["trace"]')
        assert [job.message for job in store.transitions.hand_over([again]).ready] == ["{2}"]
        record = self.record(store, "a")
        assert (record.attempts_made, record.attempts_started) == (1, 1)
        assert (record.failed_reason, record.message, record.vacant) == ("Busy: later", "{2}", False)
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ("a",)
        assert self.completion(store, "a") == ["after"]
        assert self.record(store, "a").failed_reason is None

    def test_what_was_said_of_a_job_holds_for_its_next_message(self, store: Store) -> None:
        """Its limit, its dead letter and its deduplication: only the message is another one."""
        given: dict[str, Any] = {
            "limit": Limit("l", 1, 60_000),
            "dead_letter": "dead",
            "deduplication": Deduplication("d"),
        }
        claim = self.start(store, new("a", **given))
        store.transitions.hand_over([HandOver("a", claim.token, (new("a", message="{}"),))])
        assert store.transitions.claim(QUEUE, ["a"], "w", LEASE_MS).refused[0].why is Refusal.LIMITED
        assert self.states(store, "a") == ["waiting"]
        assert store.transitions.add([new("b", deduplication=Deduplication("d"))]).instead == (("b", "a"),)
        store.transitions.fail([Failure("a", ANY_CLAIM, "no")])
        assert [one.name for one in store.queries.find("dead", [State.WAITING])] == ["send"]
        assert self.add(store, new("c", deduplication=Deduplication("d"))) == ["c"]

    def test_a_job_hands_over_to_a_later_time(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.hand_over([HandOver("a", claim.token, (new("a", delay_ms=60_000),))])
        assert self.states(store, "a") == ["delayed"]
        assert self.emitted(store)[-1][0] == "drained"

    def test_a_job_hands_over_to_one_that_carries_its_id(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        self.add(store, new("after", dependencies=("a",)))
        then = (new("b", carries=("a",)),)
        assert self.ids(store.transitions.hand_over([HandOver("a", claim.token, then)]).ready) == ["b"]
        assert self.states(store, "a", "after") == ["blocked", "blocked"]
        assert self.completion(store, "b", new("a")) == ["a"]
        assert self.completion(store, "a") == ["after"]

    def test_a_job_that_hands_over_to_nobody_has_failed(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        self.add(store, new("after", dependencies=("a",)))
        store.transitions.hand_over([HandOver("a", claim.token, (new("b"),))])
        assert self.states(store, "a", "b", "after") == ["failed", "waiting", "failed"]
