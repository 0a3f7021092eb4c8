"""``async def`` tasks: awaited where they run, in every pool and in our own worker."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from stratix_kombu.model.awaiting import awaited, finished, is_async

if TYPE_CHECKING:
    from stratix_kombu.celery.bridge import Bridge

ATTEMPT = "stratix_attempt"
"""In a request: the attempt that it is, if its task is tracked."""
OUTCOME = "stratix_outcome"
"""In a request: what the coroutine has returned, and what it has raised, if it has run: see ``celery.on_loop``."""


def await_coroutines(bridge: Bridge, task: Any) -> None:
    """Have the function of an ``async def`` task awaited, on a loop of its thread, so that the request is that of the
    task, and what Celery puts around the function (``autoretry_for``) sees what it raises. It is cancelled when its job
    is to end. Called directly it is the function as it was written."""
    name = "_orig_run" if hasattr(task, "_orig_run") else "run"
    function = getattr(task, name)
    if not is_async(function):
        return

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
        is_to_end = bridge.engine.cancellations.is_asked
        return finished(awaited(value, lambda: attempt is not None and is_to_end(attempt.token)))

    setattr(task, name, run)
    task.stratix_coroutine = function
