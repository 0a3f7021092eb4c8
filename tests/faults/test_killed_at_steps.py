"""Workers that are killed at every step of the life cycle, one after another, on every driver, in both hosts."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, create_app
from tests.celery.project import make_app, sqs_broker
from tests.faults.audit import audit_run, keys_left, no_message_left
from tests.faults.processes import ROOT
from tests.faults.steps import OF_CELERY, OF_DISPATCH, OF_WORKER
from tests.faults.work import WATCH, Work, seed_of

DEATH_S = 60.0
AGAIN_S = 1.0
"""How often it is seen whether there is work left by which the step can be reached."""


class Incarnations:
    """The process that forks the workers."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._log = Path(order["log"])
        command = [sys.executable, "-m", "tests.faults.incarnations", json.dumps(order)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.pid = 0

    def begin(self, step: str = "", nth: int = 1) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"step": step, "nth": nth}).encode() + b"\n")
        self.pid = self._read(DEATH_S)["pid"]

    def ended(self, timeout: float) -> int | None:
        """How the worker ended, if it has."""
        answer = self._read(timeout)
        self.pid = 0 if answer else self.pid
        return answer.get("ended")

    def _read(self, timeout: float) -> dict[str, Any]:
        stdout = self.process.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], timeout)
        answer: dict[str, Any] = json.loads(stdout.readline()) if readable else {}
        return answer

    def close(self) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@contextmanager
def hosted(
    host: str, settings: dict[str, Any], request: pytest.FixtureRequest, folder: Path
) -> Iterator[tuple[Application, str, Incarnations]]:
    """The application of this process, the queue's name, and the workers of a host."""
    prefix, order = settings["namespace"], {"host": host, "runs": str(folder / "runs"), "log": str(folder / "log")}
    if host == "worker":
        app, queue = create_app(settings), "q"
        order |= {"settings": settings, "queue": queue}
    else:
        broker = {
            "redis": settings["store"], "rabbitmq": settings.get("rabbitmq", {}).get("url"),
            "sqs": settings["driver"] == "sqs" and sqs_broker(request.getfixturevalue("sqs_url")),
        }[settings["driver"]]  # fmt: skip
        project = {"broker": broker, "store": settings["store"], "prefix": prefix, "worker": WATCH}
        app, queue = make_app(**project).stratix, f"{prefix}q"
        order |= {"project": project, "queue": queue}
    workers = Incarnations(order)
    try:
        yield app, queue, workers
    finally:
        workers.close()
        app.close()


def shuffled(chance: random.Random, host: str, driver: str) -> list[str]:
    """All steps, in any order, but a step that leaves something to recover comes right before the recovery."""
    steps = [*(OF_WORKER if host == "worker" else OF_CELERY), *(OF_DISPATCH if driver != "redis" else ())]
    chance.shuffle(steps)
    steps.insert(steps.index("claimed") + 1, "recovered")
    return steps


@pytest.mark.parametrize("host", ["worker", "celery"])
def test_a_worker_killed_at_every_step(
    host: str, settings: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seed = seed_of("killed at every step")
    chance = random.Random(seed)
    settings = {**settings, "worker": WATCH}
    if settings["driver"] == "sqs":
        settings["sqs"]["visibility_timeout"] = 3
    steps = shuffled(chance, host, settings["driver"])
    with hosted(host, settings, request, tmp_path) as (app, name, workers):
        queue = app.queue.get_queue(name)
        work = Work(queue, seed)
        for step in steps:
            workers.begin(step, chance.randint(1, 2))
            deadline = time.monotonic() + DEATH_S
            work.add_batch()
            while (code := workers.ended(AGAIN_S)) is None:
                assert time.monotonic() < deadline, f"seed {seed}: {step} was not reached"
                if work.ended():
                    work.add_batch()
            assert code == -signal.SIGKILL, f"seed {seed}: {step} ended with {code}: {(tmp_path / 'log').read_text()}"
        workers.begin()
        work.finish(60)
        assert audit_run(work, app.queue.engine, tmp_path / "runs") == [], f"seed {seed}: {steps}"
        no_message_left(app.queue.engine.driver, name)
        os.kill(workers.pid, signal.SIGTERM)
        assert workers.ended(DEATH_S) == 0
        assert keys_left(queue, settings["store"], settings["namespace"]) == []
