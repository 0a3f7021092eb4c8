"""``async def`` tasks: awaited where they run, in every pool and in our own worker."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from stratix_kombu.celery.compat import keep_requests_in_context
from stratix_kombu.celery.stepwise import Stepwise
from stratix_kombu.model.awaiting import (
    CANCEL_CHECK_S,
    CANCEL_S,
    awaited,
    finished,
    is_async,
    outcome_of,
    threads_are_greenlets,
)
from stratix_kombu.worker.coroutines import LoopExecutor

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

ATTEMPT = "stratix_attempt"
"""In a request: the attempt that it is, if its task is tracked."""
OUTCOME = "stratix_outcome"
"""In a request: what the coroutine has returned, and what it has raised, if it has run: see ``celery.on_loop``."""


def await_coroutines(bridge: Bridge, task: Any) -> None:
    """Have the function of an ``async def`` task awaited by its thread, on the one loop of the process, so that what a
    task keeps may belong to the loop, and what Celery puts around the function (``autoretry_for``) sees what it raises.
    It is cancelled when its job is to end. Called directly it is the function as it was written; called eagerly it has
    a loop of its own."""
    name = "_orig_run" if hasattr(task, "_orig_run") else "run"
    function = getattr(task, name)
    if not is_async(function):
        return
    is_shared = keep_requests_in_context([task])

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        request = task.request
        value, error = getattr(request, OUTCOME, (None, None))
        if error is not None:
            raise error
        if hasattr(request, OUTCOME):
            return value
        value = function(*args, **kwargs)
        if request.called_directly:
            return value
        attempt = getattr(request, ATTEMPT, None)
        is_asked = bridge.engine.cancellations.is_asked

        def is_to_end() -> bool:
            return attempt is not None and is_asked(attempt.token)

        loop = bridge.loop
        if not is_shared or request.is_eager or loop.is_here:
            return finished(awaited(value, is_to_end))
        if threads_are_greenlets():
            return bridge.native_loop.result(value, is_to_end)
        return Waiting(loop, value).result(is_to_end)

    setattr(task, name, run)
    task.stratix_coroutine = function


class Waiting:
    """A thread that waits for a coroutine on another thread's loop. What is raised in the thread meanwhile (a time
    limit, the end of the process) is raised in the coroutine, where it waits."""

    def __init__(self, loop: LoopExecutor, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._loop = loop
        self._steps = Stepwise(coroutine)
        self._deadline = float("inf")
        """When it is waited for no longer."""
        self._error = BaseException()
        """What was raised in the coroutine last."""

    def result(self, is_to_end: Callable[[], bool]) -> Any:
        """What the coroutine returns. It is cancelled once ``is_to_end`` says so, which is asked several times a
        second. Raises what it raises; and CancelledError, or what was raised here, if it does not end after that."""
        try:
            work = self._loop.begin(outcome_of(self._steps))
        except BaseException:  # which may have been raised in this thread once the coroutine had begun
            self._interrupt(asyncio.CancelledError())
            raise
        try:
            ended = SimpleQueue[Any]()
            work.add_done_callback(ended.put)
            while True:
                try:
                    has_ended = self._wait(work, ended, is_to_end)
                    break
                except BaseException as raised:
                    self._interrupt(raised)
            if not has_ended:
                raise self._error
        finally:
            work.cancel()
        if work.cancelled():  # the loop is stopped
            raise asyncio.CancelledError
        value, error = work.result()
        if error is not None:
            raise error
        return value

    def _wait(self, work: Future[Any], ended: SimpleQueue[Any], is_to_end: Callable[[], bool]) -> bool:
        """Whether it has ended before the deadline. Raises what another thread raises in this one: nowhere else is that
        long enough to be likely."""
        while not work.done():
            if time.monotonic() >= self._deadline:
                return False
            with suppress(Empty):
                ended.get(timeout=CANCEL_CHECK_S)
            if is_to_end() and self._deadline == float("inf"):
                self._interrupt(asyncio.CancelledError())
        return True

    def _interrupt(self, error: BaseException) -> None:
        """A task may go on after what is an Exception."""
        if not isinstance(error, Exception):
            self._deadline = time.monotonic() + CANCEL_S
        self._error = error
        self._loop.call(lambda: self._steps.interrupt(error))
