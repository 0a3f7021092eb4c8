"""Dead letters: one for each job and each failure, and the job that is made of one."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from stratix_kombu.model.claims import Bounds
from stratix_kombu.model.letter import Fallback, job_of
from stratix_kombu.model.names import check_known_id
from stratix_kombu.model.record import KEEP_NONE, LETTER, Completion, Failure, JobRecord, Limit, NewJob, Retention
from stratix_kombu.model.state import State
from stratix_kombu.stores.contract import Store
from stratix_kombu.testing.stores.base import LEASE_MS, QUEUE, StoreCase, new, until

LONG = "i" * 200


class LetterSuite(StoreCase):
    @staticmethod
    def letters(store: Store) -> list[JobRecord]:
        return store.queries.find("dead", [State.WAITING])

    def bury(self, store: Store, job: NewJob) -> JobRecord:
        """Add a job and fail it; its letter."""
        before = {one.number for one in self.letters(store)}
        claim = self.start(store, job)
        store.transitions.fail([Failure(job.id, claim.token, "broken")])
        (letter,) = (one for one in self.letters(store) if one.number not in before)
        return letter

    def test_each_job_of_an_id_leaves_a_letter_of_its_own(self, store: Store) -> None:
        for round_ in range(3):
            self.bury(store, new("sync", data=str(round_), dead_letter="dead", keep_failed=KEEP_NONE))
        assert [json.loads(letter.data)["data"] for letter in self.letters(store)] == [0, 1, 2]
        assert {letter.kind for letter in self.letters(store)} == {LETTER}

    def test_the_letter_of_a_long_id_can_be_read_back_and_so_can_its_job(self, store: Store) -> None:
        letter = self.bury(store, new(LONG, dead_letter="dead"))
        assert json.loads(letter.data)["id"] == LONG
        job_id = LONG
        for _ in range(3):
            job = job_of(json.loads(letter.data), letter.id, letter.number, letter.queue)
            assert check_known_id(letter.id) != check_known_id(job.id) != job_id
            assert self.record(store, letter.id) == letter
            assert store.transitions.redrive(letter.id, letter.number, job)
            job_id = job.id
            (claim,) = self.claim(store, job_id)
            store.transitions.fail([Failure(job_id, claim.token, "broken")])
            (letter,) = self.letters(store)

    def test_the_job_of_a_letter_is_as_it_was(self, store: Store) -> None:
        window, loose = Limit("w", 3, 60_000), Limit("w", 7, 1, bounce_back=False)
        limits = [window, loose, Limit("b", 5, refill_per_s=0.3, initial=2), None]
        keeps = [Retention(3, 5_000), KEEP_NONE, Retention(age_ms=60_000), Retention()]
        for number, (limit, keep) in enumerate(zip(limits, keeps, strict=True)):
            job = new(
                f"j{number}",
                data='{"to":"ä"}',
                options='{"timeout":5}',
                priority=number,
                max_attempts=3,
                limit=limit,
                keep_completed=keep,
                keep_failed=keeps[-1 - number],
                dead_letter="dead",
                max_stalled=number or None,
            )
            letter = self.bury(store, job)
            again = job_of(json.loads(letter.data), letter.id, letter.number, letter.queue)
            assert replace(again, id=job.id, data=job.data) == job
            assert json.loads(again.data) == {"to": "ä"}
            added = store.transitions.redrive(letter.id, letter.number, again)
            assert added is not None
            assert self.ids(added.ready) == [again.id]
            assert [one.state for one in added.placed if one] == [State.WAITING]

    def test_a_letter_is_redriven_once(self, store: Store) -> None:
        letter = self.bury(store, new("a", dead_letter="dead"))
        job = job_of(json.loads(letter.data), letter.id, letter.number, letter.queue)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: store.transitions.redrive(letter.id, letter.number, job), range(8)))
        assert sum(one is not None for one in found) == 1
        assert self.states(store, letter.id, job.id) == ["gone", "waiting"]
        self.complete(store, job.id)
        store.transitions.remove(job.id)
        assert store.transitions.redrive(letter.id, letter.number, job) is None
        assert self.states(store, job.id) == ["gone"]
        assert ("removed", letter.id) in self.emitted(store, "dead")

    def test_only_the_letter_that_was_read_is_redriven(self, store: Store) -> None:
        (first,) = store.transitions.add([new("l", "dead")]).placed
        store.transitions.remove("l")
        (second,) = store.transitions.add([new("l", "dead")]).placed
        assert first is not None
        assert second is not None
        assert store.transitions.redrive("l", first.number, new("x")) is None
        self.add(store, new("y"))
        assert store.transitions.redrive("l", second.number, new("y")) is None
        assert self.states(store, "l", "x") == ["waiting", "gone"]
        self.claim(store, "l", queue="dead")
        assert store.transitions.redrive("l", second.number, new("x")) is None
        assert self.states(store, "l", "x") == ["active", "gone"]

    def test_dependents_of_a_letter_learn_that_it_was_removed(self, store: Store) -> None:
        letter = self.bury(store, new("a", dead_letter="dead"))
        self.add(store, new("d", dependencies=[letter.id], optional=True))
        added = store.transitions.redrive(letter.id, letter.number, new("x"))
        assert added is not None
        assert sorted(self.ids(added.ready)) == ["d", "x"]

    def test_what_the_worker_says_of_jobs_that_do_not_say_it(self, store: Store) -> None:
        fallback = Fallback("dead", KEEP_NONE, Retention(age_ms=1))
        self.add(store, new("a"), new("b", dead_letter="other"), new("c"))
        store.transitions.claim(QUEUE, ["a", "b"], "w", 0, Bounds(fallback=fallback))
        self.finish_releases(store, store.transitions.recover(0))
        assert self.states(store, "a", "b") == ["failed", "failed"]
        assert [json.loads(letter.data)["id"] for letter in self.letters(store)] == ["a"]
        assert self.counts(store, "other") == {"waiting": 1}
        (claim,) = store.transitions.claim(QUEUE, ["c"], "w", LEASE_MS, Bounds(fallback=fallback)).claims
        store.transitions.complete([Completion("c", claim.token, "1")])
        assert self.states(store, "c") == ["completed"], "that is of letters"

    def test_letters_are_kept_as_their_queue_says(self, store: Store) -> None:
        first, second = (self.bury(store, new(one, dead_letter="dead")).id for one in "ab")
        self.add(store, new("no letter", "dead"))
        fallback = Fallback(keep_completed=KEEP_NONE, keep_failed=Retention(age_ms=1))
        ids = [first, second, "no letter"]
        claims = store.transitions.claim("dead", ids, "w", LEASE_MS, Bounds(fallback=fallback)).claims
        tokens = {claim.record.id: claim.token for claim in claims}
        store.transitions.complete([Completion(one, tokens[one], "1") for one in (first, "no letter")])
        store.transitions.fail([Failure(second, tokens[second], "no")])
        assert self.states(store, *ids) == ["gone", "failed", "completed"]
        until(lambda: store.transitions.expire().affected == (second,))

    # -- rounds -----------------------------------------------------------------------------------

    def pass_on(self, store: Store, letter_id: str, queue: str, dead_letter: str) -> list[JobRecord]:
        """Fail a letter whose queue has a queue for letters itself; the letters that are waiting there."""
        bounds = Bounds(fallback=Fallback(dead_letter))
        (claim,) = store.transitions.claim(queue, [letter_id], "w", LEASE_MS, bounds).claims
        store.transitions.fail([Failure(letter_id, claim.token, "again")])
        assert self.states(store, letter_id) == ["failed"]
        return store.queries.find(dead_letter, [State.WAITING])

    def test_a_letter_is_passed_on_but_not_to_where_it_has_failed(self, store: Store) -> None:
        letters = [self.bury(store, new(one, dead_letter="dead")) for one in "abc"]
        assert self.pass_on(store, letters[0].id, "dead", QUEUE) == []
        (third,) = self.pass_on(store, letters[1].id, "dead", "third")
        assert json.loads(third.data)["path"] == [QUEUE, "dead"]
        assert json.loads(third.data)["data"] == json.loads(letters[1].data)
        assert self.pass_on(store, third.id, "third", QUEUE) == []
        (third,) = self.pass_on(store, letters[2].id, "dead", "third")
        assert self.pass_on(store, third.id, "third", "dead") == []

    def test_a_job_leaves_no_letter_in_its_own_queue(self, store: Store) -> None:
        self.add(store, new("a", dead_letter=QUEUE), new("b", dead_letter=QUEUE))
        self.fail(store, "a")
        self.claim(store, "b", lease_ms=0)
        store.transitions.recover(0)
        assert self.counts(store) == {"failed": 2}

    def test_neither_do_letters_that_do_not_say_where_they_have_failed(self, store: Store) -> None:
        """A handler may have written other data."""
        texts = ["5", "[1]", '{"path":5}', '{"path":null}']
        for number, text in enumerate(texts):
            self.add(store, new(f"l{number}", "dead", kind=LETTER, data=text))
            assert self.pass_on(store, f"l{number}", "dead", "third") == []
