"""A worker that is frozen while it runs a job: another one takes over, and what the first one says afterwards is
refused; it consumes again. With the documented options and the event ``stalled``."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import JobFailed, create_app
from tests.faults.hosts import BROKERS, HOSTS, Place, Workers
from tests.faults.processes import runs_of, worker_process
from tests.waiting import until

JOBS = 6


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.close()


class Held:
    """A queue whose worker holds a job until the gate is there."""

    def __init__(self, place: Place, workers: Workers, gate: Path) -> None:
        self.place, self.gate, self._workers = place, gate, workers
        self.app = place.application()
        self.queue = self.app.queue.get_queue(place.queue)
        self.stalled = list[str]()
        self.queue.on("stalled", lambda job: self.stalled.append(job.id))
        self.pids = [workers.begin(place, wait=False)]
        self.job = self.queue.add("held", str(gate))

    def begin_another(self) -> None:
        self.pids.append(self._workers.begin(self.place, wait=False))

    def runs(self) -> int:
        return runs_of(self._workers.runs(self.place))[self.job.id]

    def refused(self) -> bool:
        """Whether a worker has said that its claim was no longer held."""
        text = self._workers.log(self.place).read_text()
        return "stale claim" in text or "lease lost" in text


def test_a_frozen_worker_cannot_finish_what_another_one_has_taken_over(
    request: pytest.FixtureRequest, redis_url: str, workers: Workers, tmp_path: Path
) -> None:
    brokers = {driver: request.getfixturevalue(fixture) for driver, fixture in BROKERS.items()}
    places = [
        Place(host, driver, broker, redis_url, f"frozen{uuid.uuid4().hex[:8]}")
        for host in HOSTS
        for driver, broker in brokers.items()
    ]
    all_held = [Held(place, workers, tmp_path / "gate") for place in places]
    until(lambda: all(held.runs() == 1 for held in all_held), 60)
    for held in all_held:
        os.kill(held.pids[0], signal.SIGSTOP)
        held.begin_another()
    until(lambda: all(held.runs() == 2 for held in all_held), 120)
    all_held[0].gate.touch()
    for held in all_held:
        first, second = held.pids
        assert held.job.wait_until_finished(timeout=60) == second
        os.kill(first, signal.SIGCONT)
    for held in all_held:
        first, second = held.pids
        until(held.refused, 60)
        os.kill(second, signal.SIGKILL)
        again = held.queue.add("held", str(held.gate))
        assert again.wait_until_finished(timeout=60) == first, "it consumes again"
        job = held.job.refresh()
        assert (job.return_value, job.attempts_made, job.attempts_started) == (second, 1, 2)
        assert held.stalled == [job.id]
        told = held.app.queue.store.events.read(held.queue.name, "0")
        assert [one.job_id for one in told if one.name == "completed"] == [job.id, again.id]
        held.app.close()


@pytest.mark.parametrize("host", HOSTS)
def test_a_worker_that_lost_the_first_attempts_goes_on_with_the_second_ones(
    redis_url: str, workers: Workers, tmp_path: Path, host: str
) -> None:
    """Frozen for longer than its leases, it is given the same jobs anew. Each loss is reported once."""
    place = Place(host, "redis", redis_url, redis_url, f"frozen{uuid.uuid4().hex[:8]}")
    app, gate, log = place.application(), tmp_path / "gate", workers.log(place)
    queue, transitions = app.queue.get_queue(place.queue), app.queue.engine.store.transitions
    pid = workers.begin(place, wait=False, concurrency=2 * JOBS)
    jobs = [queue.add(name, str(gate), attempts=3) for name in ("held", "held_coroutine") * (JOBS // 2)]
    until(lambda: runs_of(workers.runs(place)).total() == JOBS, 60)
    os.kill(pid, signal.SIGSTOP)
    stalled = set[str]()
    until(lambda: stalled.update(transitions.recover(3).affected) or len(stalled) == JOBS, 20)
    os.kill(pid, signal.SIGCONT)
    until(lambda: set(runs_of(workers.runs(place)).values()) == {2}, 60)
    until(lambda: log.read_text().count("lease lost") == JOBS, 20)
    gate.touch()
    for job in jobs:
        assert job.wait_until_finished(timeout=60) == pid
        job.refresh()
        assert (job.attempts_made, job.attempts_started) == (1, 2)
    os.kill(pid, signal.SIGTERM)
    until(lambda: queue.get_workers() == [], 60)
    text = log.read_text()
    assert (text.count("lease lost"), text.count("stale claim")) == (JOBS, 0)
    app.close()


def test_a_job_that_stalls_too_often_has_failed(redis_url: str, tmp_path: Path) -> None:
    """With the option names of the documentation."""
    settings: dict[str, Any] = {
        "driver": "redis", "redis": {"url": redis_url}, "namespace": f"stall{uuid.uuid4().hex[:8]}",
        "bullmq": {"stalledCheckInterval": 100, "maxStalledCount": 1, "leaseDuration": 500},
    }  # fmt: skip
    runs = tmp_path / "runs"
    with create_app(settings) as app:
        queue, stalled = app.queue.create_queue("q"), list[str]()
        queue.on("stalled", lambda job: stalled.append(job.id))
        job = queue.add("n", attempts=5)
        for times in (1, 2):
            with worker_process(settings, "q", runs, seconds=60) as worker:
                until(lambda times=times: runs_of(runs)[job.id] == times, 60)  # type: ignore[misc]
                worker.kill()
        with pytest.raises(JobFailed, match="stalled more than 1 times"):
            job.wait_until_finished(timeout=30)
        until(lambda: stalled == [job.id] * 2)
        assert runs_of(runs)[job.id] == 2
