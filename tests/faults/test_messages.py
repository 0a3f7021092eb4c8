"""Messages that come twice, never, for no job, or for a job that is gone: nothing is lost, nothing runs twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, Job, create_app
from stratix_kombu.drivers.contract import TransportDriver
from stratix_kombu.drivers.registry import create_driver
from stratix_kombu.model.record import Ready
from tests.foreign import send_celery_task
from tests.waiting import until


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Application]:
    with create_app(settings) as app:
        app.start()
        yield app


@pytest.fixture
def broker(settings: dict[str, Any]) -> Iterator[TransportDriver]:
    """A second connection to the broker, to play tricks on the queue."""
    driver = create_driver(settings["driver"], settings[settings["driver"]], namespace=settings["namespace"])
    assert isinstance(driver, TransportDriver)
    driver.init()
    yield driver
    driver.close()


class Runs:
    """Counts the runs of each job."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, job: Job) -> None:
        with self._lock:
            self.count[job.id] += 1


def test_the_same_message_five_times_runs_once(app: Application, broker: TransportDriver) -> None:
    queue, runs = app.queue.create_queue("twice", concurrency=5), Runs()
    jobs = queue.add_bulk([{"name": "n"} for _ in range(10)])
    for job in jobs:
        broker.publish([Ready(job.id, "twice", job.name)] * 4)
    queue.process(runs)
    until(lambda: queue.get_job_counts()["completed"] == 10, 30)
    until(lambda: broker.depth("twice") == 0, 30)
    assert runs.count == Counter({job.id: 1 for job in jobs})


def test_jobs_whose_messages_are_lost_are_run_all_the_same(app: Application, broker: TransportDriver) -> None:
    queue, runs = app.queue.create_queue("lost"), Runs()
    jobs = queue.add_bulk([{"name": "n"} for _ in range(20)])
    until(lambda: broker.depth("lost") == 20, 30)
    broker.purge("lost")
    queue.process(runs)
    until(lambda: queue.get_job_counts()["completed"] == 20, 60)
    assert runs.count == Counter({job.id: 1 for job in jobs})


def test_a_message_for_a_job_that_is_gone_is_dropped(app: Application, broker: TransportDriver) -> None:
    queue, runs = app.queue.create_queue("gone"), Runs()
    gone = queue.add("n")
    gone.remove()
    broker.publish([Ready("never-added", "gone", "n")])
    job = queue.add("n")
    queue.process(runs)
    job.wait_until_finished(timeout=30)
    until(lambda: broker.depth("gone") == 0, 30)
    assert runs.count == Counter({job.id: 1})


def test_a_message_of_another_program_is_reported_and_dropped(app: Application, broker: TransportDriver) -> None:
    queue, errors = app.queue.create_queue("strange"), list[BaseException]()
    queue.on("error", errors.append)
    job = queue.add("n")
    send_celery_task(broker, "strange")
    queue.process(lambda job: "done")
    assert job.wait_until_finished(timeout=30) == "done"
    until(lambda: any("a message that is not a permit was dropped" in str(error) for error in errors), 30)
    assert queue.add("n").wait_until_finished(timeout=30) == "done"
