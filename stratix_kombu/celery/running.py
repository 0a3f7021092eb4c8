"""The tasks that run in our own worker, for the commands of Celery's remote control: these look for the requests of
Celery's worker, and find these instead."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.app.task import Context
from celery.worker import state as worker_state
from celery.worker.control import Panel

from stratix_kombu.celery.hosted_attempt import TaskAttempt

if TYPE_CHECKING:
    from stratix_kombu.celery.program import TaskWorker
    from stratix_kombu.worker.attempt_log import Running
    from stratix_kombu.worker.worker import Worker

_COMMANDS = ("active", "dump_active", "query_task", "revoke", "terminate", "revoke_by_stamped_headers")


class RunningTask:
    """A request, as far as these commands look at one; or what has none here: a job of ``queue.process``, and a
    task that is no job, which nothing ends."""

    def __init__(self, worker: TaskWorker, job: Running, request: Context | None) -> None:
        self._worker = worker
        self._job = job
        self._request = request
        self.id: str = job.job_id if request is None else request.id
        stamps, stamped = (None, None) if request is None else (request.stamps, request.stamped_headers)
        self.stamps = {name: (stamps or {}).get(name) for name in stamped or ()}

    def info(self, safe: bool = False) -> dict[str, Any]:
        """As ``inspect`` describes it; with ``safe`` its arguments are text."""
        job, request = self._job, self._request or Context(args=[], kwargs={}, argsrepr="()", kwargsrepr="{}")
        info = {"exchange": "", "routing_key": job.queue, "priority": None, "redelivered": False}
        return {
            "id": self.id,
            "name": job.name,
            "args": request.argsrepr if safe else request.args,
            "kwargs": request.kwargsrepr if safe else request.kwargs,
            "type": job.name,
            "hostname": self._worker.hostname,
            "time_start": time.time() - (time.monotonic() - job.began),
            "acknowledged": True,
            "delivery_info": request.delivery_info or info,
            "worker_pid": os.getpid(),
        }

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """It is revoked at once, and ended in its thread. Its producer may have told the store already, if it has the
        bridge. To Celery the id of a job of ``queue.process`` is that of a permit."""
        request = self._request
        if request is not None:
            backend = self._worker.app.backend
            backend.mark_as_revoked(self.id, "terminated", request=request, store_result=not request.ignore_result)


def running_jobs(worker: TaskWorker) -> list[Running]:
    """All that run in this process: tasks, and jobs of ``queue.process``."""
    return [job for one in _workers(worker) for job in one.running]


def _running_tasks(worker: TaskWorker) -> list[RunningTask]:
    attempts = {attempt.claim.record.id: attempt for one in _workers(worker) for attempt in one.attempts}
    return [RunningTask(worker, job, _request_of(attempts.get(job.job_id))) for job in running_jobs(worker)]


def _workers(worker: TaskWorker) -> list[Worker]:
    return [one for one in (queue.local.worker for queue in worker.queues.values()) if one is not None]


def _request_of(attempt: Any) -> Context | None:
    return attempt.context() if isinstance(attempt, TaskAttempt) else None


def commands_of(worker: TaskWorker) -> Mapping[str, Callable[..., Any]]:
    """Celery's commands about tasks that run, for a worker of ours."""
    return {name: partial(_answer, worker, Panel.data[name]) for name in _COMMANDS}


def _answer(worker: TaskWorker, command: Callable[..., Any], state: Any, **arguments: Any) -> Any:
    """Celery forgets the requests as soon as nobody else holds them."""
    found = _running_tasks(worker)
    worker_state.requests.update({one.id: one for one in found})
    worker_state.active_requests.update(found)
    try:
        return command(state, **arguments)
    finally:
        for one in found:
            worker_state.requests.pop(one.id, None)
            worker_state.active_requests.discard(one)
