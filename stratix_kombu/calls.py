"""Blocking calls for asyncio, in threads of their own; and from which thread a call comes that may not wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar, Token, copy_context
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from stratix_kombu import forks

THREADS = 32
"""The most calls of one application that run at the same time; further ones wait for their turn."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Calls:
    """Runs the calls of ``aio``. Not in the executor of the user's loop: other code that fills that would delay every
    call. Its threads start with the first call, and again with the next one after ``close`` or a fork."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        forks.register(self)

    def after_fork(self) -> None:
        """The threads belong to the parent, and so do the calls of its loops. The pool is kept alive, since its
        destructor would signal them."""
        if self._pool is not None:
            forks.keep(self._pool)
        self._pool, self._lock = None, threading.Lock()
        for line in self._lines.values():
            line.waiting.clear()
        self._lines = WeakKeyDictionary()

    async def run(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """What ``function`` returns or raises, called in the context of the caller. If the caller is cancelled, a call
        that has begun is not interrupted."""
        return await asyncio.wrap_future(self._submit(copy_context().run, function, *args, **kwargs))

    async def together(
        self, function: Callable[[Sequence[Item]], Sequence[Result | BaseException]], item: Item
    ) -> Result:
        """What ``function`` returns for this item. It is called with all items that tasks of this event loop pass in
        one turn, in their order, and returns for each of them, in that order, a result or the exception to raise in its
        task. A loop has one call in progress at a time: items that arrive meanwhile go with the next one. An item whose
        task was cancelled before is left out. All calls of one application name the same function."""
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line()
        future: asyncio.Future[Result] = loop.create_future()
        line.waiting.append((item, future))
        if not line.busy:
            line.busy = True
            loop.call_soon(self._begin, loop, line, function)
        return await future

    def _begin(self, loop: asyncio.AbstractEventLoop, line: _Line, function: Callable[..., Any]) -> None:
        """Have a thread take the waiting items; called on the loop, at the end of the turn in which they arrived."""
        going = [call for call in line.waiting if not call[1].done()]
        line.waiting.clear()
        if not going:
            line.busy = False
            return

        def work() -> None:
            try:
                answers = function([item for item, _ in going])
            except BaseException as problem:
                answers = [problem] * len(going)
            with suppress(RuntimeError):  # the loop was closed: nothing waits there any more
                loop.call_soon_threadsafe(end, answers)

        def end(answers: Sequence[Any]) -> None:
            for (_, future), answer in zip(going, answers, strict=True):
                _set_answer(future, answer)
            # Not at once: tasks that resume now may have more to add.
            loop.call_soon(self._begin, loop, line, function)

        try:
            self._submit(work)
        except RuntimeError as problem:  # the interpreter is shutting down
            end([problem] * len(going))

    def _submit(self, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Future[Result]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, "stratix-aio")
            return self._pool.submit(_on_behalf_of, asyncio.get_running_loop(), function, *args, **kwargs)

    def close(self) -> None:
        """Let the threads end after their current calls. May be called by one of them."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


_callers = threading.local()


def _on_behalf_of(
    loop: asyncio.AbstractEventLoop, function: Callable[..., Result], *args: Any, **kwargs: Any
) -> Result:
    _callers.loop = loop
    try:
        return function(*args, **kwargs)
    finally:
        del _callers.loop


def calling_loop() -> asyncio.AbstractEventLoop | None:
    """The loop whose coroutines wait for the call that this thread makes for them; None elsewhere."""
    return getattr(_callers, "loop", None)


_awaited: ContextVar[threading.Thread | None] = ContextVar("stratix_kombu_awaited", default=None)


class Awaited:
    """Within this context, closing would wait for this thread: it calls a listener, a schedule or a hook. Calls that
    these pass on to other threads, as ``aio`` does, are within it too."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token: Token[threading.Thread | None] = _awaited.set(threading.current_thread())

    def __exit__(self, *_: object) -> None:
        _awaited.reset(self._token)


def is_awaited() -> bool:
    """Whether this is called by what closing would wait for."""
    return _awaited.get() is not None


def is_caller(thread: threading.Thread) -> bool:
    """Whether this is called from that thread, itself or passed on by it: then it must not be waited for."""
    return thread in (threading.current_thread(), _awaited.get())


class _Line:
    """The items that tasks of one loop have passed to ``together``. Used by the loop's thread only."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self.busy = False
        """A call is in progress, or about to be made."""


def _set_answer(future: asyncio.Future[Any], answer: object) -> None:
    if future.done():  # its task was cancelled
        return
    if isinstance(answer, StopIteration):
        future.set_exception(RuntimeError(f"raised {answer!r}"))  # a future takes no StopIteration
    elif isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


async def in_thread(function: Callable[..., Result], *args: Any) -> Result:
    """The same in a thread of its own, for calls that take long and must not wait for others."""
    calls = Calls(1)
    try:
        return await calls.run(function, *args)
    finally:
        calls.close()
