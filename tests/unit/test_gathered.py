"""Steps of the store that several threads share."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from stratix_kombu.celery.gathered import MOST, Gathered
from stratix_kombu.errors import StoreUnavailable
from tests.waiting import WAIT_S, until


class Stop(BaseException):
    """What is no error of the step."""


class Steps:
    """A step that answers each name in upper case, once its gate is open; ``batches``: what it was asked for, each time
    that it was called; ``prepared``: how many steps there were to be."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.gate = threading.Event()
        self.batches: list[list[str]] = []
        self.prepared = 0
        self._errors = list(errors)
        self.gathered = Gathered(self._prepare)

    def _prepare(self, names: Sequence[str]) -> Callable[[], list[str]]:
        self.prepared += 1

        def step() -> list[str]:
            self.batches.append(list(names))
            assert self.gate.wait(WAIT_S)
            error = self._errors.pop(0) if self._errors else None
            if error is not None:
                raise error
            return [name.upper() for name in names]

        return step

    def _waits(self, number: int) -> bool:
        return len(self.gathered._waiting) == number

    def ask(self, pool: ThreadPoolExecutor, first: str, *others: tuple[str, str]) -> list[Future[str]]:
        """The first one's step is under way when each of the others, a job and a name, asks in turn."""
        asked = [pool.submit(self.gathered.ask, first, first)]
        until(lambda: bool(self.batches), WAIT_S)
        for number, (job_id, name) in enumerate(others, 1):
            asked.append(pool.submit(self.gathered.ask, job_id, name))
            until(partial(self._waits, number), WAIT_S)
        self.gate.set()
        return asked


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(MOST + 10) as threads:
        yield threads


def outcome(asked: Future[str]) -> str:
    try:
        return asked.result(WAIT_S)
    except BaseException as error:
        return repr(error)


def test_one_that_asks_alone_waits_for_nobody(pool: ThreadPoolExecutor) -> None:
    steps = Steps()
    steps.gate.set()
    assert [pool.submit(steps.gathered.ask, one, one).result(WAIT_S) for one in "ab"] == ["A", "B"]
    assert steps.batches == [["a"], ["b"]]


def test_the_main_thread_asks_for_itself(pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may interrupt it between any two instructions: it must not leave others waiting for it."""
    steps = Steps(Stop())
    steps.gate.set()
    with monkeypatch.context() as patch:
        patch.setattr(steps.gathered, "_turn", None)
        with pytest.raises(Stop):
            steps.gathered.ask("a", "a")
        assert steps.gathered.ask("b", "b") == "B"
    assert pool.submit(steps.gathered.ask, "c", "c").result(WAIT_S) == "C"


def test_those_that_ask_meanwhile_share_the_next_step(pool: ThreadPoolExecutor) -> None:
    steps = Steps()
    asked = steps.ask(pool, "a", ("b", "b"), ("c", "c"), ("d", "d"))
    assert [outcome(one) for one in asked] == ["A", "B", "C", "D"]
    assert steps.batches == [["a"], ["b", "c", "d"]]


def test_two_of_one_job_do_not_go_together(pool: ThreadPoolExecutor) -> None:
    steps = Steps()
    asked = steps.ask(pool, "a", ("b", "b1"), ("c", "c"), ("b", "b2"))
    assert [outcome(one) for one in asked] == ["A", "B1", "C", "B2"]
    assert steps.batches == [["a"], ["b1", "c"], ["b2"]]


def test_a_step_is_for_so_many(pool: ThreadPoolExecutor) -> None:
    steps = Steps()
    names = [f"n{number}" for number in range(MOST + 3)]
    asked = steps.ask(pool, "a", *((name, name) for name in names))
    assert [outcome(one) for one in asked] == ["A", *(name.upper() for name in names)]
    assert [len(batch) for batch in steps.batches] == [1, MOST, 3]


def test_while_the_store_is_away_each_one_hears_it(pool: ThreadPoolExecutor) -> None:
    steps = Steps(None, StoreUnavailable("redis://nowhere", "gone"))
    asked = steps.ask(pool, "a", ("b", "b"), ("c", "c"))
    assert ["gone" in outcome(one) for one in asked] == [False, True, True]
    assert steps.batches == [["a"], ["b", "c"]]
    assert steps.gathered.ask("d", "d") == "D"


def test_what_one_of_them_cannot_have_stops_no_other(pool: ThreadPoolExecutor) -> None:
    """Each one asks again, by itself, if it is not known whose fault it was."""
    steps = Steps(None, ValueError("of b or c"), None, ValueError("of one of them"))
    asked = steps.ask(pool, "a", ("b", "b"), ("c", "c"))
    assert sorted(outcome(one) for one in asked[1:]) in (
        ["B", "ValueError('of one of them')"],
        ["C", "ValueError('of one of them')"],
    )
    assert sorted(steps.batches[2:]) == [["b"], ["c"]]


def test_an_error_of_a_step_for_one_is_its_own(pool: ThreadPoolExecutor) -> None:
    """A soft time limit, for example, is raised once, and the step is not made again."""
    steps = Steps(ValueError("too late"))
    assert outcome(steps.ask(pool, "a")[0]) == "ValueError('too late')"
    assert steps.batches == [["a"]]


def test_a_step_whose_thread_is_interrupted_is_made_by_another_one(pool: ThreadPoolExecutor) -> None:
    """The same one: it may have taken effect."""
    steps = Steps(None, Stop())
    asked = steps.ask(pool, "a", ("b", "b"), ("c", "c"))
    assert sorted(outcome(one) for one in asked) in (["A", "B", "Stop()"], ["A", "C", "Stop()"])
    assert steps.batches == [["a"], ["b", "c"], ["b", "c"]]
    assert steps.prepared == 2


def test_an_interrupted_step_for_one_is_not_made_again(pool: ThreadPoolExecutor) -> None:
    steps = Steps(Stop())
    assert outcome(steps.ask(pool, "a")[0]) == "Stop()"
    assert steps.gathered.ask("b", "b") == "B"
    assert steps.batches == [["a"], ["b"]]


def test_greenlets_that_time_out_leave_nobody_waiting() -> None:
    """The one that makes the step, and one that waits for the next one, are ended by time limits of gevent. Nothing is
    asked for the one that waited: a claim would have nobody who runs it."""
    ran = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["timeout", "timeout", "C", "D", "a", "cd"]


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
from gevent.event import Event
from stratix_kombu.celery.gathered import Gathered

gate, began, batches = Event(), Event(), []

def prepare(names):
    def step():
        batches.append("".join(names))
        began.set()
        gate.wait()
        return [name.upper() for name in names]
    return step

gathered = Gathered(prepare)

def ask(name, limit=None):
    try:
        with gevent.Timeout(limit):
            return gathered.ask(name, name)
    except gevent.Timeout:
        return "timeout"

first = gevent.spawn(ask, "a", 0.2)
began.wait()
others = [gevent.spawn(ask, "b", 0.1), gevent.spawn(ask, "c"), gevent.spawn(ask, "d")]
first.join()
gate.set()
print(*[one.get() for one in [first, *others]], *batches)
"""
