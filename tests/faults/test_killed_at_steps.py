"""Workers that are killed at every step of the life cycle, one after another, on every driver, in both hosts."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.audit import audit_run, keys_left, no_message_left
from tests.faults.hosts import BROKERS, HOSTS, Place, Workers
from tests.faults.steps import OF_CELERY, OF_DISPATCH, OF_WORKER
from tests.faults.work import Work, seed_of

DEATH_S = 60.0
AGAIN_S = 1.0
"""How often it is seen whether there is work left by which the step can be reached."""


def shuffled(chance: random.Random, host: str, driver: str) -> list[str]:
    """All steps, in any order, but a step that leaves something to recover comes right before the recovery."""
    sends = driver not in ("redis", "sqlite", "postgresql")
    steps = [*(OF_WORKER if host == "worker" else OF_CELERY), *(OF_DISPATCH if sends else ())]
    chance.shuffle(steps)
    steps.insert(steps.index("claimed") + 1, "recovered")
    return steps


@pytest.mark.parametrize("host", HOSTS)
def test_a_worker_killed_at_every_step(
    host: str, request: pytest.FixtureRequest, redis_url: str, tmp_path: Path
) -> None:
    """On all drivers at the same time, for most of it is waiting."""
    brokers = {driver: request.getfixturevalue(fixture) for driver, fixture in BROKERS.items()}
    places = [
        Place(host, driver, broker, redis_url, f"killed{uuid.uuid4().hex[:8]}") for driver, broker in brokers.items()
    ]
    if host == "worker":  # stores that need no broker
        file = f"sqlite:///{tmp_path}/jobs.db?synchronous=off"
        database = f"{request.getfixturevalue('postgres_database')}?migrate=auto"
        for driver, url in (("sqlite", file), ("postgresql", database)):
            places.append(Place(host, driver, url, url, f"killed{uuid.uuid4().hex[:8]}"))
    seed = seed_of("killed at every step")
    with ThreadPoolExecutor() as threads:
        runs = [threads.submit(kill_at_every_step, place, seed, tmp_path) for place in places]
    for run in runs:
        run.result()


def kill_at_every_step(place: Place, seed: int, folder: Path) -> None:
    """One worker after another, each killed at another step; then one that lives, and the audit."""
    chance, about = random.Random(seed), f"{place.host} on {place.driver}, seed {seed}"
    steps = shuffled(chance, place.host, place.driver)
    app, workers = place.application(), Workers(folder)
    queue = app.queue.get_queue(place.queue)
    work = Work(queue, seed)
    try:
        for step in steps:
            workers.begin(place, step, chance.randint(1, 2))
            deadline = time.monotonic() + DEATH_S
            work.add_batch()
            while (code := workers.ended(AGAIN_S)) is None:
                assert time.monotonic() < deadline, f"{about}: {step} was not reached"
                if work.ended():
                    work.add_batch()
            log = workers.log(place).read_text()
            assert code == -signal.SIGKILL, f"{about}: {step} ended with {code}: {log}"
        healthy = workers.begin(place)
        work.finish()
        assert audit_run(work, app.queue.engine, workers.runs(place)) == [], f"{about}: {steps}"
        no_message_left(app.queue.engine.driver, place.queue)
        os.kill(healthy, signal.SIGTERM)
        assert workers.ended(DEATH_S) == 0, f"{about}: {workers.log(place).read_text()}"
        assert keys_left(queue, place.store, place.namespace) == [], about
    finally:
        workers.close()
        app.close()
