"""Jobs as they are, for copying: what was read and is written again is read the same."""

from __future__ import annotations

from stratix_kombu.model.record import Completion, Deduplication, Failure, Limit, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, native, new, until

FAR_MS = 3_600_000


class ContentsSuite(StoreCase):
    def _fill(self, store: Store) -> list[str]:
        """Jobs of all states but active, those that depend on others first; their ids."""
        steps = store.transitions
        waiting = [new(f"w{n}", priority=n % 3, group="g" if n % 2 else "") for n in range(6)]
        late = new("late", delay_ms=FAR_MS, deduplication=Deduplication("d"), limit=Limit("l", 5, 1_000))
        done, dies = new("done", keep_completed=Retention(age_ms=FAR_MS)), new("dies", max_attempts=2)
        self.add(store, *waiting, late, native("task"), done, dies, new("second", dependencies=("done", "w0")))
        self.complete(store, "done", result='"r"')
        self.fail(store, "dies", retry_ms=0)
        self.fail(store, "dies", stacktrace='["t"]', error='{"why": 1}')
        steps.log("dies", "one", 1)
        steps.log("dies", "two", 1)
        steps.progress("w1", "5")
        return ["second", *(job.id for job in waiting), "late", "task", "done", "dies"]

    def test_what_is_written_is_what_was_read(self, store: Store) -> None:
        contents = store.contents
        if contents is None:  # it cannot be copied
            return
        ids = self._fill(store)
        kept, edges = contents.read(ids), {one: contents.edges(one) for one in ids}
        assert [job.new.id for job in kept] == ids
        order = [one.id for one in store.queries.find(QUEUE, [State.WAITING])]
        for job_id in ids:
            store.transitions.remove(job_id)
        contents.write(kept)
        for _ in range(2):  # a repetition changes nothing
            contents.write(kept)
            for job_id, some in edges.items():
                contents.write_edges(job_id, some)
        assert contents.read(ids) == kept
        assert {one: contents.edges(one) for one in ids} == edges
        assert [one.id for one in store.queries.find(QUEUE, [State.WAITING])] == order
        assert store.queries.dependency_results("second") == {"done": '"r"'}
        self._they_go_on(store, order)

    def _they_go_on(self, store: Store, order: list[str]) -> None:
        plain = [one for one in order if one != "task"]
        taken = self.take(store, 10).claims
        assert [claim.record.id for claim in taken] == plain
        store.transitions.complete([Completion(one.record.id, one.token, "1") for one in taken])
        until(lambda: self.states(store, "second") == ["waiting"])
        assert store.transitions.add([new("other", deduplication=Deduplication("d"))]).instead == (("other", "late"),)
        (fresh,) = store.transitions.add([new("fresh")]).placed
        assert fresh is not None
        (before,) = store.queries.get(["second"])
        assert before is not None
        assert fresh.number > before.number

    def test_a_job_that_has_begun_is_not_read(self, store: Store) -> None:
        if store.contents is None:
            return
        claim = self.start(store, new("a"))
        assert store.contents.read(["a", "b"]) == []
        store.transitions.fail([Failure("a", claim.token, "broken")])
        assert [job.state for job in store.contents.read(["a", "b"])] == [State.FAILED]

    def test_what_was_set_for_a_queue(self, store: Store) -> None:
        if store.contents is None:
            return
        steps = store.transitions
        steps.pause(QUEUE)
        steps.set_limit(QUEUE, Limit("mine", 5, 1_000))
        steps.set_global_concurrency(QUEUE, 3)
        steps.hold(QUEUE, FAR_MS)
        kept = store.contents.queue(QUEUE)
        assert (kept.paused, kept.global_concurrency, kept.limit) == (True, 3, Limit("mine", 5, 1_000))
        assert 0 <= kept.held_until_ms - store.queries.now() <= FAR_MS
        assert not store.contents.queue("other").paused
