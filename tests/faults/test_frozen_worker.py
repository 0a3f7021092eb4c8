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
from tests.faults.worker_processes import runs_of, worker_process
from tests.waiting import WAIT_S, until

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
        heard = held.app.queue.store.events.read(held.queue.name, "0")
        assert [one.job_id for one in heard if one.name == "completed"] == [job.id, again.id]
        held.app.close()


class Losing:
    """A worker that runs jobs until the gate is there, and loses its claims on them meanwhile."""

    def __init__(self, host: str, redis_url: str, workers: Workers, gate: Path) -> None:
        place = Place(host, "redis", redis_url, redis_url, f"losing{uuid.uuid4().hex[:8]}")
        self.app, self.gate, self._log, self._runs = place.application(), gate, workers.log(place), workers.runs(place)
        self.queue, self._store = self.app.queue.get_queue(place.queue), self.app.queue.engine.store
        self.pid = workers.begin(place, wait=False, concurrency=2 * JOBS)
        self.jobs = [self.queue.add(kind, str(gate), attempts=3) for kind in ("held", "held_coroutine") * (JOBS // 2)]
        until(lambda: runs_of(self._runs).total() == JOBS, 60)

    def recover(self, end_leases: bool = False) -> None:
        """Until all have stalled."""
        ids = [job.id for job in self.jobs]

        def step() -> bool:
            stalled = {one.id for one in self._store.queries.get(ids) if one is not None and one.stalled_count}
            for one in self.queue.get_workers() if end_leases else ():
                held = self._store.queries.held(self.queue.name, one.id)
                self._store.transitions.renew([one], [each for each in held if each.job_id not in stalled], 0)
            self._store.transitions.recover(3)
            return len(stalled) == JOBS

        until(step, WAIT_S)

    def finish(self) -> None:
        """The second attempts end as they do; each loss was reported once."""
        until(lambda: set(runs_of(self._runs).values()) == {2}, 60)
        until(lambda: self._log.read_text().count("lease lost") == JOBS, WAIT_S)
        self.gate.touch()
        for job in self.jobs:
            assert job.wait_until_finished(timeout=60) == self.pid
            job.refresh()
            assert (job.attempts_made, job.attempts_started) == (1, 2)
        os.kill(self.pid, signal.SIGTERM)
        until(lambda: self.queue.get_workers() == [], 60)
        text = self._log.read_text()
        assert (text.count("lease lost"), text.count("stale claim")) == (JOBS, 0)
        self.app.close()


@pytest.mark.parametrize("host", HOSTS)
def test_a_frozen_worker_goes_on_with_the_second_attempts_of_its_jobs(
    redis_url: str, workers: Workers, tmp_path: Path, host: str
) -> None:
    losing = Losing(host, redis_url, workers, tmp_path / "gate")
    os.kill(losing.pid, signal.SIGSTOP)
    losing.recover()
    os.kill(losing.pid, signal.SIGCONT)
    losing.finish()


@pytest.mark.parametrize("host", HOSTS)
def test_so_does_one_that_has_begun_them_before_it_hears_of_the_loss(
    redis_url: str, workers: Workers, tmp_path: Path, host: str
) -> None:
    losing = Losing(host, redis_url, workers, tmp_path / "gate")
    losing.recover(end_leases=True)
    losing.finish()


def test_a_job_that_stalls_too_often_has_failed(redis_url: str, tmp_path: Path) -> None:
    """With the option names of the documentation."""
    settings: dict[str, Any] = {
        "driver": "redis",
        "redis": {"url": redis_url},
        "namespace": f"stall{uuid.uuid4().hex[:8]}",
        "bullmq": {"stalledCheckInterval": 100, "maxStalledCount": 1, "leaseDuration": 1500},
    }
    runs = tmp_path / "runs"
    with create_app(settings) as app:
        app.start()
        queue, stalled = app.queue.create_queue("q"), list[str]()
        queue.on("stalled", lambda job: stalled.append(job.id))
        job = queue.add("n", attempts=5)
        for times in (1, 2):
            with worker_process(settings, "q", runs, seconds=60) as worker:
                until(lambda times=times: runs_of(runs)[job.id] == times, 60)  # type: ignore[misc]
                worker.kill()
        with pytest.raises(JobFailed, match="stalled more than 1 times"):
            job.wait_until_finished(timeout=30)
        until(lambda: stalled == [job.id] * 2, WAIT_S)
        assert runs_of(runs)[job.id] == 2
