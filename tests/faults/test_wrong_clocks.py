"""Hosts whose clocks are wrong by an hour: all times are the store's, so nothing is early, late, lost or doubled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from stratix_kombu.model.record import JobRecord
from tests.celery.test_beat import Beat, slots
from tests.celery.workers import Project
from tests.faults.audit import audit_run
from tests.faults.hosts import HOSTS, Place, Workers
from tests.faults.test_clocks import assert_none_is_missing
from tests.faults.work import Work, seed_of
from tests.faults.worker_processes import ROOT, runs_of
from tests.waiting import until

DELAY_MS = 700
LATE_MS = 10_000
"""More than a busy machine makes of it, less than any hour."""
EVERY_MS = 500
HOURS = (3600, -3600)
ADDS_REPEATABLES = """
import json, sys
from stratix_kombu import create_app
app = create_app(json.loads(sys.argv[1]))
queue = app.queue.get_queue(sys.argv[2])
interval = queue.add_repeatable_job("value", 1, key="interval", every=500)
cron = queue.add_repeatable_job("value", 1, key="cron", cron="* * * * * *")
queue.pause_repeatable_job("cron")
queue.resume_repeatable_job("cron")
print(json.dumps([one.next_run.timestamp() for one in queue.get_repeatable_jobs()]))
"""


@pytest.fixture
def wrong_clock(request: pytest.FixtureRequest) -> list[str]:
    """A Python whose clock is wrong by an hour."""
    return [sys.executable, "-m", "tests.faults.wrong_clock", str(request.param)]


@pytest.fixture
def place(request: pytest.FixtureRequest, redis_url: str) -> Place:
    return Place(getattr(request, "param", "worker"), "redis", redis_url, redis_url, f"clock{uuid.uuid4().hex[:8]}")


@pytest.fixture
def both(tmp_path: Path, wrong_clock: list[str], place: Place) -> Iterator[tuple[Workers, Workers]]:
    """A worker whose clock is wrong, and one whose clock is right."""
    wrong, right = Workers(tmp_path, wrong_clock), Workers(tmp_path)
    yield wrong, right
    wrong.close()
    right.close()


@pytest.mark.parametrize(("place", "wrong_clock"), list(zip(HOSTS, HOURS, strict=True)), indirect=True)
def test_jobs_are_neither_early_nor_late_nor_stalled(
    place: Place, both: tuple[Workers, Workers], tmp_path: Path
) -> None:
    wrong, right = both
    app, gate = place.application(), tmp_path / "gate"
    queue = app.queue.get_queue(place.queue)
    held = queue.add("held", str(gate), job_id="held")
    wrong.begin(place, wait=False)
    until(lambda: runs_of(wrong.runs(place))["held"] == 1, 60)
    right.begin(place, wait=False)  # its clock would recover what the other one seems to have left
    work = Work(queue, seed_of("wrong clocks"))
    for _ in range(4):
        work.add_batch()
    limited = [queue.add("value", 1, limiter={"max": 2, "duration": DELAY_MS}, job_id=f"limited-{n}") for n in range(6)]
    delayed = [queue.add("value", 1, delay=DELAY_MS, job_id=f"delayed-{n}") for n in range(6)]
    work.finish(but=1)
    gate.touch()
    held.wait_until_finished(timeout=30)
    work.results |= {job.id: 1 for job in (*limited, *delayed)}
    (ran,) = app.queue.engine.store.queries.get(["held"])
    assert ran is not None
    assert (ran.attempts_started, ran.stalled_count) == (1, 0)
    work.results["held"] = json.loads(str(ran.result))
    records = {one.id: one for one in _records(app.queue.engine, [*limited, *delayed])}
    for job in delayed:
        waited = records[job.id].processed_ms - records[job.id].created_ms
        assert DELAY_MS <= waited < DELAY_MS + LATE_MS
    starts = sorted(records[job.id].processed_ms for job in limited)
    assert all(later - first >= DELAY_MS for first, later in zip(starts, starts[2:], strict=False))
    assert starts[-1] - starts[0] < 3 * DELAY_MS + LATE_MS
    assert audit_run(work, app.queue.engine, wrong.runs(place)) == []
    app.close()


@pytest.mark.parametrize("wrong_clock", HOURS, indirect=True)
def test_repeatable_jobs_of_a_host_with_a_wrong_clock(
    place: Place, both: tuple[Workers, Workers], wrong_clock: list[str], redis_url: str, tmp_path: Path
) -> None:
    for workers in both:
        workers.begin(place, wait=False)
    program = tmp_path / "adds_repeatables.py"
    program.write_text(ADDS_REPEATABLES)
    command = [*wrong_clock, str(program), json.dumps(place.settings()), place.queue]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    now = _store_now(redis_url)
    assert all(abs(one - now) < LATE_MS / 1000 for one in json.loads(answer.stdout))
    app = place.application()
    queue = app.queue.get_queue(place.queue)
    until(lambda: min(len(_fired(queue, "interval")), len(_fired(queue, "cron"))) >= 4, 60)
    interval = _fired(queue, "interval")
    assert_none_is_missing(interval, EVERY_MS)
    assert abs(max(interval) / 1000 - _store_now(redis_url)) < LATE_MS / 1000
    app.close()


@pytest.mark.parametrize("wrong_clock", HOURS[:1], indirect=True)
def test_two_beats_of_which_one_has_a_wrong_clock(
    redis_url: str, wrong_clock: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(redis_url, redis_url)
    entries = {"often": {"task": "proj.add", "schedule": EVERY_MS / 1000, "args": [1, 1]}}
    beats = [Beat(project, entries, tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr("tests.celery.test_beat.sys.executable", os.fspath(_script(tmp_path, wrong_clock)))
        beats.append(Beat(project, entries, tmp_path))
    until(lambda: len(slots(project, "often")) >= 4, 60)
    beats.pop(0).end()  # the one with the wrong clock goes on alone
    count = len(slots(project, "often"))
    until(lambda: len(slots(project, "often")) >= count + 4, 60)
    beats.pop().end()
    found = _fired(project.queue, "often")
    assert_none_is_missing(found, EVERY_MS)
    assert abs(max(found) / 1000 - _store_now(redis_url)) < LATE_MS / 1000
    project.close()


def _script(folder: Path, wrapper: list[str]) -> Path:
    """A Python whose clock is wrong."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec {" ".join(wrapper)} "$@"\n')
    script.chmod(0o755)
    return script


def _records(engine: Any, jobs: list[Any]) -> list[JobRecord]:
    return [one for one in engine.store.queries.get([job.id for job in jobs]) if one is not None]


def _fired(queue: Any, key: str) -> dict[int, int]:
    """The slots of a repeatable job, and when they were fired."""
    jobs = [job for job in queue.get_jobs() if f":{key}:" in job.id]
    return {int(job.id.rpartition(":")[2]): job.timestamp for job in jobs}


def _store_now(url: str) -> float:
    with Redis.from_url(url) as client:
        seconds, micros = client.time()
    return float(seconds + micros / 1e6)
