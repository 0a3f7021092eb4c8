"""Workers that are killed at every step of the life cycle, one after another, on every driver, in both hosts."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.audit import audit_run, keys_left, no_message_left
from tests.faults.hosts import BROKERS, HOSTS, Place, Workers
from tests.faults.steps import OF_CELERY, OF_DISPATCH, OF_WORKER
from tests.faults.work import Work, seed_of

DEATH_S = 60.0
AGAIN_S = 1.0
"""How often it is seen whether there is work left by which the step can be reached."""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.close()


def shuffled(chance: random.Random, host: str, driver: str) -> list[str]:
    """All steps, in any order, but a step that leaves something to recover comes right before the recovery."""
    steps = [*(OF_WORKER if host == "worker" else OF_CELERY), *(OF_DISPATCH if driver != "redis" else ())]
    chance.shuffle(steps)
    steps.insert(steps.index("claimed") + 1, "recovered")
    return steps


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("driver", list(BROKERS))
def test_a_worker_killed_at_every_step(
    host: str, driver: str, request: pytest.FixtureRequest, redis_url: str, workers: Workers
) -> None:
    seed = seed_of("killed at every step")
    chance = random.Random(seed)
    steps = shuffled(chance, host, driver)
    broker = request.getfixturevalue(BROKERS[driver])
    place = Place(host, driver, broker, redis_url, f"killed{uuid.uuid4().hex[:8]}")
    app = place.application()
    queue = app.queue.get_queue(place.queue)
    work = Work(queue, seed)
    for step in steps:
        workers.begin(place, step, chance.randint(1, 2))
        deadline = time.monotonic() + DEATH_S
        work.add_batch()
        while (code := workers.ended(AGAIN_S)) is None:
            assert time.monotonic() < deadline, f"seed {seed}: {step} was not reached"
            if work.ended():
                work.add_batch()
        assert code == -signal.SIGKILL, f"seed {seed}: {step} ended with {code}: {workers.log(place).read_text()}"
    healthy = workers.begin(place)
    work.finish()
    assert audit_run(work, app.queue.engine, workers.runs(place)) == [], f"seed {seed}: {steps}"
    no_message_left(app.queue.engine.driver, place.queue)
    os.kill(healthy, signal.SIGTERM)
    assert workers.ended(DEATH_S) == 0, workers.log(place).read_text()
    assert keys_left(queue, redis_url, place.namespace) == []
    app.close()
