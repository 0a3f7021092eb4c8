"""Events, locks, and schedules."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from stratix_kombu.model.record import Schedule
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import DEADLINE_S, QUEUE, StoreCase, new, until

FAR = 32_503_680_000_000


def schedule(key: str, next_ms: int = 1_000, queue: str = QUEUE) -> Schedule:
    return Schedule(key=key, queue=queue, name="n", rule='{"every":1}', template='{"data":1}', next_ms=next_ms)


class PartsSuite(StoreCase):
    def test_it_answers_and_says_where_it_is(self, store: Store) -> None:
        store.ping()
        assert store.address
        assert abs(store.queries.now() - time.time_ns() // 1_000_000) < 60_000

    def test_it_can_be_used_again_after_it_was_closed(self, store: Store) -> None:
        self.add(store, new("a"))
        store.close()
        store.close()
        store.ping()
        self.add(store, new("b"))
        assert [one.id for one in store.queries.get(["a", "b"]) if one] == ["a", "b"]

    # -- events ---------------------------------------------------------------------------------

    def test_reading_goes_on_after_the_cursor(self, store: Store) -> None:
        start = store.events.tail(QUEUE)
        assert store.events.read(QUEUE, start) == []
        self.add(store, new("a", name="welcome"))
        store.events.append(QUEUE, "note", value="mine")
        first, second = store.events.read(QUEUE, start)
        assert (first.queue, first.name, first.job_id, first.job_name) == (QUEUE, "waiting", "a", "welcome")
        assert (second.name, second.job_id, second.value) == ("note", "", "mine")
        assert second.at_ms >= first.at_ms > 1_600_000_000_000
        assert store.events.read(QUEUE, first.cursor) == [second]
        assert store.events.read(QUEUE, start, limit=1) == [first]
        assert store.events.tail(QUEUE) == second.cursor

    def test_queues_have_logs_of_their_own(self, store: Store) -> None:
        self.add(store, new("a", "one"), new("b", "two"))
        assert self.emitted(store, "one") == [("waiting", "a")]
        assert self.emitted(store, "two") == [("waiting", "b")]
        assert self.emitted(store, "nobody") == []

    def test_a_log_need_not_be_a_queues(self, store: Store) -> None:
        for value in ("[1]", "[2]"):
            store.events.append(".mine", "user.registered", value=value)
        assert [(one.name, one.job_id, one.value) for one in store.events.read(".mine", "0")] == [
            ("user.registered", "", "[1]"),
            ("user.registered", "", "[2]"),
        ]
        assert store.queries.queues() == []

    def test_waiting_for_an_event(self, store: Store) -> None:
        cursor = store.events.tail(QUEUE)
        found: list[str] = []
        wait_ms = int(DEADLINE_S * 1000)
        reader = threading.Thread(
            target=lambda: found.extend(one.name for one in store.events.read(QUEUE, cursor, 10, wait_ms))
        )
        reader.start()
        self.add(store, new("a"))
        reader.join(DEADLINE_S / 2)
        assert found == ["waiting"]
        assert store.events.read(QUEUE, store.events.tail(QUEUE), 10, 20) == []

    def test_several_logs_are_read_at_once(self, store: Store) -> None:
        """Each from its own place, with what ``read`` says of it."""
        reader, log = store.events.reader(), store.events
        cursors = {name: log.tail(name) for name in ("one", "two", "three")}
        assert reader.read(cursors, 10, 20) == {}
        self.add(store, new("a", "one"), new("b", "two"), new("c", "two"))
        found = reader.read(cursors, 10, 20)
        assert found == {name: log.read(name, cursors[name]) for name in ("one", "two")}
        assert [len(events) for events in found.values()] == [1, 2]
        cursors.update((name, events[-1].cursor) for name, events in found.items())
        assert reader.read(cursors, 10, 20) == {}
        log.append("three", "note")
        self.add(store, new("d", "one"))
        assert {name: [event.name for event in events] for name, events in reader.read(cursors, 10, 20).items()} == {
            "one": ["waiting"],
            "three": ["note"],
        }
        assert len(reader.read({"two": "0"}, 1, 20)["two"]) == 1, "no more than the limit"

    def test_waiting_for_several_logs_ends_with_an_event_or_an_interrupt(self, store: Store) -> None:
        reader, wait_ms = store.events.reader(), int(DEADLINE_S * 1000)
        cursors = {name: store.events.tail(name) for name in ("one", "two")}
        found: list[list[str]] = []

        def ends(end: Callable[[], object]) -> None:
            thread = threading.Thread(target=lambda: found.append(list(reader.read(cursors, 10, wait_ms))))
            thread.start()
            end()
            thread.join(DEADLINE_S / 2)

        ends(lambda: self.add(store, new("a", "two")))
        cursors["two"] = store.events.tail("two")
        ends(reader.interrupt)
        reader.interrupt()
        ends(lambda: None)
        assert found == [["two"], [], []], "the last one was interrupted before it began"

    # -- locks ----------------------------------------------------------------------------------

    def test_a_lock_has_one_owner(self, store: Store) -> None:
        locks = store.locks
        assert locks.acquire("k", "me", 60_000)
        assert not locks.acquire("k", "you", 60_000)
        assert not locks.acquire("k", "me", 60_000)
        assert locks.acquire("other", "you", 60_000)
        assert not locks.extend("k", "you", 60_000)
        assert not locks.release("k", "you")
        assert locks.extend("k", "me", 60_000)
        assert locks.release("k", "me")
        assert not locks.release("k", "me")
        assert locks.acquire("k", "you", 60_000)

    def test_a_lock_ends_by_itself(self, store: Store) -> None:
        assert store.locks.acquire("k", "me", 20)
        until(lambda: store.locks.acquire("k", "you", 60_000))
        assert not store.locks.extend("k", "me", 60_000)
        assert not store.locks.release("k", "me")

    # -- schedules ------------------------------------------------------------------------------

    def test_schedules_are_kept_by_key(self, store: Store) -> None:
        b, a = schedule("b", FAR), schedule("a", FAR, "other")
        store.schedules.put(b)
        store.schedules.put(a)
        assert store.schedules.all() == [a, b]
        assert store.schedules.all("other") == [a]
        changed = replace(b, rule='{"every":2}', template="2", next_ms=FAR + 1)
        store.schedules.put(changed)
        assert store.schedules.all(QUEUE) == [changed]
        assert store.schedules.remove("b")
        assert not store.schedules.remove("b")
        assert store.schedules.all() == [a]

    def test_the_same_rule_goes_on_where_it_was(self, store: Store) -> None:
        store.schedules.put(schedule("a", 1_000))
        assert store.schedules.fire("a", 1_000, 2_000, new("x"))
        store.schedules.set_paused("a", True)
        store.schedules.put(replace(schedule("a", 1_000), template="9"))
        (kept,) = store.schedules.all()
        assert (kept.next_ms, kept.runs, kept.paused, kept.template) == (2_000, 1, True, "9")
        assert store.schedules.set_paused("a", False, 7_000)
        assert store.schedules.all()[0].next_ms == 7_000
        assert [one.key for one in store.schedules.due()[0]] == ["a"]

    def test_a_schedule_is_due_for_its_owner(self, store: Store) -> None:
        store.schedules.put(replace(schedule("a", 1_000), owner="beat"))
        store.schedules.put(schedule("b", 1_000))
        assert [one.key for one in store.schedules.due()[0]] == ["b"]
        assert [one.key for one in store.schedules.due(owner="beat")[0]] == ["a"]
        assert store.schedules.fire("a", 1_000, FAR, new("x"))
        assert store.schedules.due(owner="beat")[0] == []
        store.schedules.put(schedule("a", 1_000))
        assert [one.key for one in store.schedules.due()[0]] == ["a", "b"]
        assert store.schedules.due(owner="beat")[::2] == ([], None)

    def test_due_schedules_come_in_order(self, store: Store) -> None:
        assert store.schedules.due()[::2] == ([], None)
        for one in (schedule("c", 3_000), schedule("a", 1_000), schedule("later", FAR), schedule("ended", 0)):
            store.schedules.put(one)
        due, now, ahead = store.schedules.due()
        assert [one.key for one in due] == ["a", "c"]
        assert ahead == FAR - now
        assert [one.key for one in store.schedules.due(1)[0]] == ["a"]
        assert store.schedules.due(1)[2] == 0
        assert store.schedules.set_paused("a", True)
        assert [one.key for one in store.schedules.due()[0]] == ["c"]
        assert store.schedules.set_paused("a", False)
        assert [one.key for one in store.schedules.due()[0]] == ["a", "c"]
        assert not store.schedules.set_paused("nobody", True)

    def test_a_slot_is_fired_by_one_clock(self, store: Store) -> None:
        store.schedules.put(schedule("a", 1_000))
        fired = store.schedules.fire("a", 1_000, 2_000, new("run-1"))
        assert fired is not None
        assert self.ids(fired.ready) == ["run-1"]
        assert store.schedules.fire("a", 1_000, 2_000, new("run-1b")) is None
        (after,) = store.schedules.all()
        assert (after.next_ms, after.runs) == (2_000, 1)
        assert store.schedules.fire("a", 2_000, 0, None) is not None
        assert store.schedules.all()[0].runs == 1
        assert store.schedules.due()[0] == []
        assert self.states(store, "run-1", "run-1b") == ["waiting", "gone"]

    def test_what_is_paused_or_gone_is_not_fired(self, store: Store) -> None:
        store.schedules.put(schedule("a", 1_000))
        store.schedules.set_paused("a", True)
        assert store.schedules.fire("a", 1_000, 2_000, new("x")) is None
        assert store.schedules.fire("nobody", 1_000, 2_000, new("x")) is None
        assert self.states(store, "x") == ["gone"]
