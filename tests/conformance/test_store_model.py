"""Random operations on the memory store, the specification, and on the others: all answer and look the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from stratix_kombu.errors import StratixError
from stratix_kombu.model.letter import job_of
from stratix_kombu.model.names import new_request
from stratix_kombu.model.record import (
    ANY_CLAIM,
    KEEP_NONE,
    UNCLAIMED,
    Change,
    Completion,
    Deduplication,
    Failure,
    HandOver,
    Held,
    Limit,
    NewJob,
    Retention,
    WorkerInfo,
)
from stratix_kombu.model.state import Action, Refusal, State, Sweep
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores import audit
from tests.conformance.looks import QUEUES, Looks, queues
from tests.conformance.opened import empty_schema, one_of_each, run_model, with_postgres
from tests.conformance.seen import counted, heard, listing, plain, swept, tried, without_time

DEAD = "dead"
IDS = tuple("abcdefgh")
LEASE_MS = 3_600_000
FAR_MS = 3_600_000
"""Nothing is due and no lease ends by itself while a run lasts: time has no part in it."""

SWEPT = (State.WAITING, State.ACTIVE, State.BLOCKED, State.COMPLETED, State.FAILED)
"""Delayed jobs of one millisecond have no order."""

ids = st.sampled_from(IDS)
AT_ONCE, LATER = Retention(age_ms=0), Retention(age_ms=FAR_MS)
elsewhere = st.sampled_from([False, False, False, True])
keeps = st.sampled_from([Retention(), Retention(count=0), Retention(count=2), AT_ONCE, LATER])


class Stores(Looks):
    opened: Callable[[], list[Store]]

    def __init__(self) -> None:
        super().__init__()
        self.stores = type(self).opened()
        self.tokens: dict[str, str] = {}
        self.last: Any = None
        """The last step, if it was one that can be asked for again, and its answer."""

    def teardown(self) -> None:
        self.they_are_the_same_throughout()
        for store in self.stores:
            store.close()

    @rule(job_id=ids, wanted=st.lists(ids, max_size=2))
    def use_again(self, job_id: str, wanted: list[str]) -> None:
        """Remove a job and give its id to another one, while others may depend on the first."""
        self.both(lambda store: store.transitions.remove(job_id))
        new = NewJob(
            id=job_id, queue=queue_of(job_id), name="again", dependencies=tuple(wanted), keep_completed=KEEP_NONE
        )
        self.both(lambda store: store.transitions.add([new]))

    @rule(job_id=ids, data=st.sampled_from(["1", '"a"', '{"b":[]}']), keep=keeps, priority=st.integers(0, 9))
    def die(self, job_id: str, data: str, keep: Retention, priority: int) -> None:
        """Add a job, or take the one there is, and let it fail: it leaves a letter."""
        queue = queue_of(job_id)
        new = NewJob(
            id=job_id,
            queue=queue,
            name="dies",
            data=data,
            keep_failed=keep,
            priority=priority,
            dead_letter=DEAD,
            limit=Limit("l", 1000, 1),
        )
        self.both(lambda store: store.transitions.add([new]))
        self.claim(queue, [job_id])
        self.both(lambda store: store.transitions.fail([Failure(job_id, self.tokens.get(job_id, ""), "dead")]))

    @rule(place=st.integers(0, 2), again=st.booleans())
    def redrive(self, place: int, again: bool) -> None:
        letters = self.alike(lambda store: [one.id for one in store.queries.find(DEAD, [State.WAITING])])
        if not letters:
            return
        letter_id = letters[place % len(letters)]

        def step(store: Store) -> Any:
            (letter,) = store.queries.get([letter_id])
            assert letter is not None
            job = job_of(json.loads(letter.data), letter.id, letter.number, letter.queue)
            answers = [store.transitions.redrive(letter.id, letter.number, job) for _ in range(1 + again)]
            return job, [without_time(one) for one in answers]

        self.both(step)

    @rule(worker=st.sampled_from("wv"), served=st.sets(queues, min_size=1), leaves=st.booleans())
    def serve(self, worker: str, served: set[str], leaves: bool) -> None:
        present = [WorkerInfo(id=worker, queue=one, concurrency=len(served)) for one in sorted(served)]
        self.both(lambda store: store.transitions.renew(present, [], LEASE_MS, asked=QUEUES))
        if leaves:
            self.both(lambda store: store.transitions.leave(worker, sorted(served)[:1]))

    def both(self, step: Any) -> Any:
        """Make a step; the answer all stores give."""
        self.last = None
        return self.alike(step)

    def alike(self, step: Any) -> Any:
        """The answer all stores give; a refusal counts as one."""
        answers = []
        for store in self.stores:
            try:
                answers.append(step(store))
            except StratixError as refusal:
                answers.append((type(refusal).__name__, str(refusal)))
        answers = [without_time(one) for one in answers]
        assert all(answer == answers[0] for answer in answers)
        return answers[0]

    @rule(
        chosen=st.lists(
            st.tuples(
                ids,
                elsewhere,
                st.lists(ids, max_size=3),
                st.booleans(),
                st.booleans(),
                keeps,
                keeps,
                st.integers(0, 9),
                st.sampled_from([False, False, True]),
                st.lists(ids, max_size=2),
                elsewhere,
            ),
            min_size=1,
            max_size=4,
        )
    )
    def add(self, chosen: list[Any]) -> None:
        jobs = [
            NewJob(
                id=one,
                queue=queue_of(one, away),
                name=f"n{one}",
                dependencies=tuple(deps),
                optional=optional,
                delay_ms=FAR_MS if late else 0,
                keep_completed=keep,
                keep_failed=keep_failed,
                priority=priority,
                max_attempts=2,
                vacant=vacant,
                carries=tuple(carries),
                anew=anew,
            )
            for one, away, deps, optional, late, keep, keep_failed, priority, vacant, carries, anew in chosen
        ]
        self.both(lambda store: store.transitions.add(jobs))

    @rule(job_id=ids, away=elsewhere, replace=st.booleans(), late=st.booleans(), ttl_ms=st.sampled_from([0, FAR_MS]))
    def add_once(self, job_id: str, away: bool, replace: bool, late: bool, ttl_ms: int) -> None:
        new = NewJob(
            id=job_id,
            queue=queue_of(job_id, away),
            name="once",
            dead_letter="y",
            delay_ms=FAR_MS if late else 0,
            deduplication=Deduplication("d", ttl_ms, replace),
        )
        self.both(lambda store: store.transitions.add([new]))

    @rule(queue=queues, wanted=st.lists(ids, max_size=4))
    def claim(self, queue: str, wanted: list[str]) -> None:
        request = new_request()

        def step(store: Store) -> Any:
            claimed = store.transitions.claim(queue, wanted, "w", LEASE_MS, request=request)
            granted = [(one.record.id, one.token, plain(one.record)) for one in claimed.claims]
            return granted, [replace(one, retry_ms=0) for one in claimed.refused]

        answer = self.both(step)
        self.tokens.update((job_id, token) for job_id, token, _ in answer[0])
        if all(one.why is not Refusal.LIMITED for one in answer[1]):  # each of those counts
            self.last = step, answer

    @rule(chosen=st.lists(ids, min_size=1, max_size=3, unique=True), result=st.sampled_from(["1", '"r"']))
    def complete(self, chosen: list[str], result: str) -> None:
        self.end("complete", [Completion(one, self.tokens.get(one, ""), result) for one in chosen])

    @rule(chosen=st.lists(ids, min_size=1, max_size=3, unique=True), retry=st.sampled_from([None, 0, FAR_MS]))
    def fail(self, chosen: list[str], retry: int | None) -> None:
        self.end("fail", [Failure(one, self.tokens.get(one, ""), f"reason {one}", '["t"]', retry) for one in chosen])

    def end(self, way: str, ends: list[Any]) -> None:
        def step(store: Store) -> Any:
            return getattr(store.transitions, way)(ends)

        answer = self.both(step)
        self.last = step, answer

    @rule()
    def ask_again(self) -> None:
        """The answer to the last step was lost: the second one is the same, and nothing has changed."""
        if self.last is None:
            return
        step, first = self.last
        before = [self.look(store) for store in self.stores]
        again = self.alike(step)
        assert [self.look(store) for store in self.stores] == before
        assert (again.stale if isinstance(first, Change) else again) == (
            first.stale if isinstance(first, Change) else first
        )

    @staticmethod
    def look(store: Store) -> Any:
        heard = [(queue, one.name, one.job_id) for queue in QUEUES for one in store.events.read(queue, "0")]
        return store.queries.get(IDS), heard, [counted(store, queue) for queue in QUEUES]

    @rule(
        job_id=ids,
        way=st.sampled_from(["complete", "fail", "hand_over"]),
        by_hand=st.sampled_from(["", "", ANY_CLAIM, UNCLAIMED]),
        chosen=st.lists(
            st.tuples(ids, queues, st.lists(ids, max_size=2), st.lists(ids, max_size=2), st.booleans(), elsewhere),
            max_size=3,
        ),
        left=st.sampled_from(["", "left"]),
    )
    def go_on(self, job_id: str, way: str, by_hand: str, chosen: list[Any], left: str) -> None:
        token = by_hand or self.tokens.get(job_id, "")
        then = tuple(
            NewJob(
                id=one,
                queue=queue,
                name=f"t{one}",
                dependencies=tuple(other for other in deps if other != one),
                carries=tuple(other for other in carries if other != one),
                vacant=vacant,
                message=f"m{job_id}",
                anew=anew,
            )
            for one, queue, deps, carries, vacant, anew in chosen
        )
        ends = {
            "complete": Completion(job_id, token, "2", then, message=left),
            "fail": Failure(job_id, token, "why", error="{}", then=then),
            "hand_over": HandOver(job_id, token, then, "again"),
        }
        self.end(way, [ends[way]])
        if by_hand:
            self.last = None

    @rule(job_id=ids)
    def hand_back(self, job_id: str) -> None:
        self.end("hand_back", [Held(job_id, self.tokens.get(job_id, ""))])

    @rule(job_id=ids, dependency=ids)
    def add_dependency(self, job_id: str, dependency: str) -> None:
        self.both(lambda store: store.transitions.add_dependency(job_id, dependency))

    @rule(job_id=ids, dependency=ids)
    def remove_dependency(self, job_id: str, dependency: str) -> None:
        self.both(lambda store: store.transitions.remove_dependency(job_id, dependency))

    @rule(
        job_id=ids,
        step=st.sampled_from(["retry", "rerun", "rerun all", "promote_job", "remove", "cancel"]),
        reason=st.sampled_from(["why", "", "r" * 5000]),
    )
    def by_hand(self, job_id: str, step: str, reason: str) -> None:
        more: dict[str, tuple[Any, ...]] = {"cancel": (reason,), "rerun all": (True,)}
        self.both(lambda store: getattr(store.transitions, step.split()[0])(job_id, *more.get(step, ())))

    @rule()
    def expire(self) -> None:
        self.both(lambda store: sorted(store.transitions.expire().affected))

    @rule(job_id=ids, delay_ms=st.sampled_from([0, FAR_MS]))
    def change_delay(self, job_id: str, delay_ms: int) -> None:
        self.both(lambda store: store.transitions.change_delay(job_id, delay_ms))

    @rule(job_id=ids, priority=st.integers(0, 9))
    def change_priority(self, job_id: str, priority: int) -> None:
        self.both(lambda store: store.transitions.change_priority(job_id, priority))

    @rule(queue=queues, step=st.sampled_from(["pause", "resume"]))
    def steer(self, queue: str, step: str) -> None:
        self.both(lambda store: getattr(store.transitions, step)(queue))

    @rule(queue=queues, for_ms=st.sampled_from([0, 0, FAR_MS]))
    def hold(self, queue: str, for_ms: int) -> None:
        self.both(lambda store: store.transitions.hold(queue, for_ms))

    @rule(queue=queues, most=st.sampled_from([None, 0, 1, 2]))
    def bound(self, queue: str, most: int | None) -> None:
        self.both(lambda store: store.transitions.set_global_concurrency(queue, most))

    @rule(
        queue=queues,
        limit=st.integers(1, 3),
        what=st.sampled_from([(Sweep.RETRY, State.FAILED), *((Sweep.REMOVE, one) for one in SWEPT)]),
    )
    def sweep(self, queue: str, limit: int, what: tuple[Sweep, State]) -> None:
        action, state = what
        order = sorted if state is State.ACTIVE else list
        self.both(lambda store: order(swept(store, queue, action, state, limit)))

    @rule(
        queue=queues,
        action=st.sampled_from(list(Action)),
        wanted=st.lists(ids, max_size=4, unique=True),
        state=st.sampled_from([None, None, *State]),
    )
    def each(self, queue: str, action: Action, wanted: list[str], state: State | None) -> None:
        self.both(lambda store: store.transitions.each(queue, action, wanted, state, "all of them"))

    @rule(job_id=ids)
    def write(self, job_id: str) -> None:
        self.both(lambda store: store.transitions.progress(job_id, "5"))
        self.both(lambda store: store.transitions.update_data(job_id, "6"))
        self.both(lambda store: store.transitions.log(job_id, "line", 2))

    @invariant()
    def they_look_the_same(self) -> None:
        self.alike(lambda store: [plain(one) for one in store.queries.get(IDS)])
        self.alike(lambda store: [one and replace(one, finished_ms=0) for one in store.queries.ended(IDS)])
        for queue in QUEUES:
            self.alike(lambda store, queue=queue: store.queries.status(queue).counts)

    def they_are_the_same_throughout(self) -> None:
        self.alike(lambda store: store.queries.late_queues(0))
        self.alike(lambda store: [plain(one) for one in store.queries.roots()[0]])
        for queue in (*QUEUES, DEAD):
            self.alike(lambda store, queue=queue: counted(store, queue))
            self.alike(lambda store, queue=queue: store.queries.workers(queue))
            self.alike(lambda store, queue=queue: [heard(one) for one in store.events.read(queue, "0")])
            for state in State:
                self.alike(lambda store, queue=queue, state=state: listing(store, queue, state))
        for job_id in IDS:
            self.both(lambda store, job_id=job_id: store.queries.logs_after(job_id, 1))
            self.alike(lambda store, job_id=job_id: tried(store, job_id))
            for read in ("dependencies", "dependents", "dependency_results", "logs"):
                self.alike(lambda store, read=read, job_id=job_id: getattr(store.queries, read)(job_id))
        assert [audit(store) for store in self.stores] == [[]] * len(self.stores)


def queue_of(job_id: str, away: bool = False) -> str:
    """Mostly one queue for each id: an id of another queue is refused."""
    return QUEUES[(IDS.index(job_id) + away) % len(QUEUES)]


@pytest.mark.timeout(600)  # many random programs; how long they take depends on the machine
def test_all_stores_agree(redis_url: str, tmp_path: Path) -> None:
    run_model(Stores, lambda: one_of_each(redis_url, tmp_path), 500, 30)


@pytest.mark.timeout(600)  # many random programs; how long they take depends on the machine
def test_postgres_agrees(postgres_database: str) -> None:
    run_model(Stores, lambda: with_postgres(postgres_database), 50, 30)


@pytest.mark.parametrize("options", [{}, {"limit": 1}])
def test_releases_in_small_pages_agree(
    redis_url: str, postgres_database: str, tmp_path: Path, options: dict[str, int]
) -> None:
    """The end of a long worklist, one edge at a time."""
    stores = [*one_of_each(redis_url, tmp_path), empty_schema(postgres_database)]
    seen = []
    for store in stores:
        store.transitions.add([NewJob(id="a", queue="x", name="n")])
        for start in range(0, 1200, 600):
            store.transitions.add(
                [NewJob(id=f"d{n:04}", queue="x", name="n", dependencies=("a",)) for n in range(start, start + 600)]
            )
        (claim,) = store.transitions.claim("x", ["a"], "w", LEASE_MS).claims
        change = store.transitions.complete([Completion("a", claim.token, "1")])
        pages = [len(change.ready)]
        while change.more:
            change = store.transitions.release(**options)
            pages.append(len(change.ready))
        seen.append((pages, store.queries.status("x").counts))
        store.close()
    assert seen == seen[:1] * len(stores)
