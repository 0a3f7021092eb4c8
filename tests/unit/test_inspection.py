"""What is read over all queues, and which queues a process takes from."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, create_app
from tests.waiting import until


def test_queues_and_jobs_of_whichever_program(app: Application, settings: dict[str, Any]) -> None:
    assert app.queue.get_queue_names() == []
    app.queue.get_queue("emails").add("n", job_id="one")
    app.queue.get_queue("archive").add("n", job_id="two")
    with create_app(settings) as other:
        other.start()
        assert other.queue.get_queue_names() == ["archive", "emails"]
        found = other.queue.get_job("two")
        assert found is not None
        assert (found.queue_name, found.get_state()) == ("archive", "waiting")
        assert other.queue.get_job("three") is None
    assert app.queue.shared is (settings["driver"] == "redis")


def test_a_process_takes_from_the_queues_that_were_named(settings: dict[str, Any]) -> None:
    app = create_app(settings)
    for name in ("one", "two"):
        app.queue.create_queue(name).process(lambda job: job.queue_name)
    app.start(queues=["one"])
    first, second = (app.queue.get_queue(name).add("n") for name in ("one", "two"))
    assert first.wait_until_finished(timeout=10) == "one"
    three = app.queue.create_queue("three")
    three.process(print)
    assert (len(app.queue.get_queue("one").get_workers()), three.get_workers()) == (1, [])
    assert second.get_state() == "waiting"
    app.close()


def test_with_no_queue_the_clock_runs_alone(settings: dict[str, Any]) -> None:
    app = create_app({**settings, "worker": {"clock": False}})
    queue = app.queue.create_queue("one")
    queue.process(lambda job: None)
    app.start(queues=[])
    job = queue.add("n", delay=50)
    until(lambda: job.get_state() == "waiting")
    assert queue.get_workers() == []
    app.close()


def test_concurrency_is_set_before_jobs_are_taken(app: Application) -> None:
    queue = app.queue.create_queue("one", concurrency=2)
    assert (queue.concurrency, queue.handler_names) == (2, [])
    queue.concurrency = 5
    with pytest.raises(ConfigurationError, match="must be a whole number"):
        queue.concurrency = 0
    assert queue.concurrency == 5
    queue.process("n", print)
    queue.process(print)
    assert queue.handler_names == ["n", "*"]
    until(lambda: [one.concurrency for one in queue.get_workers()] == [5])
    with pytest.raises(ConfigurationError, match="before the application is started"):
        queue.concurrency = 6


def test_events_are_read_from_any_point(app: Application) -> None:
    queue = app.queue.get_queue("one")
    assert queue.get_events(wait=timedelta(milliseconds=1)) == []
    queue.add("n", job_id="first")
    (first,) = queue.get_events()
    threading.Timer(0.3, queue.add, ("n",), {"job_id": "second"}).start()
    (second,) = queue.get_events(after=first.cursor, wait=30)
    assert (first.job_id, second.job_id) == ("first", "second")
    assert queue.get_events(limit=1) == [first]


def test_dead_letters_are_read(app: Application) -> None:
    dead = app.queue.get_queue("dead")
    mail = app.queue.create_queue("mail", concurrency=1, dead_letter="dead")

    def fail(job: Any) -> None:
        raise OSError(f"no route to {job.data}")

    mail.process(fail)
    mail.add_bulk([{"name": "welcome", "data": name} for name in "abc"])
    until(lambda: dead.get_job_counts()["waiting"] == 3)
    dead.add("no letter", {"id": 1})
    assert [one["reason"] for one in dead.get_dead_letters()] == [f"OSError: no route to {name}" for name in "abc"]
    assert [one["data"] for one in dead.get_dead_letters(1, 1)] == ["b"]


def test_without_an_end_only_so_many_jobs_are_read(app: Application) -> None:
    queue = app.queue.get_queue("q")
    ids = [job.id for job in queue.add_bulk([{"name": "n"}] * 2_300)]
    queue.pause()
    assert [job.id for job in queue.get_jobs()] == ids[:1_000]
    assert [job.id for job in queue.get_jobs("waiting", 1_500)] == ids[1_500:]
    assert [job.id for job in queue.get_jobs(end=-1)] == ids
    assert [job.id for job in queue.get_jobs("paused", -2)] == ids[-2:]
    assert [job.id for job in queue.get_jobs(["waiting", "failed"], 10, -10)] == ids[10:-9]
    assert queue.get_jobs("failed", end=-1) == []
