"""The last runs of a schedule, and how they ended."""

from __future__ import annotations

from dataclasses import replace

from stratix_kombu.model.names import run_id
from stratix_kombu.model.record import KEEP_NONE, RUN, Ended, NewJob, Retention
from stratix_kombu.model.runs import Run, runs_of
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, new
from stratix_kombu.testing.stores.parts import FAR, schedule

KEY = f"{QUEUE}:nightly"


class RunsSuite(StoreCase):
    def run_of(self, slot: int, keep: Retention = KEEP_NONE) -> NewJob:
        return new(run_id(KEY, slot), kind=RUN, keep_completed=keep, keep_failed=keep)

    def fire(self, store: Store, slot: int, keep: Retention = KEEP_NONE) -> str:
        job = self.run_of(slot, keep)
        assert store.schedules.fire(KEY, slot, slot + 1, job) is not None
        return job.id

    @staticmethod
    def runs(store: Store) -> list[Run]:
        found = store.schedules.get(KEY)
        assert found is not None
        assert [found] == store.schedules.all(QUEUE)
        return runs_of(found.recent)

    def test_the_last_ten_are_kept_and_the_newest_is_first(self, store: Store) -> None:
        store.schedules.put(schedule(KEY, 1))
        assert self.runs(store) == []
        before = store.queries.now()
        for slot in range(1, 14):
            self.fire(store, slot)
        runs = self.runs(store)
        assert [run.slot for run in runs] == [str(slot) for slot in range(13, 3, -1)]
        assert all(run.ended is None and before <= run.added_ms <= store.queries.now() for run in runs)

    def test_a_slot_that_adds_no_job_is_none(self, store: Store) -> None:
        store.schedules.put(schedule(KEY, 1))
        self.add(store, self.run_of(2))
        assert store.schedules.fire(KEY, 1, 2, None) is not None
        self.fire(store, 2)
        assert self.runs(store) == []

    def test_a_run_besides_the_slots(self, store: Store) -> None:
        store.schedules.put(schedule(KEY, FAR))
        assert store.schedules.ran(KEY, run_id(KEY, "0a1b"))
        assert not store.schedules.ran("nobody", run_id("nobody", "1"))
        assert [run.slot for run in self.runs(store)] == ["0a1b"]
        found = store.schedules.get(KEY)
        assert found is not None
        assert (found.next_ms, found.runs) == (FAR, 0)

    def test_how_they_ended_is_known_when_their_records_are_gone(self, store: Store) -> None:
        store.schedules.put(schedule(KEY, 1))
        completed, failed, cancelled = (self.fire(store, slot) for slot in (1, 2, 3))
        kept = self.fire(store, 4, Retention())
        self.complete(store, completed, result='"secret"')
        self.fail(store, failed, reason="ValueError: " + 100 * "\u00fc\u20ac")
        store.transitions.cancel(cancelled, "not needed")
        self.complete(store, kept)
        assert self.states(store, completed, failed, cancelled, kept) == ["gone", "gone", "gone", "completed"]
        of_record, *ended = self.runs(store)
        assert of_record.ended is None, "its record tells"
        ends = [run.ended for run in reversed(ended)]
        assert ends == [end and replace(end, result=None) for end in self.ended(store, completed)] + [
            replace(end, failed_reason=reason)
            for end, reason in zip(
                self.ended(store, failed, cancelled),
                ("ValueError: " + 37 * "\u00fc\u20ac" + "\u00fc", "not needed"),
                strict=True,
            )
        ]

    @staticmethod
    def ended(store: Store, *ids: str) -> list[Ended]:
        found = store.queries.ended(ids)
        return [one for one in found if one is not None]

    def test_they_are_kept_when_it_is_replaced_or_paused(self, store: Store) -> None:
        store.schedules.put(schedule(KEY, 1))
        self.complete(store, self.fire(store, 1))
        before = self.runs(store)
        for changed in (
            schedule(KEY, 2),
            replace(schedule(KEY, 5), rule='{"every":2}'),
            replace(schedule(KEY), owner="o"),
        ):
            store.schedules.put(changed)
            store.schedules.set_paused(KEY, True)
            store.schedules.set_paused(KEY, False)
            assert self.runs(store) == before
        store.schedules.remove(KEY)
        store.schedules.put(schedule(KEY))
        assert self.runs(store) == []

    def test_those_of_no_schedule_and_older_ones_are_not_kept(self, store: Store) -> None:
        store.schedules.put(schedule(KEY, 1))
        oldest = self.fire(store, 1)
        for slot in range(2, 12):
            self.fire(store, slot)
        before = self.runs(store)
        self.complete(store, oldest)
        other = new(run_id(f"{QUEUE}:gone", 1), kind=RUN, keep_completed=KEEP_NONE)
        self.add(store, other)
        self.complete(store, other.id)
        assert self.runs(store) == before

    def test_one_that_its_age_removes(self, store: Store) -> None:
        store.schedules.put(schedule(KEY, 1))
        self.complete(store, self.fire(store, 1, Retention(age_ms=0)))
        store.transitions.expire()
        (run,) = self.runs(store)
        assert run.ended is not None
        assert run.ended.state.value == "completed"
