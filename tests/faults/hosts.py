"""Both hosts on every driver: settings, the application of the test, and worker processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stratix_kombu import Application, create_app
from tests.celery.project import make_app, sqs_broker
from tests.faults.work import WATCH
from tests.faults.worker_processes import ROOT

START_S = 60.0
HOSTS = ("worker", "celery")
BROKERS = {"redis": "redis_url", "rabbitmq": "amqp_url", "sqs": "sqs_url"}
"""The fixture of each driver's broker."""
VISIBILITY_S = 3


@dataclass(frozen=True)
class Place:
    """Where a queue is: its broker and its store, and who works on it."""

    host: str
    driver: str
    broker: str
    store: str
    namespace: str

    @property
    def queue(self) -> str:
        return "q" if self.host == "worker" else f"{self.namespace}q"

    def settings(self) -> dict[str, Any]:
        """For ``create_app`` or for ``make_app`` of the Celery project, as JSON may hold it."""
        if self.host == "celery":
            broker = sqs_broker(self.broker) if self.driver == "sqs" else self.broker
            named = {"broker": broker, "store": self.store, "prefix": self.namespace, "worker": WATCH}
            return {**named, "stratix": {"store": self.store}}
        options: dict[str, Any] = {"url": self.broker}
        if self.driver == "sqs":
            credentials = {"access_key_id": "x", "secret_access_key": "y"}
            options = {
                "endpoint_url": self.broker,
                "visibility_timeout": VISIBILITY_S,
                "aws": {"region": "us-east-1", "credentials": credentials},
            }
        common = {"driver": self.driver, "namespace": self.namespace, "store": self.store, "worker": WATCH}
        return {**common, self.driver: options}

    def application(self) -> Application:
        """One that only adds and looks: it is not started."""
        settings = self.settings()
        return make_app(**settings).stratix if self.host == "celery" else create_app(settings)


class Workers:
    """The process that forks workers; all of them end with ``close``."""

    def __init__(self, folder: Path, python: Sequence[str] = (sys.executable,)) -> None:
        self._folder = folder
        self._pids: set[int] = set()
        # Unbuffered: what is read ahead would be hidden from select().
        self._process = subprocess.Popen(
            [*python, "-m", "tests.faults.incarnations"],
            cwd=ROOT,
            bufsize=0,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def begin(self, place: Place, step: str = "", nth: int = 1, wait: bool = True, concurrency: int = 4) -> int:
        """Start a worker; its pid. One that is waited for ends before the next one is started."""
        order: Mapping[str, Any] = {
            "host": place.host,
            "settings": place.settings(),
            "queue": place.queue,
            "runs": str(self.runs(place)),
            "log": str(self.log(place)),
            "step": step,
            "nth": nth,
            "wait": wait,
            "concurrency": concurrency,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        pid = int(self._read(START_S)["pid"])
        self._pids.add(pid)
        return pid

    def ended(self, timeout: float) -> int | None:
        """How the worker that is waited for ended, if it has."""
        code = self._read(timeout).get("ended")
        return None if code is None else int(code)

    def runs(self, place: Place) -> Path:
        """Where the starts of the place's handlers are noted."""
        return self._folder / f"runs-{place.namespace}"

    def log(self, place: Place) -> Path:
        """What the place's workers have printed."""
        return self._folder / f"log-{place.namespace}"

    def _read(self, timeout: float) -> dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        readable, _, _ = select.select([stdout], [], [], timeout)
        answer: dict[str, Any] = json.loads(stdout.readline()) if readable else {}
        return answer

    def close(self) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
