"""Steps taken by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stratix_kombu.errors import InvalidJobState, JobNotFound
from stratix_kombu.model.record import Completion, Failure, HandOver, Held, Limit, WorkerInfo
from stratix_kombu.model.state import Refusal, State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, native, new, until

ENDED_OR_ACTIVE = ("active", "completed", "failed")


class HandSuite(StoreCase):
    def test_a_paused_queue_starts_nothing(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("elsewhere", "other"))
        assert store.transitions.pause(QUEUE) is True
        assert store.transitions.pause(QUEUE) is False
        claimed = store.transitions.claim(QUEUE, ["a"], "w", LEASE_MS)
        assert [one.why for one in claimed.refused] == [Refusal.PAUSED]
        assert len(self.claim(store, "elsewhere", queue="other")) == 1
        status = store.queries.status(QUEUE)
        assert status.paused
        assert (status.counts["paused"], status.counts["waiting"]) == (2, 0)
        change = store.transitions.resume(QUEUE)
        assert self.ids(change.ready) == [""], "only what was refused has lost its message"
        assert store.transitions.resume(QUEUE).ready == ()
        assert [name for name, _ in self.emitted(store)] == ["waiting", "waiting", "paused", "resumed"]
        assert len(self.claim(store, "a", "b")) == 2

    def test_active_jobs_of_a_paused_queue_go_on(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        store.transitions.pause(QUEUE)
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ()

    def test_what_was_parked_may_be_removed(self, store: Store) -> None:
        self.add(store, new("a"))
        store.transitions.pause(QUEUE)
        self.claim(store, "a")
        store.transitions.remove("a")
        assert store.transitions.resume(QUEUE).ready == ()

    def test_resuming_goes_page_by_page(self, store: Store) -> None:
        self.add(store, *(new(f"{n}") for n in range(25)))
        store.transitions.pause(QUEUE)
        self.claim(store, *(f"{n}" for n in range(25)))
        pages: list[int] = []
        while sum(pages) < 25:
            change = store.transitions.resume(QUEUE, 10)
            pages.append(len(change.ready))
            assert change.more is (sum(pages) < 25)
        assert pages == [10, 10, 5]

    def test_retrying_a_failed_job(self, store: Store) -> None:
        self.add(store, new("a"))
        self.fail(store, "a", stacktrace='["t"]')
        assert self.ids(store.transitions.retry("a").ready) == ["a"]
        record = self.record(store, "a")
        assert (record.state, record.attempts_made) == (State.WAITING, 1)
        assert (record.failed_reason, record.stacktrace, record.finished_ms) == (None, None, 0)
        self.complete(store, "a")
        assert self.record(store, "a").attempts_made == 2

    def test_promoting_a_delayed_job(self, store: Store) -> None:
        self.add(store, new("a", delay_ms=60_000))
        assert self.ids(store.transitions.promote_job("a").ready) == ["a"]
        assert self.states(store, "a") == ["waiting"]
        assert store.transitions.promote()[1] is None

    def test_changing_when_a_delayed_job_comes(self, store: Store) -> None:
        self.add(store, new("later", delay_ms=1_000), new("sooner", delay_ms=60_000), new("now", delay_ms=60_000))
        assert store.transitions.change_delay("later", 90_000).ready == ()
        assert store.transitions.change_delay("sooner", 30_000).ready == ()
        assert self.ids(store.transitions.change_delay("now", 0).ready) == ["now"]
        assert self.states(store, "later", "sooner", "now") == ["delayed", "delayed", "waiting"]
        assert self.ids(store.queries.find(QUEUE, [State.DELAYED])) == ["sooner", "later"]
        change, next_ms = store.transitions.promote()
        assert change.ready == ()
        assert next_ms is not None
        assert 0 < next_ms <= 30_000
        assert self.emitted(store)[3:] == [("delayed", "later"), ("delayed", "sooner"), ("waiting", "now")]

    def test_a_changed_delay_ends(self, store: Store) -> None:
        self.add(store, new("a", delay_ms=60_000))
        store.transitions.change_delay("a", 5)
        assert until(lambda: self.ids(store.transitions.promote()[0].ready)) == ["a"]

    def test_when_other_jobs_come_cannot_be_changed(self, store: Store) -> None:
        self.start(store, new("active"))
        self.add(store, new("waiting"), new("vacant", vacant=True, delay_ms=60_000))
        for job_id in ("active", "waiting", "vacant"):
            with pytest.raises(InvalidJobState, match="change the delay of"):
                store.transitions.change_delay(job_id, 1)
        with pytest.raises(JobNotFound):
            store.transitions.change_delay("nobody", 1)

    def test_changing_the_priority_of_a_waiting_job(self, store: Store) -> None:
        self.add(store, *(new(f"{prio}{n}", priority=prio) for prio in (3, 5) for n in "abc"))
        emitted, before = len(self.emitted(store)), self.record(store, "5b")
        assert store.transitions.change_priority("5b", 3).ready == (), "its permit is there already"
        store.transitions.change_priority("3a", 5)
        store.transitions.change_priority("5a", 5)
        record = self.record(store, "5b")
        assert (record.priority, before.priority, record.created_ms) == (3, 5, before.created_ms)
        assert len(self.emitted(store)) == emitted
        order = ["3b", "3c", "5b", "5a", "5c", "3a"]
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == order
        self.add(store, new("last", priority=3))
        assert self.taken(store, 9) == ["3b", "3c", "5b", "last", "5a", "5c", "3a"]

    def test_changing_the_priority_before_a_job_waits(self, store: Store) -> None:
        self.add(store, new("delayed", delay_ms=60_000), new("first", priority=2))
        self.add(store, new("blocked", dependencies=("first",), priority=2))
        store.transitions.change_priority("delayed", 9)
        store.transitions.change_priority("blocked", 8)
        assert self.states(store, "delayed", "blocked") == ["delayed", "blocked"]
        store.transitions.promote_job("delayed")
        self.complete(store, "first")
        assert self.taken(store, 2) == ["blocked", "delayed"]

    def test_changing_the_priority_of_a_job_that_is_set_aside(self, store: Store) -> None:
        tight = Limit("tight", 1, 3_600_000)
        self.add(store, *(new(one, priority=5, limit=tight) for one in "abc"), new("free", priority=7))
        assert self.taken(store, 2) == ["a", "free"], "the others are set aside"
        store.transitions.change_priority("c", 0)
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == ["c", "b"]
        assert self.taken(store, 2) == []
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == ["c", "b"]
        store.transitions.remove("c")
        assert self.counts(store) == {"active": 2, "waiting": 1}

    def test_changing_the_priority_among_groups(self, store: Store) -> None:
        self.add(store, *(new(f"{group}{n}", group=group, priority=4) for group in "xy" for n in range(3)))
        self.add(store, *(new(f"z{n}", group="z", priority=6) for n in range(2)))
        for job_id in ("x2", "z0"):
            store.transitions.change_priority(job_id, 2)
        assert self.taken(store, 9) == ["x2", "z0", "x0", "y0", "x1", "y1", "y2", "z1"]

    def test_a_retry_has_the_priority_to_which_it_was_changed(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=2), new("b"))
        store.transitions.change_priority("a", 9)
        assert self.taken(store) == ["b"]
        (claim,) = self.take(store).claims
        store.transitions.fail([Failure("a", claim.token, "once", retry_ms=0)])
        self.add(store, new("c", priority=8))
        assert self.taken(store, 2) == ["c", "a"]

    def test_of_which_jobs_the_priority_cannot_be_changed(self, store: Store) -> None:
        self.start(store, new("active"))
        self.add(store, new("completed"), new("failed"), new("vacant", vacant=True, delay_ms=60_000))
        self.complete(store, "completed")
        self.fail(store, "failed")
        self.add(store, native("sent"), native("unsent", delay_ms=60_000))
        for job_id, state in (("vacant", "never sent"), ("sent", "sent"), *((one, one) for one in ENDED_OR_ACTIVE)):
            for priority in (0, 5):
                with pytest.raises(InvalidJobState, match=f"cannot change the priority of .* it is {state}, not"):
                    store.transitions.change_priority(job_id, priority)
        store.transitions.change_priority("unsent", 5)
        (ready,) = store.transitions.promote_job("unsent").ready
        assert ready.priority == 5
        with pytest.raises(JobNotFound):
            store.transitions.change_priority("nobody", 1)

    @pytest.mark.parametrize("state", ["waiting", "delayed", "blocked", "completed", "failed"])
    def test_removing_a_job(self, store: Store, state: str) -> None:
        self.add(store, new("dependency"))
        self.add(
            store,
            new(
                "a",
                delay_ms=60_000 if state == "delayed" else 0,
                dependencies=("dependency",) if state == "blocked" else (),
            ),
        )
        if state == "completed":
            self.complete(store, "a")
        elif state == "failed":
            self.fail(store, "a")
        assert self.states(store, "a") == [state]
        store.transitions.remove("a")
        assert self.states(store, "a") == ["gone"]
        assert self.emitted(store)[-1] == ("removed", "a")
        assert self.counts(store) == {"waiting": 1}
        assert store.queries.dependents("dependency") == []
        assert self.claim(store, "a") == []

    def test_steps_that_do_not_fit_the_state(self, store: Store) -> None:
        self.start(store, new("active"))
        self.add(store, new("waiting"), new("later", delay_ms=60_000))
        transitions = store.transitions
        for step, job_id in (
            (transitions.retry, "waiting"),
            (transitions.retry, "active"),
            (transitions.retry, "later"),
            (transitions.promote_job, "waiting"),
            (transitions.promote_job, "active"),
            (transitions.remove, "active"),
        ):
            with pytest.raises(InvalidJobState):
                step(job_id)
        for step in (transitions.retry, transitions.promote_job, transitions.remove):
            with pytest.raises(JobNotFound):
                step("nobody")
        assert self.states(store, "active", "waiting", "later") == ["active", "waiting", "delayed"]

    # -- many at once -------------------------------------------------------------------------------

    def test_jobs_of_a_state_are_removed_page_by_page(self, store: Store) -> None:
        self.add(store, *(new(f"{number}", priority=number % 2) for number in range(5)), new("d", delay_ms=60_000))
        self.add(store, new("after", dependencies=("0",)))
        page = store.transitions.sweep(QUEUE, Sweep.REMOVE, State.WAITING, limit=3)
        assert (page.affected, bool(page.cursor)) == (("0", "2", "4"), True)
        page = store.transitions.sweep(QUEUE, Sweep.REMOVE, State.WAITING, limit=3, cursor=page.cursor)
        assert (page.affected, page.cursor) == (("1", "3"), "")
        assert self.states(store, "0", "3", "d", "after") == ["gone", "gone", "delayed", "failed"]
        assert next(event for event in store.events.read(QUEUE, "0") if event.name == "cleaned").value == "3"
        assert store.transitions.sweep(QUEUE, Sweep.REMOVE, State.WAITING).affected == ()

    def test_only_old_ones_are_removed(self, store: Store) -> None:
        self.add(store, new("a"), new("b", delay_ms=60_000))
        self.complete(store, "a")
        for state in (State.COMPLETED, State.DELAYED):
            assert store.transitions.sweep(QUEUE, Sweep.REMOVE, state, 60_000).affected == ()
        assert store.transitions.sweep(QUEUE, Sweep.REMOVE, State.COMPLETED, 0).affected == ("a",)

    def test_failed_jobs_are_retried_and_delayed_ones_promoted(self, store: Store) -> None:
        self.add(store, new("a"), new("b"), new("after", dependencies=("a",)))
        self.fail(store, "a", "b")
        vacant = new("v", vacant=True, delay_ms=1_000_000)
        self.add(store, new("x", delay_ms=90_000), new("y", delay_ms=60_000), vacant)
        change = store.transitions.sweep(QUEUE, Sweep.RETRY, State.FAILED)
        assert change.affected == ("a", "b"), "who failed because of another waits for it again"
        assert self.states(store, "a", "b", "after") == ["waiting", "waiting", "blocked"]
        change = store.transitions.sweep(QUEUE, Sweep.PROMOTE, State.DELAYED)
        assert (change.affected, self.ids(change.ready)) == (("y", "x"), ["y", "x"])

    def sweep(self, store: Store, action: Sweep, state: State, limit: int = 500) -> Iterator[tuple[str, ...]]:
        """The pages of a sweep."""
        cursor = ""
        while True:
            change = store.transitions.sweep(QUEUE, action, state, limit=limit, cursor=cursor)
            self.finish_releases(store, change)
            yield change.affected
            if not (cursor := change.cursor):
                return

    def test_what_fails_again_is_not_retried_again(self, store: Store) -> None:
        names = [f"{n:02}" for n in range(12)]
        self.add(store, *(new(name) for name in names))
        self.fail(store, *names)
        self.add(store, new("later"))
        swept: list[str] = []
        for page in self.sweep(store, Sweep.RETRY, State.FAILED, limit=5):
            swept += page
            until(lambda: store.queries.now() > self.record(store, names[-1]).finished_ms)
            self.fail(store, *page)
        assert swept == names
        assert self.counts(store) == {"failed": 12, "waiting": 1}
        assert list(self.sweep(store, Sweep.RETRY, State.FAILED)) == [tuple(names)], "a sweep of its own"

    def test_what_is_delayed_again_is_not_promoted_again(self, store: Store) -> None:
        names = [f"{n:02}" for n in range(12)]
        self.add(store, *(new(name, delay_ms=60_000 + n, max_attempts=9) for n, name in enumerate(names)))
        swept: list[str] = []
        for page in self.sweep(store, Sweep.PROMOTE, State.DELAYED, limit=5):
            swept += page
            self.fail(store, *page, retry_ms=60_006)
        assert swept == names
        assert self.counts(store) == {"delayed": 12}

    @pytest.mark.parametrize("removed", [False, True], ids=["stays", "goes"])
    def test_a_sweep_goes_on_behind_what_it_leaves(self, store: Store, removed: bool) -> None:
        """Also where the last job it had looked at has gone meanwhile."""
        passed = [f"p{n:04}" for n in range(1_005)]
        self.add(store, new("a"), new("own"), *(new(one, dependencies=("a",)) for one in passed))
        self.finish_releases(store, store.transitions.remove("a"))
        self.fail(store, "own")
        swept: list[str] = []
        for page in self.sweep(store, Sweep.RETRY, State.FAILED):
            swept += page
            if removed and not page:
                for one in passed[990:1_000]:
                    store.transitions.remove(one)
                removed = False
        assert swept == ["own"]

    def test_active_jobs_are_removed_with_their_claims(self, store: Store) -> None:
        claim = self.start(store, new("a"))
        assert not store.transitions.forget_queue(QUEUE)
        assert store.transitions.sweep(QUEUE, Sweep.REMOVE, State.ACTIVE).affected == ("a",)
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ("a",)
        store.transitions.pause(QUEUE)
        assert store.transitions.forget_queue(QUEUE)
        assert store.queries.queues() == []
        assert store.events.read(QUEUE, "0") == []
        assert self.add(store, new("a")) == ["a"]
        assert len(self.claim(store, "a")) == 1

    # -- cancelling ---------------------------------------------------------------------------------

    def test_a_job_that_has_not_begun_is_cancelled_at_once(self, store: Store) -> None:
        self.add(store, new("a"), new("d", delay_ms=60_000), new("b", dependencies=("d",)))
        for one in "ab":
            store.transitions.cancel(one, "not needed")
        assert self.states(store, "a", "d", "b") == ["failed", "delayed", "failed"]
        assert self.record(store, "a").failed_reason == "not needed"
        assert self.claim(store, "a") == []
        with pytest.raises(InvalidJobState):
            store.transitions.cancel("a", "again")
        with pytest.raises(JobNotFound):
            store.transitions.cancel("nobody", "no")

    def test_the_worker_of_an_active_job_is_told(self, store: Store) -> None:
        claim = self.start(store, new("a", max_attempts=5))
        other = self.start(store, new("b"))
        assert store.transitions.cancel("a", "stop").ready == ()
        held = [Held("a", claim.token), Held("b", other.token)]
        renewed = store.transitions.renew([WorkerInfo(id="w", queue=QUEUE)], held, LEASE_MS)
        assert (renewed.cancelled, renewed.lost) == (frozenset({claim.token}), frozenset())
        assert self.states(store, "a") == ["active"]
        assert store.transitions.complete([Completion("a", claim.token, "1")]).stale == ()

    @pytest.mark.parametrize("reason", ["", "by user 7", "é" * 5000])
    def test_the_reason_of_a_cancel_is_the_jobs(self, store: Store, reason: str) -> None:
        job = new("a", max_attempts=2, dead_letter="dead")
        claim = self.start(store, job)
        store.transitions.cancel("a", reason)
        (held,) = store.transitions.renew([], [Held("a", claim.token)], LEASE_MS).cancelled
        assert held == claim.token
        store.transitions.fail([Failure("a", claim.token, "CancelledError", '["trace"]', retry_ms=0, error='"e"')])
        record = self.record(store, "a")
        assert (record.state, record.failed_reason) == (State.FAILED, reason[:2048])
        assert (record.stacktrace, record.result) == ('["trace"]', '"e"')
        assert self.counts(store, "dead") == {}
        assert "retries_exhausted" not in [name for name, _ in self.emitted(store)]

    @pytest.mark.parametrize("way", ["fail", "hand_back", "hand_over", "recover"])
    def test_a_cancelled_job_makes_no_other_attempt(self, store: Store, way: str) -> None:
        job = new("a", max_attempts=5, dead_letter="dead")
        claim = self.start(store, job, lease_ms=0 if way == "recover" else LEASE_MS)
        self.add(store, new("b", dependencies=("a",)))
        store.transitions.cancel("a", "stop", '{"e":1}')
        if way == "fail":
            store.transitions.fail([Failure("a", claim.token, "KeyError: 'x'", retry_ms=0, error='{"e":2}')])
        elif way == "hand_over":
            store.transitions.hand_over([HandOver("a", claim.token, (new("a"),))])
        elif way == "hand_back":
            store.transitions.hand_back([Held("a", claim.token)])
        else:
            store.transitions.recover(0)
        assert self.states(store, "a", "b") == ["failed", "failed"]
        assert (self.record(store, "a").failed_reason, self.record(store, "a").result) == ("stop", '{"e":1}')
        assert store.queries.find("dead", [State.WAITING]) == [], "what was cancelled is no dead letter"
        store.transitions.retry("a")
        (claim,) = self.claim(store, "a")
        assert store.transitions.fail([Failure("a", claim.token, "no", retry_ms=0)]).stale == ()
        assert self.states(store, "a") == ["waiting"]
