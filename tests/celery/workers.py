"""Real Celery workers in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery

from tests.celery.project import make_app
from tests.fork_server import start
from tests.waiting import WAIT_S, until

ROOT = Path(__file__).resolve().parents[2]
GREENLETS = ("gevent", "eventlet")
"""Pools that patch modules before others import them."""


@dataclass
class Project:
    """One project: its application in this process, and workers for it."""

    broker: str
    store: str
    prefix: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:10]}")
    conf: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = self.make()

    def make(self, **more: Any) -> Celery:
        return make_app(self.broker, self.store, self.prefix, **{**self.conf, **more})

    def task(self, name: str) -> Any:
        return self.app.tasks[f"proj.{name}"]

    @property
    def queue(self) -> Any:
        return self.app.stratix.queue.get_queue(self.app.conf.task_default_queue)

    @contextmanager
    def worker(self, pool: str = "threads", concurrency: int = 4, **more: Any) -> Iterator[WorkerProcess]:
        """A worker that consumes; ended at the exit."""
        process = self.start_worker(pool, concurrency, **more)
        try:
            yield process
        finally:
            process.end()

    def start_worker(
        self, pool: str = "threads", concurrency: int = 4, *arguments: str, ready: bool = True, **more: Any
    ) -> WorkerProcess:
        process = WorkerProcess(pool, concurrency, self.environment(**more), arguments)
        if ready:
            process.wait_until_ready()
        return process

    def environment(self, **more: Any) -> dict[str, str]:
        """For programs that import ``tests.celery.project`` as this project."""
        settings = {"broker": self.broker, "store": self.store, "prefix": self.prefix, **self.conf, **more}
        return {**os.environ, "STRATIX_TEST_PROJECT": json.dumps(settings), "C_FORCE_ROOT": "1"}

    def close(self) -> None:
        if hasattr(self.app, "stratix"):
            self.app.stratix.close()
        self.app.close()


class WorkerProcess:
    """``celery -A tests.celery.project worker``, or ``stratix-kombu -A tests.celery.project worker``."""

    def __init__(
        self, pool: str, concurrency: int, environment: dict[str, str], arguments: tuple[str, ...] = ()
    ) -> None:
        self.log = Path(tempfile.mkstemp(prefix="stratix-celery-", suffix=".log")[1])
        self.name = f"w{uuid.uuid4().hex[:8]}@test"
        self.stopping = False
        command = [*self._command(pool, concurrency), *arguments]
        self.process = start(command, environment, self.log, is_forked=pool not in GREENLETS)

    def _command(self, pool: str, concurrency: int) -> list[str]:
        """``own``: the worker of stratix_kombu, which runs the tasks on threads; ``own by celery``: started by the
        command line of Celery."""
        which = ["-A", "tests.celery.project", "worker"]
        slots = ["-c", str(concurrency), "-n", self.name]
        if pool == "own":
            return ["stratix_kombu", *which, *slots]
        if pool == "own by celery":
            return ["celery", *which[:2], "stratix", "worker", *slots]
        return ["celery", *which, "-P", pool, "-l", "INFO", *slots]

    def wait_until_ready(self) -> None:
        """Until it takes messages."""
        until(self._ready, WAIT_S)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.text()
        text = self.text()
        processes = re.search(r"supervisor \d+ of (\d+)", text)
        own = len(re.findall(r"worker \d+ runs jobs", text)) >= int(processes[1] if processes else 1)
        return own or f"{self.name} ready" in text

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Without any chance to tidy up, children included."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Begin a warm shutdown, once: another signal means more to some workers."""
        if self.process.poll() is None and not self.stopping:
            self.stopping = True
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """A warm shutdown."""
        if self.process.poll() is None:
            self.stop()
            try:
                self.process.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                self.kill()
        self.log.unlink(missing_ok=True)
