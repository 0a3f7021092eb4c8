"""Draining, cleaning, retrying, promoting and obliterating, as users call it."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from itertools import islice

import pytest

from stratix_kombu import Application, ConfigurationError, Job, QueueNotEmpty
from stratix_kombu.lifecycle.one_job import cancel, remove
from stratix_kombu.model.record import NewJob
from stratix_kombu.stores import contract
from tests.waiting import until


@pytest.mark.parametrize("adds", [1, 1000], ids=["for a moment", "all the time"])
def test_obliterate_while_others_add(app: Application, monkeypatch: pytest.MonkeyPatch, adds: int) -> None:
    queue = app.queue.get_queue("mail")
    engine, numbers = app.queue.engine, iter(range(adds))
    transitions, forget, purge = engine.store.transitions, engine.store.transitions.forget_queue, engine.driver.purge

    def forget_queue(name: str) -> bool:
        for number in islice(numbers, 1):  # somebody adds a job after the last one was removed
            queue.add("late", number)
        return forget(name)

    def purge_after_another(name: str) -> int:
        for number in islice(numbers, 1):
            queue.add("late", number)
        return purge(name)

    monkeypatch.setattr(transitions, "forget_queue", forget_queue)
    monkeypatch.setattr(engine.driver, "purge", purge_after_another)
    heard: list[str] = []
    queue.on("completed", lambda job, result: heard.append(job.id))
    queue.add_bulk([{"name": "n"}] * 5)
    assert queue.obliterate() >= 5
    assert not queue.is_paused()
    queue.process(lambda job: None)
    last = queue.add("last")
    last.wait_until_finished(timeout=10)
    until(lambda: queue.get_job_counts()["waiting"] == 0)  # none has lost its message
    until(lambda: last.id in heard)


def test_draining(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.add_bulk([{"name": "n"}] * 30)
    late = queue.add("late", delay=60_000)
    assert queue.drain() == 30
    assert late.get_state() == "delayed"
    assert queue.drain(delayed=True) == 1
    assert queue.get_jobs() == []


def test_long_work_reports_its_progress(app: Application) -> None:
    queue = app.queue.get_queue("q")
    queue.add_bulk([{"name": "n"}] * (contract.PAGE * 2 + 7))
    events_heard: list[int] = []
    assert queue.drain(on_progress=events_heard.append) == contract.PAGE * 2 + 7
    assert events_heard == [contract.PAGE, contract.PAGE * 2, contract.PAGE * 2 + 7]


def test_cleaning(app: Application) -> None:
    queue = app.queue.get_queue("q")
    cleaned: list[int] = []
    queue.on("cleaned", cleaned.append)
    queue.process(lambda job: job.data)
    jobs = queue.add_bulk([{"name": "n", "data": number} for number in range(5)])
    until(lambda: queue.get_job_counts()["completed"] == 5)
    assert queue.clean(timedelta(minutes=1)) == []
    first = queue.clean(limit=2)
    assert len(first) == 2
    assert set(first) <= {job.id for job in jobs}
    assert len(queue.clean()) == 3
    until(lambda: cleaned == [2, 3])
    with pytest.raises(ConfigurationError, match=r"unknown state 'complete'.*completed"):
        queue.clean(state="complete")


def test_failed_jobs_are_run_again_and_delayed_ones_now(app: Application) -> None:
    queue = app.queue.create_queue("q", concurrency=5)
    broken = threading.Event()
    broken.set()

    def work(job: Job) -> str:
        if broken.is_set():
            raise OSError("down")
        return "fine"

    queue.process(work)
    jobs = queue.add_bulk([{"name": "n"}] * 10)
    until(lambda: queue.get_job_counts()["failed"] == 10)
    broken.clear()
    assert queue.retry_jobs(count=4) == 4
    assert queue.retry_jobs() == 6
    assert [job.wait_until_finished(timeout=10) for job in jobs] == ["fine"] * 10
    late = [queue.add("late", delay=60_000) for _ in range(3)]
    assert queue.promote_jobs(1) == 1
    assert queue.promote_jobs() == 2
    assert [job.wait_until_finished(timeout=10) for job in late] == ["fine"] * 3
    with pytest.raises(ConfigurationError, match="only 'failed' jobs"):
        queue.retry_jobs("completed")


def test_obliterating(app: Application) -> None:
    queue = app.queue.create_queue("q", concurrency=1)
    began, gate = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        began.set()
        gate.wait(20)

    queue.process(work)
    queue.add_bulk([{"name": "n"}] * 20)
    queue.add("late", delay=60_000)
    assert began.wait(10)
    with pytest.raises(QueueNotEmpty, match="has 1 active jobs"):
        queue.obliterate()
    assert not queue.is_paused()
    assert queue.obliterate(force=True) == 21
    gate.set()
    assert queue.get_jobs() == []
    assert app.queue.engine.driver.depth("q") == 0
    until(lambda: app.queue.engine.faults["stale_claim"] == 1)
    assert not queue.is_paused()
    began.clear()
    job = queue.add("n")
    job.wait_until_finished(timeout=10)


def test_jobs_that_fail_again_at_once_are_each_run_once_more(app: Application) -> None:
    queue = app.queue.create_queue("q", concurrency=20)
    runs: Counter[str] = Counter()

    def work(job: Job) -> None:
        runs[job.id] += 1
        raise OSError("down")

    queue.process(work)
    queue.add_bulk([{"name": "n"}] * 2_500)
    until(lambda: queue.get_job_counts()["failed"] == 2_500, 60)
    assert queue.retry_jobs() == 2_500
    until(lambda: queue.get_job_counts()["failed"] == 2_500, 60)
    assert set(runs.values()) == {2}


def test_jobs_behind_ten_thousand_others_are_reached(app: Application) -> None:
    """Those that failed because of another one are not run again by hand, and come first."""
    queue = app.queue.get_queue("q")
    store = app.queue.store
    store.transitions.add([NewJob(id=one, queue="q", name="n") for one in ("dependency", "last")])
    for start in range(0, 10_500, 2_100):
        passed = range(start, start + 2_100)
        store.transitions.add([NewJob(id=f"{n}", queue="q", name="n", dependencies=("dependency",)) for n in passed])
    queue.pause()
    remove(app.queue.engine, "dependency")
    cancel(app.queue.engine, "last", "not now")
    assert queue.get_job_counts()["failed"] == 10_501
    assert queue.retry_jobs() == 1
    assert len(queue.clean(state="failed")) == 10_500
