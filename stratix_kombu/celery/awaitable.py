"""``adelay``, ``aapply_async`` and ``aget``: what sends tasks and waits for results, for asyncio. The loop is never
blocked: calls run in threads, and waiting occupies none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from celery.app.task import Task
from celery.canvas import Signature
from celery.exceptions import TimeoutError as ResultTimeout
from celery.result import AsyncResult, ResultSet

from stratix_kombu.celery import compat
from stratix_kombu.celery.bridge import bridge_of
from stratix_kombu.celery.news import LOOK_AGAIN_S, UNKNOWN_POLL_MAX_S, UNKNOWN_POLL_S
from stratix_kombu.errors import ConfigurationError
from stratix_kombu.model.names import task_job_id


def make_awaitable() -> None:
    """Give Celery's tasks, signatures and results these methods; once a process."""
    for sender in (Task, Signature):
        sender.aapply_async, sender.adelay = aapply_async, adelay
    AsyncResult.aget, ResultSet.aget = aget, aget_all


async def aapply_async(self: Any, *args: Any, **options: Any) -> Any:
    """``apply_async``, awaited: a task or signature is sent, and its result returned. In an ``async def`` task it is
    the child of that task. Raises what ``apply_async`` raises."""
    return await _in_thread(self.app, partial(self.apply_async, *args, **options))


async def adelay(self: Any, *args: Any, **kwargs: Any) -> Any:
    """``delay``, awaited: see ``aapply_async``."""
    return await _in_thread(self.app, partial(self.delay, *args, **kwargs))


async def aget(self: Any, timeout: float | None = None, propagate: bool = True) -> Any:
    """``get``, awaited: the task's return value. Raises what the task has raised, unless ``propagate`` is false, and
    Celery's TimeoutError after ``timeout`` seconds. A task may await the results of others, as long as these find a
    free slot meanwhile."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = UNKNOWN_POLL_S
    while not await _in_thread(self.app, self.ready):
        left = LOOK_AGAIN_S if deadline is None else min(deadline - time.monotonic(), LOOK_AGAIN_S)
        if left <= 0:
            raise ResultTimeout("The operation timed out.")
        pause = await _news(self, left, pause)
    return await _in_thread(self.app, partial(self.get, propagate=propagate, disable_sync_subtasks=False))


async def aget_all(self: Any, timeout: float | None = None, propagate: bool = True) -> list[Any]:
    """The same for each result of a group, in their order."""
    return list(await asyncio.gather(*(one.aget(timeout, propagate) for one in self.results)))


async def _news(result: Any, seconds: float, pause: float) -> float:
    """Return when the task may have ended, at the latest after so many seconds; returns how long to pause the next time
    while it is not known."""
    backend, job_id = result.backend, task_job_id(result.id)
    (record,) = await _in_thread(result.app, partial(backend.bridge.engine.store.queries.get, [job_id]))
    if record is None or record.state.finished:
        await asyncio.sleep(min(pause, seconds))
        return min(pause * 1.5, UNKNOWN_POLL_MAX_S)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def resolve(_: Any) -> None:
        with suppress(RuntimeError):  # the loop was closed
            loop.call_soon_threadsafe(ended.set)

    hub = backend.hub(record.queue)
    try:
        await _in_thread(result.app, partial(hub.subscribe, job_id, resolve))
        await asyncio.wait_for(ended.wait(), seconds)
    except asyncio.TimeoutError:
        return pause
    finally:
        hub.unsubscribe(job_id, resolve)
    return UNKNOWN_POLL_S


async def _in_thread(app: Any, call: Callable[[], Any]) -> Any:
    """Raises ConfigurationError for an application without the bridge."""
    bridge = bridge_of(app)
    if bridge is None:
        raise ConfigurationError(f"{app!r} does not have the bridge, which makes the awaited calls")
    return await bridge.engine.calls.run(compat.within_the_task_of_this_thread(call))
