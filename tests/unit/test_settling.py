"""Results that are stored with the next take, where the store is the broker."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, Job, StoreUnavailable, create_app
from stratix_kombu.worker import consumer
from stratix_kombu.worker.settler import Settler
from tests.waiting import WAIT_S, until


@pytest.fixture
def app(redis_url: str) -> Iterator[Application]:
    namespace = f"settling{uuid.uuid4().hex[:8]}"
    app = create_app({"driver": "redis", "redis": {"url": redis_url}, "namespace": namespace, "store": redis_url})
    yield app
    app.close()


@pytest.fixture
def calls(app: Application, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    return counted_calls(app, monkeypatch)


def counted_calls(app: Application, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each step is called, and with how many results."""
    calls, transitions = Counter[str](), app.queue.engine.store.transitions

    def counted(name: str) -> Callable[..., Any]:
        step = getattr(transitions, name)

        def call(*args: Any, **how: Any) -> Any:
            calls[name] += 1
            if name != "take":
                calls[f"by {name}"] += len(args[0])
            return step(*args, **how)

        return call

    for name in ("take", "complete", "complete_and_take"):
        monkeypatch.setattr(transitions, name, counted(name))
    return calls


def _completed(app: Application) -> int:
    return int(app.queue.get_queue("q").get_job_counts()["completed"])


def test_while_jobs_wait_each_result_goes_with_the_next_take(app: Application, calls: Counter[str]) -> None:
    queue = app.queue.create_queue("q", concurrency=1)
    queue.process(lambda job: job.data)
    queue.add_bulk([{"name": "n", "data": n} for n in range(20)])
    app.start()
    until(lambda: _completed(app) == 20)
    assert (calls["complete_and_take"], calls["by complete_and_take"]) == (19, 19)
    assert calls["by complete"] == 1, "the last one, with which nothing was to be taken"
    assert [one.return_value for one in queue.get_jobs(["completed"])] == [*range(20)][::-1]


async def _coroutine(job: Job) -> Any:
    return job.data


@pytest.mark.parametrize(("slots", "joined"), [(1, 299), (10, 0)])
def test_also_of_coroutines(app: Application, calls: Counter[str], slots: int, joined: int) -> None:
    """With more slots than one, results are stored while the next jobs are taken."""
    queue = app.queue.create_queue("q", concurrency=slots)
    queue.process(_coroutine)
    queue.add_bulk([{"name": "n", "data": n} for n in range(300)])
    app.start()
    until(lambda: _completed(app) == 300)
    assert calls["by complete"] + calls["by complete_and_take"] == 300
    assert calls["by complete_and_take"] == joined


def test_where_one_step_waits_for_the_other_they_are_joined_for_many_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app({"store": f"sqlite:///{tmp_path}/jobs.db"})
    calls = counted_calls(app, monkeypatch)
    queue = app.queue.create_queue("q", concurrency=10)
    queue.process(lambda job: job.data)
    queue.add_bulk([{"name": "n", "data": n} for n in range(100)])
    app.start()
    until(lambda: _completed(app) == 100)
    app.close()
    assert calls["by complete"] == 100, "also those that are completed with a take"
    assert calls["by complete_and_take"] >= 90, "all but those with which nothing was to be taken"


def test_a_result_waits_for_no_take_when_the_queue_is_closed(app: Application, calls: Counter[str]) -> None:
    """Two run when it is paused. The first that ends brings that answer; the other one has no take to go with."""
    ends = {"a": threading.Event(), "b": threading.Event()}
    queue = app.queue.create_queue("q", concurrency=2)
    queue.process(lambda job: ends[job.name].wait(30))
    queue.add_bulk([{"name": name} for name in ("a", "b", "a", "a")])
    app.start()
    until(lambda: queue.get_job_counts()["active"] == 2)
    queue.pause()
    ends["a"].set()
    until(lambda: _completed(app) == 1)
    ends["b"].set()
    until(lambda: _completed(app) == 2)
    assert calls["by complete_and_take"] <= 1
    queue.resume()
    until(lambda: _completed(app) == 4)


