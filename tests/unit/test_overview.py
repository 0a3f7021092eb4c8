"""``app.queue``: all queues and workers of a namespace, whichever program made them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, __version__
from tests.waiting import until


def test_an_overview_of_all_queues(app: Application) -> None:
    queue = app.queue.create_queue("b")
    app.queue.create_queue("a").add("n", delay=600_000)

    @queue.process
    def handle(job: Any) -> None:
        if job.data:
            raise ValueError(job.data)

    app.start()
    queue.add("good").wait_until_finished(timeout=10)
    bad = queue.add("bad", "no", attempts=1)
    until(lambda: bad.get_state() == "failed")
    first, second = app.queue.get_overview()
    assert (first.name, second.name) == ("a", "b")
    assert (first.counts["delayed"], second.counts["completed"], second.counts["failed"]) == (1, 1, 1)
    assert (len(second.completed), sum(second.completed), sum(second.failed)) == (60, 1, 1)
    assert second.recent.run.count == 2
    shown = json.loads(json.dumps(second.to_dict()))
    assert (shown["name"], shown["recent"]["completed"]) == ("b", 1)
    (_, again) = asyncio.run(app.queue.aio.get_overview(minutes=5))
    assert (again.counts, len(again.completed)) == (second.counts, 5)


@pytest.mark.parametrize("minutes", [0, 1441, "5", True])
def test_minutes_that_cannot_be(app: Application, minutes: Any) -> None:
    with pytest.raises(ConfigurationError, match="get_overview: 'minutes' must be a whole number from 1 to 1440"):
        app.queue.get_overview(minutes)


def test_workers_and_what_they_run(app: Application) -> None:
    first, second = app.queue.create_queue("a", concurrency=2), app.queue.create_queue("b", concurrency=3)
    end = threading.Event()
    for queue in (first, second):
        queue.process(lambda job: end.wait(20))
    jobs = [first.add("n"), second.add("n")]
    try:
        until(lambda: all(job.get_state() == "active" for job in jobs))
        until(lambda: app.queue.get_workers() and len(app.queue.get_workers()[0].queues) == 2)
        (worker,) = app.queue.get_workers()
        assert (worker.host, worker.pid, worker.version) == (socket.gethostname(), os.getpid(), __version__)
        assert (worker.queues, worker.slots, worker.stuck) == ({"a": 2, "b": 3}, 5, 0)
        assert worker.started_on is not None
        assert worker.started_on <= jobs[0].timestamp
        assert worker.last_take_on is not None
        until(lambda: app.queue.get_workers()[0].leads_clock)
        assert json.loads(json.dumps(worker.to_dict()))["queues"] == {"a": 2, "b": 3}
        assert {one.id for one in app.queue.get_worker_jobs(worker.id)} == {job.id for job in jobs}
        assert len(app.queue.get_worker_jobs(worker.id, limit=1)) == 1
        assert app.queue.get_worker_jobs("another") == app.queue.get_worker_jobs("") == []
        assert [one.id for one in asyncio.run(app.queue.aio.get_workers())] == [worker.id]
        assert len(asyncio.run(app.queue.aio.get_worker_jobs(worker.id))) == 2
    finally:
        end.set()
    until(lambda: app.queue.get_worker_jobs(worker.id) == [])
