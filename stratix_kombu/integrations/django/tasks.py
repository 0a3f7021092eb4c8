"""A backend for Django's tasks; in the settings:

    TASKS = {"default": {"BACKEND": "stratix_kombu.integrations.django.tasks.StratixBackend"}}

For ``django.tasks`` of Django 6, and for the package ``django-tasks`` before that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from traceback import format_exception
from typing import Any

from django.core import checks
from django.utils import timezone as django_timezone
from django.utils.module_loading import import_string

from stratix_kombu.errors import ConfigurationError, JobNotFound, UnrecoverableError
from stratix_kombu.integrations.django import get_app
from stratix_kombu.integrations.django.versions import (
    BaseTaskBackend,
    Task,
    TaskContext,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    normalize_json,
    signals,
    task_backends,
)
from stratix_kombu.queue.job import Job
from stratix_kombu.queue.queue import Queue

__all__ = ["StratixBackend", "task_backends"]

KIND = "django.task"
"""Marks the data of a job that is a task."""
STATUS = {
    "active": TaskResultStatus.RUNNING,
    "completed": TaskResultStatus.SUCCESSFUL,
    "failed": TaskResultStatus.FAILED,
}
"""Of other states a task is READY."""
MAX_TRACEBACK = 16_000


class StratixBackend(BaseTaskBackend):
    """Tasks are jobs of the queue that the task names; the path of its function is the job's name.

    ``OPTIONS`` are options of each job, such as ``attempts`` and ``backoff``. Priorities from -100 to 100 become ten
    steps: four above 0, that of 0, and five below it.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def handle(self) -> None:
        """Run tasks of the queues of this backend in the workers of this project. Called once Django is ready."""
        for name in sorted(self.queues):
            self._queue(name)

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Add the job; see Django's documentation."""
        result, options = self._prepared(task, args, kwargs)
        job = self._queue(task.queue_name).add(task.module_path, _data_of(result), options)
        return self._enqueued(result, job)

    async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """The same for asyncio."""
        result, options = self._prepared(task, args, kwargs)
        job = await self._queue(task.queue_name).aio.add(task.module_path, _data_of(result), options)
        return self._enqueued(result, job)

    def get_result(self, result_id: str) -> Any:
        """The result of a task of this backend. Raises TaskResultDoesNotExist."""
        return self._found(result_id, get_app().queue.get_job(result_id) if _is_id(result_id) else None)

    async def aget_result(self, result_id: str) -> Any:
        """The same for asyncio."""
        job = await get_app().queue.aio.get_job(result_id) if _is_id(result_id) else None
        return self._found(result_id, job)

    def check(self, **_: Any) -> Iterator[checks.CheckMessage]:
        """What cannot work."""
        from django.apps import apps

        if not apps.is_installed("stratix_kombu.integrations.django"):
            yield checks.Error(
                f"TASKS[{self.alias!r}]: 'stratix_kombu.integrations.django' is not in INSTALLED_APPS, so no worker "
                "would run its tasks",
                id="stratix.E003",
            )
        if not self.queues:
            yield checks.Warning(
                f"TASKS[{self.alias!r}]: QUEUES names none, so a worker runs those that its modules have used only",
                id="stratix.W002",
            )
        try:
            get_app().queue.get_queue(next(iter(sorted(self.queues)), "default")).new_job("check", None, self.options)
        except ConfigurationError as problem:
            yield checks.Error(f"TASKS[{self.alias!r}]['OPTIONS']: {problem}", id="stratix.E004")

    # -- adding -----------------------------------------------------------------------------------

    def _queue(self, name: str) -> Queue:
        queue = get_app().queue.get_queue(name)
        if "*" not in queue.handler_names:
            queue.process(run_task)
        return queue

    def _prepared(self, task: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        self.validate_task(task)
        options = {**self.options, "priority": level_of(task.priority)}
        if task.run_after is not None:
            at: datetime = task.run_after
            options["run_at"] = at if at.tzinfo else django_timezone.make_aware(at)
        result = TaskResult(
            task=task,
            id="",
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        return result, options

    def _enqueued(self, result: Any, job: Job) -> Any:
        object.__setattr__(result, "id", job.id)
        object.__setattr__(result, "enqueued_at", _date(job.timestamp))
        signals.task_enqueued.send(type(self), task_result=result)
        return result

    def _found(self, result_id: str, job: Job | None) -> Any:
        if job is None or not _is_task(job) or job.data["backend"] != self.alias:
            raise TaskResultDoesNotExist(result_id)
        return result_of(job)


def level_of(priority: int) -> int:
    """The priority of a job, 0 (first) to 9, for one of Django's.

    >>> [level_of(one) for one in (100, 76, 75, 1, 0, -1, -20, -21, -100)]
    [0, 0, 1, 3, 4, 5, 5, 6, 9]
    """
    if priority > 0:
        return (100 - priority) // 25
    return 4 if priority == 0 else 5 + (-priority - 1) // 20


def run_task(job: Job) -> Any:
    """The handler of all tasks. Raises what the task raises."""
    if not _is_task(job):
        raise ConfigurationError(f"job {job.name!r} is not a Django task, and no other handler exists for it here")
    task_result = result_of(job)
    task = task_result.task
    signals.task_started.send(StratixBackend, task_result=task_result)
    try:
        before = [TaskContext(task_result=task_result)] if task.takes_context else []
        value = normalize_json(task.call(*before, *task_result.args, **task_result.kwargs))
    except BaseException as error:
        _note(job, task_result, error)
        if isinstance(error, UnrecoverableError) or job.attempts_made + 1 >= job.opts["attempts"]:
            _end(task_result, TaskResultStatus.FAILED)
        raise
    object.__setattr__(task_result, "_return_value", value)
    _end(task_result, TaskResultStatus.SUCCESSFUL)
    return value


def _end(task_result: Any, status: Any) -> None:
    object.__setattr__(task_result, "status", status)
    object.__setattr__(task_result, "finished_at", django_timezone.now())
    signals.task_finished.send(StratixBackend, task_result=task_result)


def _note(job: Job, task_result: Any, error: BaseException) -> None:
    """Keep with the job what only this process knows: the class of the error, and the workers that have run it so
    far."""
    trace = "".join(format_exception(type(error), error, error.__traceback__))[-MAX_TRACEBACK:]
    kept = {"class": f"{type(error).__module__}.{type(error).__qualname__}", "traceback": trace}
    started = task_result.started_at.timestamp() * 1000
    data = {**job.data, "errors": [*job.data["errors"], kept], "workers": task_result.worker_ids, "started": started}
    task_result.errors.append(TaskError(exception_class_path=kept["class"], traceback=trace))
    with suppress(JobNotFound):
        job.update_data(data)


def _data_of(result: Any) -> dict[str, Any]:
    task = result.task
    return {
        "kind": KIND,
        "task": task.module_path,
        "args": result.args,
        "kwargs": result.kwargs,
        "backend": result.backend,
        "priority": task.priority,
        "run_after": task.run_after.isoformat() if task.run_after else None,
        "errors": [],
        "workers": [],
        "started": 0,
    }


def result_of(job: Job) -> Any:
    """The result as the job is now."""
    data = job.data
    after = datetime.fromisoformat(data["run_after"]) if data["run_after"] else None
    task = import_string(data["task"])
    if not isinstance(task, Task):
        raise ConfigurationError(f"{data['task']} is no longer a Django task but {task!r}")
    workers = list(data["workers"])
    if len(workers) < job.attempts_started and job.worker:
        workers.append(job.worker)
    errors = [TaskError(exception_class_path=one["class"], traceback=one["traceback"]) for one in data["errors"]]
    if job.state == "failed" and len(errors) < job.attempts_made:  # it timed out, for example, or its worker was lost
        reason = job.failed_reason or ""
        errors.append(TaskError(exception_class_path="stratix_kombu.errors.JobFailed", traceback=reason))
    result = TaskResult(
        task=task.using(priority=data["priority"], queue_name=job.queue_name, run_after=after, backend=data["backend"]),
        id=job.id,
        status=STATUS.get(job.state, TaskResultStatus.READY),
        enqueued_at=_date(job.timestamp),
        started_at=_date(data["started"] or job.processed_on),
        finished_at=_date(job.finished_on),
        last_attempted_at=_date(job.processed_on),
        args=data["args"],
        kwargs=data["kwargs"],
        backend=data["backend"],
        errors=errors,
        worker_ids=workers,
    )
    if job.state == "completed":
        object.__setattr__(result, "_return_value", job.return_value)
    return result


def _is_task(job: Job) -> bool:
    return isinstance(job.data, dict) and job.data.get("kind") == KIND


def _is_id(result_id: object) -> bool:
    return isinstance(result_id, str) and bool(result_id)


def _date(ms: float | None) -> datetime | None:
    if not ms:
        return None
    at = datetime.fromtimestamp(ms / 1000, timezone.utc)
    from django.conf import settings

    return at if settings.USE_TZ else django_timezone.make_naive(at)
