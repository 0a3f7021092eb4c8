"""A task that has raised ``Reject``: Celery's main process has it fail, not the tracer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import signals
from celery.app.task import Context, get_actual_ignore_result
from celery.states import REJECTED

from stratix_kombu.celery.task import HOSTED

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge


def fail_rejected(bridge: Bridge, task: Any, request: dict[str, Any], traced: Any) -> None:
    """Do that for a request, if the tracer has returned so and the task is not to run again."""
    einfo, info = traced[:2]
    if info is None or info.state != REJECTED or info.retval.requeue:
        return
    error, context = info.retval, Context(request)
    # The attempt of a job has stored it, and called the errbacks.
    stores = not get_actual_ignore_result(task, context) or task.store_errors_even_if_ignored
    backend = bridge.celery.backend
    backend.mark_as_failure(context.id, error, None, context, stores, call_errbacks=HOSTED not in request)
    about = {"task_id": context.id, "exception": error, "args": context.args, "kwargs": context.kwargs}
    signals.task_failure.send(sender=task, traceback=einfo.traceback, einfo=einfo, **about)
