"""Claims, leases, and the ends of attempts."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.names import letter_id
from stratix_kombu.model.record import LETTER, Completion, Failure, Held, Limit, Renewed, Retention, WorkerInfo
from stratix_kombu.model.state import Refusal, State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new, until

WORKER = WorkerInfo(id="w", queue=QUEUE, host="here", pid=7, concurrency=3, stuck=2)


class RunningSuite(StoreCase):
    def test_no_two_claims_have_the_same_token(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c", "other"))
        first = [*self.claim(store, "a", "b"), *self.claim(store, "c", queue="other")]
        store.transitions.hand_back([Held(one.record.id, one.token) for one in first])
        again = self.claim(store, "a", "b")
        assert len({one.token for one in (*first, *again)}) == 5

    def test_a_claim_makes_a_job_active(self, store: Store) -> None:
        claim = self.start(store, new("a", data="[1]", options='{"x":1}', name="n", priority=2, max_attempts=3))
        record = claim.record
        assert claim.token
        assert (record.id, record.queue, record.name, record.data) == ("a", QUEUE, "n", "[1]")
        assert (record.options, record.priority, record.max_attempts) == ('{"x":1}', 2, 3)
        assert (record.state, record.worker, record.attempts_started) == (State.ACTIVE, "w", 1)
        assert record.attempts_made == 0
        assert record.processed_ms >= record.created_ms
        assert self.record(store, "a") == record
        assert self.counts(store) == {"active": 1}
        assert self.emitted(store) == [("waiting", "a"), ("active", "a")]

    def test_each_id_is_claimed_or_refused_on_its_own(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("later", delay_ms=60_000), new("other", "elsewhere"), new("done"))
        self.complete(store, "done")
        claimed = store.transitions.claim(QUEUE, ["a", "nobody", "later", "other", "done", "b"], "w", LEASE_MS)
        assert [claim.record.id for claim in claimed.claims] == ["a", "b"]
        assert [(one.job_id, one.why) for one in claimed.refused] == [
            ("nobody", Refusal.GONE),
            ("later", Refusal.NOT_WAITING),
            ("other", Refusal.GONE),
            ("done", Refusal.NOT_WAITING),
        ]
        assert self.states(store, "later", "other", "done") == ["delayed", "waiting", "completed"]

    def test_a_job_is_claimed_once_however_often_it_is_named(self, store: Store) -> None:
        self.add(store, new("a"))
        claimed = store.transitions.claim(QUEUE, ["a", "a"], "w", LEASE_MS)
        assert [claim.record.id for claim in claimed.claims] == ["a"]
        assert [one.why for one in claimed.refused] == [Refusal.NOT_WAITING]
        again = store.transitions.claim(QUEUE, ["a"], "v", LEASE_MS)
        assert again.claims == []
        assert self.record(store, "a").worker == "w"

    def test_claiming_nothing(self, store: Store) -> None:
        claimed = store.transitions.claim(QUEUE, [], "w", LEASE_MS)
        assert (claimed.claims, claimed.refused) == ([], [])

    def test_completion(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        change = store.transitions.complete([Completion("a", claim.token, '{"sum":3}')])
        assert (change.ready, change.stale, change.more) == ((), (), False)
        record = self.record(store, "a")
        assert (record.state, record.result, record.attempts_made) == (State.COMPLETED, '{"sum":3}', 1)
        assert record.finished_ms >= record.processed_ms
        events = store.events.read(QUEUE, "0")
        assert [(event.name, event.job_id) for event in events[2:]] == [("completed", "a"), ("drained", "")]
        assert events[2].value == '{"sum":3}'

    def test_a_queue_is_drained_when_nothing_waits_or_runs(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c"), new("later", delay_ms=60_000))
        self.complete(store, "a")
        (b,) = self.claim(store, "b")
        self.complete(store, "c")
        assert "drained" not in dict(self.emitted(store))
        store.transitions.complete([Completion("b", b.token, "1")])
        assert [name for name, _ in self.emitted(store)].count("drained") == 1

    @pytest.mark.parametrize("token", ["", "w:2", "other"])
    def test_only_the_holder_of_the_token_ends_an_attempt(self, store: Store, token: str) -> None:
        self.start(store, new("a"))
        transitions = store.transitions
        assert transitions.complete([Completion("a", token, "1")]).stale == ("a",)
        assert transitions.fail([Failure("a", token, "no")]).stale == ("a",)
        assert transitions.hand_back([Held("a", token)]).stale == ("a",)
        assert transitions.complete([Completion("nobody", token, "1")]).stale == ("nobody",)
        assert self.record(store, "a").state is State.ACTIVE
        assert self.emitted(store) == [("waiting", "a"), ("active", "a")]

    def test_an_end_counts_once(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        done = Completion("a", claim.token, "1")
        assert store.transitions.complete([done, done]).stale == ()
        assert store.transitions.complete([done]).stale == ()
        assert self.record(store, "a").attempts_made == 1
        assert store.transitions.fail([Failure("a", claim.token, "no")]).stale == ("a",)
        assert [name for name, _ in self.emitted(store)].count("completed") == 1

    def test_stale_and_valid_ends_in_one_call(self, store: Store) -> None:
        claims = [self.start(store, new(name)) for name in ("a", "b", "c")]
        ends = [Completion(claim.record.id, "x" if claim.record.id == "b" else claim.token, "1") for claim in claims]
        assert store.transitions.complete(ends).stale == ("b",)
        assert self.states(store, "a", "b", "c") == ["completed", "active", "completed"]

    def test_failure_for_good(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        change = store.transitions.fail([Failure("a", claim.token, "ValueError: no", '["trace"]')])
        assert (change.ready, change.stale) == ((), ())
        record = self.record(store, "a")
        assert (record.state, record.failed_reason, record.stacktrace) == (State.FAILED, "ValueError: no", '["trace"]')
        assert (record.attempts_made, record.result) == (1, None)
        events = store.events.read(QUEUE, "0")[2:]
        assert [(event.name, event.value) for event in events] == [("failed", "ValueError: no"), ("drained", None)]

    def test_failure_with_a_retry_at_once(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2))
        change = self.fail(store, "a", retry_ms=0)
        assert self.ids(change.ready) == ["a"]
        record = self.record(store, "a")
        assert (record.state, record.attempts_made, record.failed_reason) == (State.WAITING, 1, "broken")
        assert [name for name, _ in self.emitted(store)] == ["waiting", "active", "waiting"]

    def test_failure_with_a_retry_later(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2))
        assert self.fail(store, "a", retry_ms=50_000).ready == ()
        record = self.record(store, "a")
        assert record.state is State.DELAYED
        assert record.due_ms >= record.processed_ms + 50_000

    def test_the_last_of_several_attempts(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2))
        self.fail(store, "a", retry_ms=0)
        self.fail(store, "a")
        names = [name for name, _ in self.emitted(store)]
        assert names[-3:] == ["failed", "retries_exhausted", "drained"]
        assert self.record(store, "a").attempts_made == 2

    def test_failing_for_good_early_exhausts_nothing(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=3))
        self.fail(store, "a")
        assert "retries_exhausted" not in dict(self.emitted(store))

    def test_success_after_a_failure_leaves_no_reason(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2))
        self.fail(store, "a", stacktrace='["t"]', retry_ms=0)
        self.complete(store, "a")
        record = self.record(store, "a")
        assert (record.failed_reason, record.stacktrace, record.attempts_made) == (None, None, 2)
        assert record.attempts_started == 2

    def test_handing_back_counts_no_attempt(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        change = store.transitions.hand_back([Held("a", claim.token)])
        assert self.ids(change.ready) == ["a"]
        record = self.record(store, "a")
        assert (record.state, record.attempts_started, record.attempts_made) == (State.WAITING, 0, 0)
        (second,) = self.claim(store, "a")
        assert second.token != claim.token
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ("a",)

    def test_what_a_worker_holds(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("c"), new("d"))
        claims = {one.record.id: one.token for one in self.claim(store, "a", "b")}
        self.claim(store, "c", worker="another")
        assert store.queries.held(QUEUE, "w") == [Held(job_id, claims[job_id]) for job_id in ("a", "b")]
        store.transitions.hand_back([Held("a", claims["a"])])
        assert store.queries.held(QUEUE, "w") == [Held("b", claims["b"])]
        assert store.queries.held("nobody", "w") == []

    def test_tokens_are_never_used_twice(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=9))
        tokens = []
        for _ in range(5):
            (claim,) = self.claim(store, "a")
            tokens.append(claim.token)
            store.transitions.fail([Failure("a", claim.token, "again", retry_ms=0)])
        assert len(set(tokens)) == 5

    def test_renewing_keeps_a_lease(self, store: Store) -> None:
        claim = self.start(store, new("a"), lease_ms=1)
        renewed = store.transitions.renew([WORKER], [Held("a", claim.token)], LEASE_MS)
        assert (renewed.lost, renewed.paused) == (frozenset(), frozenset())
        assert store.transitions.recover(3).affected == ()
        assert self.states(store, "a") == ["active"]

    def test_renewing_tells_what_was_lost(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.pause(QUEUE)
        held = [Held("a", claim.token), Held("a", "other"), Held("nobody", "w:1")]
        renewed = store.transitions.renew([WORKER], held[1:], LEASE_MS, asked=[QUEUE, "nobodys"])
        assert renewed.lost == {"other", "w:1"}
        assert renewed.paused == {QUEUE}
        assert store.transitions.renew([], held[:1], LEASE_MS) == Renewed(), "nothing is asked about"
        assert "nobodys" not in store.queries.queues()

    def test_presence_of_workers(self, store: Store) -> None:
        assert store.queries.workers(QUEUE) == []
        store.transitions.renew([WORKER], [], LEASE_MS)
        store.transitions.renew([WorkerInfo(id="brief", queue=QUEUE)], [], 1)
        assert store.queries.queues() == [QUEUE]
        until(lambda: store.queries.workers(QUEUE) == [WORKER])
        assert store.queries.status(QUEUE).workers == 1
        store.transitions.leave("w", [QUEUE])
        store.transitions.leave("w", [QUEUE])
        assert store.queries.workers(QUEUE) == []

    def test_how_long_ago_a_worker_took_messages(self, store: Store) -> None:
        store.transitions.renew([replace(WORKER, idle_ms=5_000)], [], LEASE_MS)
        (first,) = store.queries.workers(QUEUE)
        assert first.idle_ms is not None
        assert first == replace(WORKER, idle_ms=first.idle_ms)
        assert 5_000 <= first.idle_ms < 65_000
        until(lambda: (store.queries.workers(QUEUE)[0].idle_ms or 0) > (first.idle_ms or 0))
        store.transitions.renew([replace(WORKER, idle_ms=0)], [], LEASE_MS, every_ms=LEASE_MS)
        assert store.queries.workers(QUEUE) == [replace(WORKER, idle_ms=0)], "it was not to be renewed yet"
        store.transitions.renew([WORKER], [], LEASE_MS)
        assert store.queries.workers(QUEUE) == [WORKER], "it cannot tell any more"

    def test_one_worker_on_many_queues(self, store: Store) -> None:
        times = [0, 400, 90_000, None]
        present = [
            replace(WORKER, queue=f"q{n}", concurrency=n + 1, idle_ms=time, stuck=n // 3)
            for n, time in enumerate(times)
        ]
        store.transitions.renew(present[:2], [], LEASE_MS)
        store.transitions.renew(present, [], LEASE_MS, every_ms=LEASE_MS)
        found = [store.queries.workers(one.queue) for one in present]
        assert [len(one) for one in found] == [1] * 4
        for (emitted,), one in zip(found, present, strict=True):
            assert replace(emitted, idle_ms=one.idle_ms) == one
            assert (emitted.idle_ms is None) == (one.idle_ms is None)
            assert abs((emitted.idle_ms or 0) - (one.idle_ms or 0)) <= 1_000
        store.transitions.leave(WORKER.id, ["q0", "q1"])
        assert [len(store.queries.workers(one.queue)) for one in present] == [0, 0, 1, 1]
        assert [store.queries.status(one.queue).workers for one in present] == [0, 0, 1, 1]
        store.transitions.renew([replace(WORKER, queue="q2", concurrency=7)], [], LEASE_MS)
        assert [worker.concurrency for worker in store.queries.workers("q2")] == [7]
        store.transitions.renew([replace(WORKER, queue="q2")], [], 1)
        until(lambda: store.queries.workers("q2") == store.queries.workers("q3") == [])
        assert store.queries.status("q2").workers == 0

    def test_a_queue_that_is_forgotten_keeps_its_workers(self, store: Store) -> None:
        store.transitions.renew([WORKER], [], LEASE_MS)
        assert store.transitions.forget_queue(QUEUE)
        assert store.queries.workers(QUEUE) == [WORKER]
        store.transitions.renew([WORKER], [], LEASE_MS)
        assert store.queries.queues() == [QUEUE]
        store.transitions.leave(WORKER.id, [QUEUE])
        assert store.transitions.forget_queue(QUEUE)
        assert store.queries.queues() == []

    def test_retention_by_count(self, store: Store) -> None:
        keep = Retention(count=2)
        for number in range(5):
            self.add(store, new(f"c{number}", keep_completed=keep), new(f"f{number}", keep_failed=keep))
            self.complete(store, f"c{number}")
            self.fail(store, f"f{number}")
        assert self.ids(store.queries.find(QUEUE, [State.COMPLETED])) == ["c4", "c3"]
        assert self.ids(store.queries.find(QUEUE, [State.FAILED])) == ["f4", "f3"]
        assert self.counts(store) == {"completed": 2, "failed": 2}

    def test_keeping_nothing_of_one_job_leaves_the_others(self, store: Store) -> None:
        self.add(store, new("a"), new("b", keep_completed=Retention(count=0)), new("c"))
        self.complete(store, "a", "b", "c")
        assert self.states(store, "a", "b", "c") == ["completed", "gone", "completed"]

    def test_keeping_nothing_still_tells_the_result(self, store: Store) -> None:
        self.add(store, new("a", keep_completed=Retention(count=0)))
        store.transitions.log("a", "line", 5)
        self.complete(store, "a", result='"r"')
        assert self.states(store, "a") == ["gone"]
        assert store.queries.logs("a") == []
        (event,) = [one for one in store.events.read(QUEUE, "0") if one.name == "completed"]
        assert (event.job_id, event.value) == ("a", '"r"')
        assert self.add(store, new("a")) == ["a"]

    def test_a_limit_refuses_and_changes_nothing(self, store: Store) -> None:
        limit = Limit("api", 2, 60_000)
        self.add(store, *(new(f"{n}") for n in range(5)))
        claimed = store.transitions.claim(QUEUE, [f"{n}" for n in range(5)], "w", LEASE_MS, Bounds(limit))
        assert [claim.record.id for claim in claimed.claims] == ["0", "1"]
        assert {one.why for one in claimed.refused} == {Refusal.LIMITED}
        assert all(50_000 < one.retry_ms <= 61_000 for one in claimed.refused)
        assert self.counts(store) == {"active": 2, "waiting": 3}
        assert self.taken(store, 3) == ["2", "3", "4"], "in their places"

    def test_a_limit_is_used_up_by_all_who_share_its_key(self, store: Store) -> None:
        self.add(store, *(new(f"{n}", queue, limit=Limit("key", 1, 60_000)) for n, queue in enumerate(("x", "y"))))
        assert len(self.claim(store, "0", queue="x")) == 1
        assert len(self.claim(store, "1", queue="y")) == 0
        assert self.taken(store, 1, queue="y") == []
        assert self.states(store, "0", "1") == ["active", "waiting"]

    # -- dead letters -------------------------------------------------------------------------------

    def test_a_job_that_has_failed_leaves_a_letter(self, store: Store) -> None:
        claim = self.start(store, new("a", data='{"to":"ä/b"}', dead_letter="dead", max_attempts=2))
        again = store.transitions.fail([Failure("a", claim.token, "once", retry_ms=0)])
        assert self.ids(again.ready) == ["a"]
        assert store.queries.queues() == [QUEUE]
        (claim,) = self.claim(store, "a")
        change = store.transitions.fail([Failure("a", claim.token, 'no "way"')])
        number = self.record(store, "a").number
        assert self.ids(change.ready) == [letter_id("a", number, 2)]
        letter = self.record(store, letter_id("a", number, 2))
        assert (letter.queue, letter.name, letter.kind) == ("dead", "send", LETTER)
        assert json.loads(letter.data) == {
            "id": "a",
            "queue": QUEUE,
            "name": "send",
            "data": {"to": "ä/b"},
            "options": "",
            "reason": 'no "way"',
            "attempts": 2,
            "max_attempts": 2,
            "again": {"priority": 0, "max_stalled": None, "keep_completed": None, "keep_failed": None, "limit": None},
        }
        store.transitions.retry("a")
        self.fail(store, "a")
        assert self.states(store, letter_id("a", number, 3)) == ["waiting"]

    def test_a_job_that_stalls_too_often_leaves_a_letter_and_a_dependent_does_not(self, store: Store) -> None:
        self.start(store, new("a", dead_letter="dead"), lease_ms=0)
        self.add(store, new("b", dependencies=("a",), dead_letter="dead"))
        self.finish_releases(store, store.transitions.recover(0))
        assert self.states(store, "a", "b") == ["failed", "failed"]
        letters = [one.id for one in store.queries.find("dead", [State.WAITING])]
        assert letters == [letter_id("a", self.record(store, "a").number, 1)]