def test_a_fault_of_the_call_loses_no_result(
    app: Application, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transitions, broken = app.queue.engine.store.transitions, threading.Event()
    step = transitions.complete_and_take

    def breaks(*args: Any, **how: Any) -> Any:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("broken")
        return step(*args, **how)

    monkeypatch.setattr(transitions, "complete_and_take", breaks)
    monkeypatch.setattr(consumer, "LONGEST_S", 0.05)
    queue, errors = app.queue.create_queue("q", concurrency=1), list[str]()
    queue.on("error", lambda error: errors.append(str(error)))
    queue.process(lambda job: job.data)
    queue.add_bulk([{"name": "n", "data": n} for n in range(20)])
    app.start()
    until(lambda: _completed(app) == 20)
    assert errors == ["broken"]
    assert [one.attempts_started for one in queue.get_jobs(["completed"])] == [1] * 20


def test_nothing_is_started_while_no_result_can_be_stored(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store may be too full for results, and let jobs start nevertheless. Each of them would be run twice."""
    transitions, accepts, ran = app.queue.engine.store.transitions, threading.Event(), list[Any]()
    refused = 0

    def only_later(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **how: Any) -> Any:
            nonlocal refused
            if not accepts.is_set():
                refused += 1
                raise StoreUnavailable("redis", "it is full")
            return step(*args, **how)

        return call

    for name in ("complete", "complete_and_take"):
        monkeypatch.setattr(transitions, name, only_later(getattr(transitions, name)))
    queue = app.queue.create_queue("q", concurrency=2)
    queue.process(lambda job: ran.append(job.data))
    queue.add_bulk([{"name": "n", "data": n} for n in range(20)])
    app.start()
    until(lambda: refused >= 4, WAIT_S)
    assert len(ran) <= 4, "those of the two slots, and as many whose outcome waits"
    accepts.set()
    until(lambda: _completed(app) == 20)
    assert ran == [*range(20)]


def test_a_store_that_does_not_answer_holds_no_more_outcomes_up_than_there_are_slots(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it never does, all of their jobs are run again."""
    transitions, answers, full, ran = app.queue.engine.store.transitions, threading.Event(), threading.Event(), []
    complete, room = transitions.complete, Settler.room

    def much_later(*args: Any, **how: Any) -> Any:
        answers.wait(WAIT_S)
        return complete(*args, **how)

    def seen(settler: Settler, slots: int) -> int:
        found = room(settler, slots)
        if not found:
            full.set()
        return found

    monkeypatch.setattr(transitions, "complete", much_later)
    monkeypatch.setattr(Settler, "room", seen)
    queue = app.queue.create_queue("q", concurrency=3)
    queue.process(lambda job: ran.append(job.data))
    queue.add_bulk([{"name": "n", "data": n} for n in range(40)])
    app.start()
    assert full.wait(WAIT_S)
    until(lambda: len(ran) == 6, WAIT_S)
    answers.set()
    until(lambda: _completed(app) == 40)
    assert sorted(ran) == [*range(40)]


def test_stopping_stores_what_has_ended(app: Application) -> None:
    """The slot of a job is given back, and nothing is taken any more."""
    running, goes_on = threading.Event(), threading.Event()

    def handle(job: Job) -> None:
        running.set()
        goes_on.wait(30)

    queue = app.queue.create_queue("q", concurrency=1)
    queue.process(handle)
    queue.add_bulk([{"name": "n"}] * 3)
    app.start()
    assert running.wait(30)
    stopping = threading.Thread(target=app.queue.close_all)
    stopping.start()
    goes_on.set()
    stopping.join(30)
    counts = queue.get_job_counts()
    assert (counts["active"], counts["completed"] + counts["waiting"]) == (0, 3)
    assert counts["completed"] >= 1
