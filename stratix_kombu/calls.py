"""Blocking calls for asyncio, in threads of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from stratix_kombu import forks

THREADS = 32
"""Calls of one application that are under way at a time; more of them wait for their turn."""

Result = TypeVar("Result")


class Calls:
    """Runs what ``aio`` offers. Not in the executor of the user's loop: what fills that one would delay every call.

    Its threads begin with its first call, and anew with the next one after ``close`` or a fork.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        forks.register(self)

    def after_fork(self) -> None:
        """The threads are the parent's. The pool is kept, since its end would speak to them."""
        if self._pool is not None:
            forks.keep(self._pool)
        self._pool, self._lock = None, threading.Lock()

    async def run(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """What ``function`` returns or raises. If the caller is cancelled, a call that has begun goes on."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "stratix-aio")
            future = self._pool.submit(function, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end with what they run. May be called by one of them."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


async def in_thread(function: Callable[..., Result], *args: Any) -> Result:
    """The same in a thread of its own, for what lasts long and must not wait for other calls."""
    calls = Calls(1)
    try:
        return await calls.run(function, *args)
    finally:
        calls.close()
