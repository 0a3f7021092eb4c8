"""``async def`` tasks where threads are greenlets (``celery worker -P gevent``): on one loop, in a real thread.

A loop in a greenlet would be the running loop of all of them, and so ``asyncio.run`` in another one would be refused.
Greenlets wait for it by gevent's own means, which another thread may use to wake them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from importlib import import_module
from typing import Any

from stratix_kombu import forks
from stratix_kombu.celery.stepwise import Stepwise
from stratix_kombu.model.awaiting import CANCEL_CHECK_S, CANCEL_S, outcome_of


class NativeLoop:
    """One for each process, started with its first coroutine."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        """The loop itself keeps only weak references."""
        forks.register(self)

    def after_fork(self) -> None:
        """The loop is the parent's, and kept as it is: see ``LoopExecutor.after_fork``."""
        if self._loop is not None:
            forks.keep((self._loop, self._tasks))
        self._loop, self._lock, self._tasks = None, threading.Lock(), set()

    def result(self, coroutine: Coroutine[Any, Any, Any], is_to_end: Callable[[], bool]) -> Any:
        """What the coroutine returns; other greenlets run meanwhile. It is cancelled once ``is_to_end`` says so, which
        is asked several times a second, and when this greenlet is to end. Raises what it raises."""
        loop, steps, outcomes = self._running(), Stepwise(coroutine), list[tuple[Any, BaseException | None]]()
        ended = import_module("gevent.event").Event()
        wakes = import_module("gevent").get_hub().loop.async_()
        wakes.start(ended.set)

        async def run() -> None:
            outcomes.append(await outcome_of(steps))
            wakes.send()

        def begin() -> None:
            task = loop.create_task(run())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        deadline = float("inf")
        try:
            loop.call_soon_threadsafe(begin, context=copy_context())
            while not ended.wait(CANCEL_CHECK_S):
                if time.monotonic() > deadline:
                    raise asyncio.CancelledError
                if is_to_end() and deadline == float("inf"):
                    deadline = time.monotonic() + CANCEL_S
                    loop.call_soon_threadsafe(steps.interrupt, asyncio.CancelledError())
        except BaseException:
            loop.call_soon_threadsafe(steps.interrupt, asyncio.CancelledError())
            raise
        finally:
            wakes.stop()
        value, error = outcomes[0]
        if error is not None:
            raise error
        return value

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                thread = import_module("gevent.threadpool").ThreadPool(1)
                self._loop = loop = thread.apply(asyncio.new_event_loop)  # what it opens belongs to its thread
                thread.spawn(_run, loop)
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
