"""``async def`` tasks on the loop of our own worker: hundreds together, each with its own request.

Celery's tracer is a plain function, so it cannot wait for a coroutine. Here is what it does before the task, and the
task; then the tracer runs, with a task that returns or raises what the coroutine has returned or raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from celery import Task, signals
from celery.app.task import Context

from stratix_kombu.celery import compat
from stratix_kombu.celery.coroutines import OUTCOME
from stratix_kombu.celery.sandbox_options import is_sandboxed
from stratix_kombu.celery.stepwise import Stepwise
from stratix_kombu.celery.task import TrackedTask, attempt_of
from stratix_kombu.logs import InJob


def loop_tracers(app: Any, hostname: str) -> dict[str, Callable[..., Any]]:
    """By name: the tracers of the tasks whose coroutines run on the loop. Others need a thread: they say that they have
    started, which waits for the store, or have a ``__call__`` of their own, which may need their thread; or they run in
    sandboxes. To be called before any task runs."""
    tasks = [task for task in app.tasks.values() if getattr(task, "stratix_coroutine", None) and not task.track_started]
    tasks = [task for task in tasks if _calls_as_celery(task) and not is_sandboxed(task)]
    if not (tasks and compat.keep_requests_in_context(tasks)):
        return {}
    return {task.name: compat.tracer_of_ended(app, task, hostname) for task in tasks}


def _calls_as_celery(task: Any) -> bool:
    return next(one for one in type(task).__mro__ if "__call__" in vars(one) and one is not TrackedTask) is Task


class OnLoop:
    """One run of a coroutine."""

    def __init__(self, tracer: Callable[..., Any]) -> None:
        self._tracer = tracer
        self._began = 0.0
        self._task: Any = None
        self._context: Any = None
        self._outcome: tuple[Any, BaseException | None] = (None, None)
        self._steps: Stepwise | None = None

    async def run(self, task: Any, request: dict[str, Any], limits: Sequence[tuple[float, Callable[[], None]]]) -> None:
        """Run what comes before the task, and its coroutine. ``limits``: what is called after so many seconds."""
        self._began = time.monotonic()
        self._task = task
        self._context = Context(request, called_directly=False)
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(seconds, exceed) for seconds, exceed in limits]
        compat.push_request(task, self._context)
        try:
            self._begin()
            coroutine = task.stratix_coroutine(*self._context.args, **self._context.kwargs)
            self._steps = Stepwise(coroutine) if limits else None
            self._outcome = await self._within(self._steps or coroutine), None
        except BaseException as error:  # the tracer raises it again
            self._outcome = None, error
        finally:
            compat.pop_request(task)
            for timer in timers:
                timer.cancel()

    def _begin(self) -> None:
        """As the tracer does it."""
        task, context = self._task, self._context
        if signals.task_prerun.receivers:
            told = {"task": task, "args": context.args, "kwargs": context.kwargs}
            signals.task_prerun.send(sender=task, task_id=context.id, **told)
        task.app.loader.on_task_init(context.id, task)
        task.before_start(context.id, context.args, context.kwargs)

    async def _within(self, work: Awaitable[Any]) -> Any:
        attempt = attempt_of(self._context)
        assert attempt is not None
        with InJob(attempt.job_id, attempt.queue, self._task.name, self._context.retries + 1):
            return await work

    def interrupt(self, error: BaseException) -> None:
        """Have it raised where the coroutine waits."""
        if self._steps is not None:
            self._steps.interrupt(error)

    @property
    def is_plain(self) -> bool:
        """Whether it has succeeded, and nothing follows it: then the tracer waits for nothing."""
        context = self._context
        return self._outcome[1] is None and not (context.callbacks or context.chain)

    def trace(self) -> Any:
        """Run the tracer. Returns what it returns, or what it raises."""
        context = self._context
        # Without headers a Context would take for them what is not of Celery, such as the attempt.
        request = {**vars(context), "headers": context.headers or {}, OUTCOME: self._outcome}
        compat.began.set(self._began)
        try:
            return self._tracer(context.id, context.args, context.kwargs, request)
        except BaseException as error:  # of which a future would make something else
            return error
