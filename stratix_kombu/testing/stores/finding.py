"""Looking for jobs: filters, cursors, and how much is looked at."""

from __future__ import annotations

import pytest

from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.finding import ALL_JOBS, HEAD, LOOKED_AT_ONCE, JobFilter
from stratix_kombu.model.record import Limit
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import QUEUE, StoreCase, native, new, until

APART_MS = 20
MANY = LOOKED_AT_ONCE + 200


class FindingSuite(StoreCase):
    def find(self, store: Store, state: State, where: JobFilter = ALL_JOBS, limit: int = 100) -> list[str]:
        """All of them, page by page."""
        found: list[str] = []
        cursor = ""
        while True:
            page = store.queries.page(QUEUE, state, where, cursor, limit)
            assert len(page.records) <= limit
            assert page.looked <= LOOKED_AT_ONCE
            assert all(record.state is state for record in page.records)
            found += self.ids(page.records)
            cursor = page.cursor
            if not cursor:
                return found

    @pytest.mark.parametrize("limit", [1, 7, 30, 1_000])
    def test_finished_jobs_come_newest_first(self, store: Store, limit: int) -> None:
        names = [f"{n:02}" for n in range(30)]
        self.add(store, *(new(name) for name in names))
        for name in names[:3]:
            self.complete(store, name)
        self.complete(store, *names[3:20])
        self.fail(store, *names[20:])
        assert self.find(store, State.COMPLETED, limit=limit) == names[:20][::-1]
        assert self.find(store, State.FAILED, limit=limit) == names[20:][::-1]

    @pytest.mark.parametrize("limit", [1, 4, 100])
    def test_waiting_jobs_come_in_their_order(self, store: Store, limit: int) -> None:
        slow = Limit("slow", 1, 60_000)
        self.add(store, *(new(f"l{n}", limit=slow) for n in range(3)))
        assert len(self.taken(store, 3)) == 1, "two are set aside"
        self.add(store, *(new(f"n{n}", priority=n % 3) for n in range(6)), native("t1", priority=1), native("t0"))
        order = ["n0", "n3", "n1", "n4", "n2", "n5", "l1", "l2", "t0", "t1"]
        assert self.find(store, State.WAITING, limit=limit) == order
        assert self.find(store, State.WAITING, JobFilter(id_prefix="l"), limit) == ["l1", "l2"]

    def test_the_others_come_as_they_are_found(self, store: Store) -> None:
        self.add(store, *(new(f"d{n}", delay_ms=600_000 - 1_000 * n) for n in range(5)))
        self.add(store, *(new(f"b{n}", dependencies=("d0",)) for n in range(5)))
        self.add(store, *(new(f"a{n}") for n in range(5)))
        for n in range(5):
            self.claim(store, f"a{n}", lease_ms=60_000 + 1_000 * n)
        for state in (State.DELAYED, State.BLOCKED, State.ACTIVE):
            wanted = self.ids(store.queries.find(QUEUE, [state]))
            assert len(wanted) == 5
            assert self.find(store, state) == self.find(store, state, limit=2) == wanted

    def test_a_page_of_nothing(self, store: Store) -> None:
        for state in State:
            page = store.queries.page(QUEUE, state)
            assert (page.records, page.cursor, page.looked) == ([], "", 0)

    def test_each_filter(self, store: Store) -> None:
        self.add(store, new("mail.1", name="send", group="a"), new("mail.2", name="sent", group="b"))
        self.add(store, new("x.1", name="drop", group="a"), new("x.2", name="übersenden"), native("x.3", name="send"))
        waiting = State.WAITING
        for where, wanted in (
            (JobFilter(name="send"), ["mail.1", "x.3"]),
            (JobFilter(name="sen?"), ["mail.1", "mail.2", "x.3"]),
            (JobFilter(name="?bersenden"), ["x.2"]),
            (JobFilter(name="*sen*"), ["mail.1", "mail.2", "x.2", "x.3"]),
            (JobFilter(name="*"), ["mail.1", "mail.2", "x.1", "x.2", "x.3"]),
            (JobFilter(name="s"), []),
            (JobFilter(name="SEND"), []),
            (JobFilter(name="d*p"), ["x.1"]),
            (JobFilter(name="d*o*r*p"), []),
            (JobFilter(id_prefix="mail."), ["mail.1", "mail.2"]),
            (JobFilter(id_prefix="mail.1*"), []),
            (JobFilter(id_prefix="x.", name="send"), ["x.3"]),
            (JobFilter(group="a"), ["mail.1", "x.1"]),
            (JobFilter(group="a", name="send"), ["mail.1"]),
            (JobFilter(worker="w"), []),
            (JobFilter(reason="x"), []),
        ):
            assert sorted(self.find(store, waiting, where)) == wanted, where
        self.claim(store, "mail.1", worker="w1")
        self.claim(store, "x.1", worker="w2")
        assert self.find(store, State.ACTIVE, JobFilter(worker="w2")) == ["x.1"]

    @pytest.mark.parametrize(
        ("text", "fits"),
        [
            ("time", ["one"]),
            ("Time*30", ["one"]),
            ("30 s", ["one"]),
            ("30 sec", []),
            ("(a+b)", ["two"]),
            ("%d+", ["two"]),
            ("[x]", ["two"]),
            ("^$-", ["two"]),
            ("a?b)", ["two"]),
            ("zwölf ?-Zeichen", ["three"]),
            ("zwölf ??-Zeichen", []),
            ("a\nb", ["three"]),
            ("\x00", []),
            ("time\x00z", []),
            ("*", ["one", "three", "two"]),
        ],
    )
    def test_a_text_in_the_reason(self, store: Store, text: str, fits: list[str]) -> None:
        self.add(store, *(new(name) for name in ("one", "two", "three")))
        self.fail(store, "one", reason="TimeoutError: timed out after 30 s")
        self.fail(store, "two", reason="(a+b) %d+ [x] ^$-")
        self.fail(store, "three", reason="zwölf ß-Zeichen\na\nb")
        assert sorted(self.find(store, State.FAILED, JobFilter(reason=text))) == fits

    def test_between_two_instants(self, store: Store) -> None:
        names = [f"{n:02}" for n in range(12)]
        self.add(store, *(new(name) for name in names), *(new(f"w{n}") for n in range(2)))
        at = []
        for start in range(0, 12, 4):
            at.append(store.queries.now())
            self.complete(store, *names[start : start + 4])
            until(lambda: store.queries.now() > at[-1] + APART_MS)
        done = State.COMPLETED
        for limit in (1, 3, 100):
            assert self.find(store, done, JobFilter(since_ms=at[1]), limit) == names[4:][::-1]
            assert self.find(store, done, JobFilter(until_ms=at[1]), limit) == names[:4][::-1]
            assert self.find(store, done, JobFilter(since_ms=at[1], until_ms=at[2]), limit) == names[4:8][::-1]
            assert self.find(store, done, JobFilter(since_ms=at[1], until_ms=at[1]), limit) == []
        page = store.queries.page(QUEUE, done, JobFilter(since_ms=at[2]))
        assert page.looked == 4, "what ended before is not looked at"
        assert store.queries.page(QUEUE, done, JobFilter(until_ms=at[0] - APART_MS)).looked == 0
        created = self.record(store, "w0").created_ms
        assert self.find(store, State.WAITING, JobFilter(since_ms=created)) == ["w0", "w1"]
        assert self.find(store, State.WAITING, JobFilter(since_ms=created + 1)) == []
        assert self.find(store, State.WAITING, JobFilter(until_ms=created + 1)) == ["w0", "w1"]
        assert self.find(store, State.WAITING, JobFilter(until_ms=created)) == []

    def test_a_call_looks_at_a_bounded_number(self, store: Store) -> None:
        names = [f"{n:05}" for n in range(MANY)]
        self.add(store, *(new(one, name="rare" if one == names[-1] else "often") for one in names))
        rare = JobFilter(name="rare")
        page = store.queries.page(QUEUE, State.WAITING, rare)
        assert (page.records, page.looked) == ([], LOOKED_AT_ONCE)
        page = store.queries.page(QUEUE, State.WAITING, rare, page.cursor)
        assert (self.ids(page.records), page.looked, page.cursor) == (names[-1:], MANY - LOOKED_AT_ONCE, "")
        page = store.queries.page(QUEUE, State.WAITING, ALL_JOBS, "", 10)
        assert (self.ids(page.records), page.looked) == (names[:10], 10)
        page = store.queries.page(QUEUE, State.WAITING, JobFilter(id_prefix="01"), "", 10)
        assert (page.records, page.looked) == ([], LOOKED_AT_ONCE)
        page = store.queries.page(QUEUE, State.WAITING, JobFilter(id_prefix="01"), page.cursor, 10)
        assert (self.ids(page.records), page.looked) == (names[1_000:1_010], 10)

    @pytest.mark.parametrize("state", [State.WAITING, State.FAILED])
    def test_none_that_stays_is_passed_over(self, store: Store, state: State) -> None:
        """However many leave between two pages, the last one that was looked at too, and however many come."""
        names = [f"{n:02}" for n in range(30)]
        self.add(store, *(new(name) for name in names))
        if state is State.FAILED:
            self.fail(store, *names)
            names = names[::-1]
        page = store.queries.page(QUEUE, state, ALL_JOBS, "", 10)
        gone = {*names[:5], names[9], *names[12:14]}
        for one in gone:
            store.transitions.remove(one)
        found = self.ids(page.records)
        self.add(store, new("later"))
        if state is State.FAILED:
            self.fail(store, "later")
        while page.cursor:
            page = store.queries.page(QUEUE, state, ALL_JOBS, page.cursor, 10)
            found += self.ids(page.records)
        assert {*names} - gone <= {*found}
        assert len(found) == len(set(found))
        assert ("later" in found) == (state is State.WAITING)

    def test_what_leaves_by_what_is_done_to_it(self, store: Store) -> None:
        """As a retry of all that are found, page by page."""
        names = [f"{n:02}" for n in range(10)]
        self.add(store, *(new(name) for name in names))
        self.fail(store, *names)
        cursor, retried = "", []
        while True:
            page = store.queries.page(QUEUE, State.FAILED, ALL_JOBS, cursor, 3)
            for one in page.records:
                store.transitions.retry(one.id)
                retried.append(one.id)
            cursor = page.cursor
            if not cursor:
                break
        assert retried == names[::-1]
        assert self.counts(store) == {"waiting": 10}

    @pytest.mark.parametrize("cursor", ["x", "1", "1 x y", "99", "[9,[]]", "[0,[null]]", '["a",["b"]]', "{}", "[[]]"])
    def test_a_cursor_that_no_page_gave(self, store: Store, cursor: str) -> None:
        self.add(store, new("a"))
        with pytest.raises(ConfigurationError, match="is not a cursor"):
            store.queries.page(QUEUE, State.WAITING, ALL_JOBS, cursor)

    def test_jobs_that_a_bound_keeps_waiting_are_found(self, store: Store) -> None:
        self.add(store, *(new(f"g{n}", group="t") for n in range(3)))
        assert len(self.taken(store, 3, Bounds(group_concurrency=1))) == 1
        assert sorted(self.find(store, State.WAITING, JobFilter(group="t"), 1)) == ["g1", "g2"]

    def test_the_reasons_of_failures(self, store: Store) -> None:
        self.add(store, *(new(name) for name in ("a", "b", "c")))
        self.fail(store, "a", reason="first")
        self.fail(store, "b", reason="ä" * 1_000)
        assert store.queries.failures(QUEUE, letters=True) == ([], "", 1), "the waiting one is no letter"
        found, cursor, looked = store.queries.failures(QUEUE)
        assert [(one.job_id, one.reason) for one in found] == [("b", "ä" * HEAD), ("a", "first")]
        assert [one.at_ms for one in found] == [self.record(store, one).finished_ms for one in ("b", "a")]
        assert (cursor, looked) == ("", 2)
        found, cursor, looked = store.queries.failures(QUEUE, cursor="", limit=1)
        assert (len(found), looked) == (1, 1)
        found, _, _ = store.queries.failures(QUEUE, cursor=cursor)
        assert [one.job_id for one in found] == ["a"]

    def test_the_reasons_of_letters(self, store: Store) -> None:
        self.add(store, new("a", dead_letter="dead"), new("b", dead_letter="dead"), new("other", "dead"))
        self.fail(store, "a", reason="ValueError: no")
        self.claim(store, "b", lease_ms=1)
        until(lambda: store.transitions.recover(0).affected)
        found, cursor, looked = store.queries.failures("dead", letters=True)
        assert [one.reason for one in found] == ["ValueError: no", self.record(store, "b").failed_reason]
        assert [one.job_id for one in found] == [one.id for one in store.queries.find("dead", [State.WAITING])[1:]]
        assert (cursor, looked) == ("", 3)
        page = store.queries.page("dead", State.WAITING, JobFilter(reason="ValueError"))
        assert self.ids(page.records) == [found[0].job_id]
        assert page.records[0].failed_reason == "ValueError: no"
