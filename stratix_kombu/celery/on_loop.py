"""``async def`` tasks on the loop of our own worker: hundreds together, each with its own request.

Celery's tracer is a plain function, so it cannot wait for a coroutine. Here is what it does before the task, and the
task; then the tracer runs, with a task that returns or raises what the coroutine has returned or raised."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import ContextVar
from typing import Any

from celery import Task, signals
from celery.app.task import Context

from stratix_kombu.celery import compat
from stratix_kombu.celery.coroutines import OUTCOME
from stratix_kombu.celery.task import TrackedTask, attempt_of
from stratix_kombu.logs import InJob

_current: ContextVar[tuple[Any, Context] | None] = ContextVar("stratix_task", default=None)
"""The task and the request that this asyncio task, and those it starts, are about."""


def loop_tracers(app: Any, hostname: str) -> dict[str, Callable[..., Any]]:
    """By name: the tracers of the tasks whose coroutines run on the loop. Others need a thread: they say that they have
    started, which waits for the store, or have a ``__call__`` of their own, which may need their thread. To be called
    before any task runs."""
    tasks = [task for task in app.tasks.values() if getattr(task, "stratix_coroutine", None) and not task.track_started]
    return {task.name: compat.tracer_of_ended(app, task, hostname) for task in tasks if _calls_as_celery(task)}


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
        try:
            coroutine = self._begin()
            self._outcome = await self._await(coroutine), None
        except BaseException as error:  # the tracer raises it again
            self._outcome = None, error
        finally:
            for timer in timers:
                timer.cancel()

    def _begin(self) -> Coroutine[Any, Any, Any]:
        """As the tracer does it."""
        task, context = self._task, self._context
        compat.push_request(task, context)
        try:
            if signals.task_prerun.receivers:
                told = {"task": task, "args": context.args, "kwargs": context.kwargs}
                signals.task_prerun.send(sender=task, task_id=context.id, **told)
            task.app.loader.on_task_init(context.id, task)
            task.before_start(context.id, context.args, context.kwargs)
            coroutine: Coroutine[Any, Any, Any] = task.stratix_coroutine(*context.args, **context.kwargs)
            return coroutine
        finally:
            compat.pop_request(task)

    async def _await(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        loop = asyncio.get_running_loop()
        if loop.get_task_factory() is None:
            loop.set_task_factory(_with_request)
        _current.set((self._task, self._context))
        attempt = attempt_of(self._context)
        assert attempt is not None
        self._steps = Stepwise(coroutine, self._task, self._context)
        with InJob(attempt.job_id, attempt.queue, self._task.name, self._context.retries + 1):
            return await self._steps

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
        request = {**vars(context), OUTCOME: self._outcome}
        compat.began.set(self._began)
        try:
            return self._tracer(context.id, context.args, context.kwargs, request)
        except BaseException as error:  # of which a future would make something else
            return error


class Stepwise:
    """A coroutine during whose steps the request of its task is in place: others run between them."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], task: Any, context: Context) -> None:
        self._coroutine = coroutine
        self._task = task
        self._context = context
        self._error: BaseException | None = None
        self._runs_in: asyncio.Task[Any] | None = None

    def interrupt(self, error: BaseException) -> None:
        """Have it raised in the coroutine, where it waits."""
        self._error = error
        if self._runs_in is not None:
            self._runs_in.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        self._runs_in = asyncio.current_task()
        coroutine, error = self._coroutine, None
        while True:
            compat.push_request(self._task, self._context)
            try:
                waits = coroutine.send(None) if error is None else coroutine.throw(error)
            except StopIteration as end:
                return end.value
            finally:
                compat.pop_request(self._task)
            error = None
            try:
                yield waits
            except BaseException as problem:
                error = self._instead_of(problem)

    def _instead_of(self, problem: BaseException) -> BaseException:
        error, self._error = self._error, None
        if error is None or not isinstance(problem, asyncio.CancelledError):
            return problem
        if self._runs_in is not None and sys.version_info >= (3, 11):
            self._runs_in.uncancel()
        return error


def _with_request(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """Makes the tasks of the loop: those that a task of Celery starts have its request, too."""
    current = _current.get()
    if current is None:
        return asyncio.Task(work, loop=loop, **options)
    return asyncio.Task(_stepping(Stepwise(work, *current)), loop=loop, **options)


async def _stepping(steps: Stepwise) -> Any:
    return await steps
