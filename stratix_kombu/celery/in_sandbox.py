"""Tasks in sandboxes, within the child: it loads the application as a process of the worker does, and runs each task by
Celery's tracer. What the task ends with, it stores itself."""

from __future__ import annotations

import atexit
import base64
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from types import FrameType
from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from celery.exceptions import SoftTimeLimitExceeded
from kombu.serialization import prepare_accept_content
from kombu.utils import json

from stratix_kombu.celery import compat
from stratix_kombu.celery.bridge import Bridge, bridge_in_worker
from stratix_kombu.celery.ended import ended
from stratix_kombu.celery.rejecting import fail_rejected
from stratix_kombu.celery.requests import request_of
from stratix_kombu.celery.task import HOSTED
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.model.bare import bare_record
from stratix_kombu.model.message import OtherMessage
from stratix_kombu.model.record import Change, Claim, Completion
from stratix_kombu.model.state import State
from stratix_kombu.worker.sandbox.soft import SOFT

if TYPE_CHECKING:
    from stratix_kombu.worker.sandbox.job import SandboxJob


def runner(named: str) -> Callable[[SandboxJob], Any]:
    """What runs the tasks of an application; ``named``: its module and name there, and the name of the worker."""
    where, _, hostname = named.partition(" ")
    module, _, name = where.partition(":")
    app = getattr(import_module(module), name)
    app.loader.init_worker()
    Engine.only_handlers = False  # all is imported, and what listens to signals may send tasks
    tasks = SandboxTasks(app, hostname)
    tasks.start()
    return tasks.run


class SandboxTasks:
    """The tasks of one application in this process. Sender of the signals of Celery's worker."""

    pool_cls = "stratix_kombu"

    def __init__(self, app: Celery, hostname: str) -> None:
        bridge = bridge_in_worker(app)
        assert bridge is not None
        self.app = app
        self.hostname = hostname
        self.bridge = bridge
        self._accept = prepare_accept_content(app.conf.accept_content)
        self._runs: InSandbox | None = None

    def start(self) -> None:
        """Prepare this process as the worker prepares its own."""
        app, hostname = self.app, self.hostname
        signals.celeryd_init.send(sender=hostname, instance=self, conf=app.conf, options={})
        app.finalize()
        compat.prepare_tracing(app, hostname)
        signals.worker_init.send(sender=self)
        app.loader.init_worker_process()
        signals.worker_process_init.send(sender=hostname)
        atexit.register(signals.worker_process_shutdown.send, sender=None, pid=os.getpid(), exitcode=0)
        signal.signal(SOFT, self._exceed_softly)

    def run(self, job: SandboxJob) -> dict[str, Any]:
        """Run a task; returns what its events contain."""
        request = request_of(_message(job.data["message"]), self._accept, self.hostname)
        task = self.app.tasks[request["task"]]
        self._runs = request[HOSTED] = InSandbox(self.bridge, job)
        tracer = compat.tracer_of(self.app, task, self.hostname)
        traced = tracer(request["id"], request["args"], request["kwargs"], request)
        fail_rejected(self.bridge, task, request, traced)
        return ended(traced)._asdict()

    def _exceed_softly(self, number: int, frame: FrameType | None) -> None:
        """The signal comes between two instructions of Python, or in the middle of a call that blocks."""
        if self._runs is not None and self._runs.is_called:
            raise SoftTimeLimitExceeded


class InSandbox:
    """One attempt: the place where ``celery.attempt.Attempt`` leaves its outcome. The worker renews its lease."""

    def __init__(self, bridge: Bridge, job: SandboxJob) -> None:
        record = bare_record(job.id, job.queue_name, job.name, State.ACTIVE)
        counted = {name: getattr(job, name) for name in ("attempts_made", "attempts_started", "failed_reason")}
        self.claim = Claim(job.data["token"], replace(record, **counted))
        self.is_called = False
        """Whether the task itself runs."""
        self._bridge = bridge

    def call(self, function: Callable[[], Any]) -> Any:
        self.is_called = True
        try:
            return function()
        finally:
            self.is_called = False

    def settle(self, job_id: str, step: Callable[[], Change], success: Completion | None) -> bool:
        return self._bridge.settle(job_id, self.claim.record.queue, step)

    def drop(self) -> None:
        """The worker sees to it."""


def _message(told: dict[str, Any]) -> OtherMessage:
    headers, properties = json.loads(told["head"])
    body: str | bytes = base64.b64decode(told["body"])
    if told["is_text"]:
        assert isinstance(body, bytes)
        body = body.decode()
    return OtherMessage(headers, properties, body, *told["content"])
