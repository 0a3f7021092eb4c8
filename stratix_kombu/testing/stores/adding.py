"""Adding jobs, and reading them back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stratix_kombu.errors import DependencyNotFound, JobNotFound
from stratix_kombu.model.record import Deduplication, Failure, Held, Limit, NewJob, Placed, Ready, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, native, new, until


class AddingSuite(StoreCase):
    def test_a_new_job_waits_and_is_to_be_dispatched(self, store: Store) -> None:
        added = store.transitions.add([new("a", name="welcome", priority=3)])
        assert added.ready == (Ready("a", QUEUE, "welcome", 3),)
        assert not added.duplicates
        assert not added.more
        assert self.emitted(store) == [("waiting", "a")]
        assert self.counts(store) == {"waiting": 1}

    def test_a_record_is_read_back_as_it_was_added(self, store: Store) -> None:
        data, options = '{"text":"gr\\u00fc\\u00dfe","n":[1,2.5,null]}', '{"backoff":{"type":"fixed","delay":1000}}'
        self.add(store, new("a", name="wünsche 'x' %s", data=data, options=options, priority=7, max_attempts=4))
        record = self.record(store, "a")
        assert (record.id, record.queue, record.name) == ("a", QUEUE, "wünsche 'x' %s")
        assert (record.data, record.options, record.state) == (data, options, State.WAITING)
        assert (record.priority, record.max_attempts, record.optional) == (7, 4, False)
        assert record.created_ms > 1_600_000_000_000
        assert (record.due_ms, record.processed_ms, record.finished_ms) == (0, 0, 0)
        assert (record.attempts_made, record.attempts_started, record.stalled_count) == (0, 0, 0)
        assert (record.pending, record.worker) == (0, "")
        assert (record.progress, record.result, record.failed_reason, record.stacktrace) == (None, None, None, None)

    def test_a_job_under_an_id_of_its_own_is_added_as_any_other(self, store: Store) -> None:
        fields: dict[str, Any] = {
            "data": '{"a":"\u00fc"}',
            "options": "{}",
            "priority": 2,
            "max_attempts": 4,
            "keep_completed": Retention(count=1),
            "keep_failed": Retention(age_ms=5),
            "limit": Limit("api", 1, 60_000),
            "max_stalled": 0,
            "dead_letter": "dead",
            "kind": "run",
        }
        first, last = new(**fields), new(**fields)
        assert first.fresh
        added = [store.transitions.add(one) for one in ([first], [new("known", **fields)], [last])]
        assert [self.ids(one.ready) for one in added] == [[first.id], ["known"], [last.id]]
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == [first.id, "known", last.id]
        placed = [one.placed[0] for one in added]
        records = [self.record(store, one) for one in (first.id, "known", last.id)]
        assert [Placed(State.WAITING, record.created_ms, record.number) for record in records] == placed
        assert records[0].number < records[1].number < records[2].number
        assert records[0].created_ms <= records[1].created_ms <= records[2].created_ms <= store.queries.now()
        assert len({repr(replace(record, id="", number=0, created_ms=0)) for record in records}) == 1
        assert [name for name, _ in self.emitted(store)] == ["waiting"] * 3

    def test_many_under_ids_of_their_own_are_added_as_one_by_one(self, store: Store) -> None:
        fields: list[dict[str, Any]] = [
            {},
            {},
            {"priority": 2},
            {"options": "{}", "max_attempts": 3},
            {"priority": 2, "keep_failed": Retention(count=1)},
            {"limit": Limit("api", 100, 60_000)},
            {},
        ]
        together, alone = (
            [new(queue=queue, name=f"n{n}", data=f"[{n}]", **one) for n, one in enumerate(fields)]
            for queue in ("together", "alone")
        )
        called: list[str] = []
        added = store.transitions.add_meanwhile(together, lambda: called.append("meanwhile"))
        assert called
        assert {(one.id, one.queue, one.name, one.priority) for one in added.ready} == {
            (one.id, one.queue, one.name, one.priority) for one in together
        }
        for one in alone:
            store.transitions.add([one])
        records = [self.record(store, one.id) for one in together]
        assert list(added.placed) == [Placed(State.WAITING, one.created_ms, one.number) for one in records]
        assert [one.number - records[0].number for one in records] == [*range(len(fields))]
        assert {one.queue for one in records} == {"together"}
        others = [self.record(store, one.id) for one in alone]
        for record in (*records, *others):
            record.id = record.queue = ""
            record.number = record.created_ms = 0
        assert records == others
        for _ in range(2):  # the later ones stand behind these, in each priority
            names, same = (
                [one.name for one in store.queries.find(queue, [State.WAITING])] for queue in ("together", "alone")
            )
            assert names == same
            store.transitions.add([new(queue="together", name="x", priority=n) for n in (2, 0)])
            for n in (2, 0):
                store.transitions.add([new(queue="alone", name="x", priority=n)])
        events, others_events = (store.events.read(queue, "0") for queue in ("together", "alone"))
        assert [(one.name, one.job_name) for one in events] == [(one.name, one.job_name) for one in others_events]
        assert [one.job_id for one in events[: len(together)]] == [one.id for one in together]
        taken = ([one.record.name for one in self.take(store, 9, queue=one).claims] for one in ("together", "alone"))
        assert next(taken) == next(taken)

    def test_adding_nothing_changes_nothing(self, store: Store) -> None:
        added = store.transitions.add([])
        assert added.ready == ()
        assert store.queries.queues() == []

    def test_jobs_are_dispatched_in_the_order_they_were_added(self, store: Store) -> None:
        jobs = [new(f"job-{number}") for number in range(50)]
        assert self.add(store, *jobs) == [job.id for job in jobs]
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == [job.id for job in jobs]

    def test_one_call_may_name_several_queues(self, store: Store) -> None:
        added = store.transitions.add([new("a", "one"), new("b", "two"), new("c", "one")])
        assert [(job.id, job.queue) for job in added.ready] == [("a", "one"), ("b", "two"), ("c", "one")]
        assert store.queries.queues() == ["one", "two"]

    def test_a_known_id_changes_nothing(self, store: Store) -> None:
        self.add(store, new("a", data="1"))
        added = store.transitions.add([new("a", data="2"), new("b")])
        assert added.duplicates == {"a"}
        assert self.ids(added.ready) == ["b"]
        assert self.record(store, "a").data == "1"
        assert self.emitted(store) == [("waiting", "a"), ("duplicated", "a"), ("waiting", "b")]

    def test_an_id_named_twice_in_one_call_is_added_once(self, store: Store) -> None:
        added = store.transitions.add([new("a", data="1"), new("a", data="2")])
        assert added.duplicates == {"a"}
        assert self.ids(added.ready) == ["a"]
        assert self.record(store, "a").data == "1"

    def test_a_finished_job_still_has_its_id(self, store: Store) -> None:
        self.add(store, new("a"))
        self.complete(store, "a")
        assert store.transitions.add([new("a")]).duplicates == {"a"}
        assert self.states(store, "a") == ["completed"]

    @pytest.mark.parametrize("fields", [{"delay_ms": 60_000}, {"due_ms": 32_503_680_000_000}])
    def test_a_job_for_later_is_delayed(self, store: Store, fields: dict[str, Any]) -> None:
        assert self.add(store, new("a", **fields)) == []
        record = self.record(store, "a")
        assert record.state is State.DELAYED
        assert record.due_ms >= record.created_ms + 60_000
        assert self.emitted(store) == [("delayed", "a")]

    def test_the_later_of_delay_and_instant_counts(self, store: Store) -> None:
        self.add(store, new("a", delay_ms=60_000, due_ms=1), new("b", delay_ms=1, due_ms=32_503_680_000_000))
        a, b = self.record(store, "a"), self.record(store, "b")
        assert a.due_ms == a.created_ms + 60_000
        assert b.due_ms == 32_503_680_000_000

    def test_an_instant_in_the_past_is_now(self, store: Store) -> None:
        assert self.add(store, new("a", due_ms=1_000)) == ["a"]
        assert self.record(store, "a").due_ms == 0

    def test_an_unknown_dependency_is_refused_before_anything_is_written(self, store: Store) -> None:
        jobs = [new("a"), new("b", dependencies=("a",)), new("c", dependencies=("nobody",))]
        with pytest.raises(DependencyNotFound) as caught:
            store.transitions.add(jobs)
        assert "nobody" in str(caught.value)
        assert store.queries.get(["a", "b", "c"]) == [None, None, None]
        assert store.queries.queues() == []

    def test_a_later_job_of_the_same_call_is_no_dependency_yet(self, store: Store) -> None:
        with pytest.raises(DependencyNotFound):
            store.transitions.add([new("a", dependencies=("b",)), new("b")])

    def test_what_is_kept_with_a_job_does_not_hurt_others(self, store: Store) -> None:
        retention, limit = Retention(count=0), Limit("api", 5, 1000)
        self.add(store, new("a", keep_completed=retention, keep_failed=retention, limit=limit), new("b"))
        self.complete(store, "a", "b")
        assert self.states(store, "a", "b") == ["gone", "completed"]

    def test_unknown_ids_give_none_in_their_place(self, store: Store) -> None:
        self.add(store, new("a"))
        found = store.queries.get(["x", "a", "y"])
        assert [record and record.id for record in found] == [None, "a", None]
        assert store.queries.get([]) == []

    def test_progress_data_and_logs(self, store: Store) -> None:
        self.add(store, new("a"))
        store.transitions.progress("a", '{"done":1}')
        store.transitions.update_data("a", "[1]")
        record = self.record(store, "a")
        assert (record.progress, record.data) == ('{"done":1}', "[1]")
        event = store.events.read(QUEUE, "0")[-1]
        assert (event.name, event.job_id, event.value, event.job_name) == ("progress", "a", '{"done":1}', "send")
        assert [store.transitions.log("a", f"line {n}", 3) for n in range(5)] == [1, 2, 3, 3, 3]
        assert store.queries.logs("a") == ["line 2", "line 3", "line 4"]
        assert store.queries.logs("a", 0, 0) == ["line 2"]
        assert store.queries.logs("a", -2, -1) == ["line 3", "line 4"]
        assert store.queries.logs("nobody") == []

    def test_the_record_of_a_job_that_is_gone_cannot_be_changed(self, store: Store) -> None:
        for change in (
            lambda: store.transitions.progress("x", "1"),
            lambda: store.transitions.update_data("x", "1"),
            lambda: store.transitions.log("x", "line", 10),
        ):
            with pytest.raises(JobNotFound):
                change()
        assert store.queries.queues() == []

    def test_pages_of_a_state(self, store: Store) -> None:
        self.add(store, *(new(f"{n}") for n in range(10)))
        states = [State.WAITING]
        assert self.ids(store.queries.find(QUEUE, states, 0, 2)) == ["0", "1", "2"]
        assert self.ids(store.queries.find(QUEUE, states, 8, 20)) == ["8", "9"]
        assert self.ids(store.queries.find(QUEUE, states, -2, -1)) == ["8", "9"]
        assert self.ids(store.queries.find(QUEUE, states, 20, 30)) == []
        assert store.queries.find("nobody", states) == []

    def test_pages_go_on_from_state_to_state(self, store: Store) -> None:
        self.add(store, *(new(f"w{n}") for n in range(3)), *(new(f"d{n}", delay_ms=60_000 + n) for n in range(3)))
        states = [State.WAITING, State.DELAYED]
        assert self.ids(store.queries.find(QUEUE, states)) == ["w0", "w1", "w2", "d0", "d1", "d2"]
        assert self.ids(store.queries.find(QUEUE, states, 2, 4)) == ["w2", "d0", "d1"]
        assert self.ids(store.queries.find(QUEUE, states, -4, -3)) == ["w2", "d0"]

    def test_orders_of_the_states(self, store: Store) -> None:
        self.add(store, new("low", priority=5), new("high", priority=0), new("late", delay_ms=90_000))
        self.add(store, new("soon", delay_ms=60_000), *(new(f"c{n}", "done") for n in range(3)))
        self.complete(store, "c0", "c1", "c2", queue="done")
        assert self.ids(store.queries.find(QUEUE, [State.WAITING])) == ["high", "low"]
        assert self.ids(store.queries.find(QUEUE, [State.DELAYED])) == ["soon", "late"]
        assert self.ids(store.queries.find("done", [State.COMPLETED])) == ["c2", "c1", "c0"]

    def test_the_status_of_a_queue(self, store: Store) -> None:
        status = store.queries.status("nobody")
        assert (status.name, status.paused, status.workers, status.oldest_waiting_ms) == ("nobody", False, 0, None)
        assert status.counts == {
            "waiting": 0,
            "active": 0,
            "delayed": 0,
            "blocked": 0,
            "completed": 0,
            "failed": 0,
            "paused": 0,
        }
        assert store.queries.queues() == []
        self.add(store, new("a"))
        age = store.queries.status(QUEUE).oldest_waiting_ms
        assert age is not None
        assert 0 <= age < 60_000

    @pytest.mark.parametrize("kind", [new, native])
    def test_how_long_the_first_waits_does_not_begin_anew(self, store: Store, kind: Callable[..., NewJob]) -> None:
        """When it is sent again, when it is set aside, when it is handed back."""
        self.add(store, kind("a", limit=Limit("key", 1, 60_000)), kind("b", limit=Limit("key", 1, 60_000), priority=2))

        def age() -> int:
            return store.queries.status(QUEUE).oldest_waiting_ms or 0

        until(lambda: age() >= 30)
        self.add(store, kind("later", priority=1))
        until(lambda: store.transitions.redeliver(QUEUE, 0, 0).ready)
        assert age() >= 30
        (claim,) = self.claim(store, "a")
        self.claim(store, "b")
        self.taken(store, 9)
        assert age() >= 30
        store.transitions.remove("b")
        store.transitions.hand_back([Held("a", claim.token)])
        assert age() >= 30

    # -- deduplication ------------------------------------------------------------------------------

    def test_an_id_is_taken_until_its_job_has_ended(self, store: Store) -> None:
        once = Deduplication("mail:5")
        assert self.add(store, new("a", deduplication=once)) == ["a"]
        added = store.transitions.add([new("b", deduplication=once), new("c", "other", deduplication=once)])
        assert (added.instead, added.duplicates, self.ids(added.ready)) == ((("b", "a"),), frozenset(), ["c"])
        assert ("duplicated", "a") in self.emitted(store)
        assert self.states(store, "b") == ["gone"]
        (claim,) = self.claim(store, "a")
        store.transitions.fail([Failure("a", claim.token, "no", retry_ms=0)])
        assert store.transitions.add([new("b", deduplication=once)]).instead == (("b", "a"),)
        self.complete(store, "a")
        assert self.add(store, new("b", deduplication=once)) == ["b"]
        self.fail(store, "b")
        assert self.add(store, new("d", deduplication=once)) == ["d"]
        store.transitions.remove("d")
        assert self.add(store, new("e", deduplication=once)) == ["e"]

    def test_an_id_is_taken_for_a_time(self, store: Store) -> None:
        for_long, shortly = Deduplication("long", 60_000), Deduplication("short", 20)
        self.add(store, new("a", deduplication=for_long), new("s", deduplication=shortly))
        self.complete(store, "a")
        assert store.transitions.add([new("b", deduplication=for_long)]).instead == (("b", "a"),)
        until(lambda: self.add(store, new("t", deduplication=shortly)))

    def test_a_time_is_begun_anew(self, store: Store) -> None:
        given = Deduplication("x", 150, extend=True)
        self.add(store, new("a", deduplication=given))
        begin = time.monotonic()
        while time.monotonic() - begin < 0.4:
            assert store.transitions.add([new("b", deduplication=given)]).instead
            time.sleep(0.01)

    def test_a_delayed_job_gives_way(self, store: Store) -> None:
        last = Deduplication("x", replace=True)
        self.add(store, new("a", data="1", delay_ms=60_000, deduplication=last))
        added = store.transitions.add([new("b", data="2", delay_ms=60_000, deduplication=last)])
        assert added.instead == ()
        assert self.states(store, "a", "b") == ["gone", "delayed"]
        assert ("removed", "a") in self.emitted(store)
        store.transitions.promote_job("b")
        assert store.transitions.add([new("c", deduplication=last)]).instead == (("c", "b"),)
