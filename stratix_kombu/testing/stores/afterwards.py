"""What can be learned of jobs and events later: how a job ended that is gone, what a log keeps."""

from __future__ import annotations

import pytest

from stratix_kombu.model.event import INLINE_RESULT_BYTES
from stratix_kombu.model.record import MAX_REASON_BYTES, Ended, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, gather, new

NONE_KEPT = Retention(count=0)
LONG = '"' + "x" * INLINE_RESULT_BYTES + '"'


class AfterwardsSuite(StoreCase):
    # -- jobs that their retention removed ------------------------------------------------------

    @staticmethod
    def how_it_ended(store: Store, job_id: str) -> Ended:
        (ended,) = store.queries.ended([job_id])
        assert ended is not None, f"nothing is known of {job_id}"
        return ended

    @pytest.mark.parametrize("result", ["null", '"a:b:c"', '"\\u0000é"', LONG])
    def test_the_result_of_a_job_that_is_removed_when_it_ends(self, store: Store, result: str) -> None:
        self.add(store, new("a", keep_completed=NONE_KEPT))
        before = store.queries.now()
        self.complete(store, "a", result=result)
        assert self.states(store, "a") == ["gone"]
        ended = self.how_it_ended(store, "a")
        assert (ended.state, ended.result, ended.failed_reason) == (State.COMPLETED, result, None)
        assert before <= ended.finished_ms <= store.queries.now()

    @pytest.mark.parametrize("reason", ["", "KeyError: 'a:b'", "\x00 é"])
    def test_the_reason_of_a_job_that_is_removed_when_it_fails(self, store: Store, reason: str) -> None:
        self.add(store, new("a", keep_failed=NONE_KEPT))
        self.fail(store, "a", reason=reason)
        ended = self.how_it_ended(store, "a")
        assert (ended.state, ended.result, ended.failed_reason) == (State.FAILED, None, reason)

    def test_a_job_that_others_push_out_and_one_of_a_short_age(self, store: Store) -> None:
        one, at_once = Retention(count=1), Retention(age_ms=0)
        self.add(store, new("a", keep_completed=one), new("b", keep_completed=one), new("c", keep_completed=at_once))
        for job_id in "abc":
            self.complete(store, job_id, result=f'"{job_id}"')
        gather(lambda: store.transitions.expire().affected, 1)
        assert self.states(store, *"abc") == ["gone", "completed", "gone"]
        found = [one.result if one else None for one in store.queries.ended(["a", "b", "c", "nobody"])]
        assert found == ['"a"', None, '"c"', None]
        assert store.queries.ended([]) == []

    def test_a_job_that_is_removed_by_hand_has_no_end(self, store: Store) -> None:
        self.add(store, new("a", keep_completed=NONE_KEPT))
        self.complete(store, "a", result="1")
        self.add(store, new("a"), new("b"), new("c"))
        self.complete(store, "b")
        for job_id in "abc":
            store.transitions.remove(job_id)
        assert store.queries.ended(["a", "b", "c"]) == [None, None, None]

    # -- following a job's log ------------------------------------------------------------------

    def test_a_log_is_followed_beyond_what_is_kept(self, store: Store) -> None:
        self.add(store, new("a"))
        assert store.queries.logs_after("a", 0) == ([], 0)
        assert store.queries.logs_after("nobody", 0) == ([], 0)
        for n in range(1, 8):
            assert store.transitions.log("a", f"{n}", 3) == min(n, 3)
        assert store.queries.logs_after("a", 0) == (["5", "6", "7"], 7)
        assert store.queries.logs_after("a", 5) == (["6", "7"], 7)
        assert store.queries.logs_after("a", 7) == ([], 7)
        assert store.queries.logs_after("a", 9) == ([], 7)
        assert store.queries.logs("a") == ["5", "6", "7"]

    # -- events and reasons are bounded ---------------------------------------------------------

    def test_a_long_value_is_left_out_of_its_event(self, store: Store) -> None:
        edge = '"' + "é" * ((INLINE_RESULT_BYTES - 2) // 2) + '"'
        self.add(store, new("a"), new("b", keep_completed=NONE_KEPT), new("c"))
        for value in (edge, LONG):
            store.transitions.progress("a", value)
            store.events.append(QUEUE, "note", value=value)
        self.complete(store, "a", "b", result=LONG)
        self.complete(store, "c", result=edge)
        emitted = [(one.name, one.job_id, one.value) for one in store.events.read(QUEUE, "0")]
        expected: list[tuple[str, str, str | None]] = [
            ("progress", "a", edge),
            ("progress", "a", None),
            ("note", "", edge),
            ("note", "", None),
            ("completed", "a", None),
            ("completed", "b", None),
            ("completed", "c", edge),
        ]
        assert [one for one in expected if one not in emitted] == []
        assert self.record(store, "a").progress == LONG

    @pytest.mark.parametrize("sign", ["x", "é", "\N{SNOWMAN}", "\N{GRINNING FACE}"])
    def test_a_reason_is_cut_between_two_characters(self, store: Store, sign: str) -> None:
        reason = "r" + sign * MAX_REASON_BYTES
        kept = "r" + sign * ((MAX_REASON_BYTES - 1) // len(sign.encode()))
        self.add(store, new("a"), new("b", dependencies=("a",)), new("c", dependencies=("b",)))
        self.fail(store, "a", reason=reason)
        assert self.record(store, "a").failed_reason == kept
        of_b = self.record(store, "b").failed_reason or ""
        assert of_b.startswith("dependency a failed: r" + sign)
        of_c = self.record(store, "c").failed_reason or ""
        assert of_c.startswith("dependency b failed: dependency a failed: r" + sign)
        for one in (of_b, of_c):
            assert MAX_REASON_BYTES - len(sign.encode()) < len(one.encode()) <= MAX_REASON_BYTES
        emitted = {one.job_id: one.value for one in store.events.read(QUEUE, "0") if one.name == "failed"}
        assert emitted == {"a": kept, "b": of_b, "c": of_c}

    def test_the_reason_of_an_attempt_that_is_made_again_is_bounded_too(self, store: Store) -> None:
        self.add(store, new("a", max_attempts=3, dead_letter="dead"))
        self.fail(store, "a", reason="x" * 5000, retry_ms=0)
        assert self.record(store, "a").failed_reason == "x" * MAX_REASON_BYTES
        self.fail(store, "a", reason="y" * 5000)
        (letter,) = store.queries.find("dead", [State.WAITING])
        assert "y" * MAX_REASON_BYTES in letter.data
        assert "y" * (MAX_REASON_BYTES + 1) not in letter.data

    # -- what a log has dropped -----------------------------------------------------------------

    def test_a_reader_that_is_far_behind_is_told_how_many_it_missed(self, store: Store) -> None:
        self.add(store, new("a"))
        start, written = store.events.tail(QUEUE), 0
        store.events.append(QUEUE, "note", value="0")
        (early,) = store.events.read(QUEUE, start)
        while not any(one.missed for one in store.events.read(QUEUE, early.cursor, limit=1)):
            assert written < 100_000, "the log is not bounded"
            for _ in range(1000):
                written += 1
                store.events.append(QUEUE, "note", value=f"{written}")
        for cursor, already in ((start, 0), (early.cursor, 1)):
            page = store.events.read(QUEUE, cursor, limit=700, wait_ms=20)
            assert page[0].missed == int(page[0].value or 0) - already
            assert page[0].missed > 0
            assert {one.missed for one in page[1:]} == {0}
            seen = [one.value for one in page]
            while page:
                page = store.events.read(QUEUE, page[-1].cursor, limit=700)
                seen += [one.value for one in page]
                assert {one.missed for one in page} <= {0}
            assert seen == [f"{n}" for n in range(int(seen[0] or 0), written + 1)]
        assert store.events.read(QUEUE, "0", limit=1)[0].missed > 0
        assert store.events.read(QUEUE, store.events.tail(QUEUE)) == []
