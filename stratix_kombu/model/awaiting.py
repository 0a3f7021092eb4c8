"""What users' functions return to be awaited, and what is no coroutine and is awaited all the same.

Whatever a function of the user's returns to be awaited (hooks, listeners, schedules, back-offs, filters, methods of
drivers of one's own) is awaited, on a loop that stays where there is one, else on a loop of its own. Where that cannot
be, an ``async def`` function is refused by name when it is given. Nothing is dropped.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from stratix_kombu.errors import ConfigurationError

CANCEL_CHECK_S = 0.25
"""How often is looked whether it is to end."""
CANCEL_S = 1.0
"""How long what was cancelled may take to end."""


class NotAwaitable:
    """Return values of the plain methods. A caller that awaits one meant ``aio``; the call has already been made."""

    __slots__ = ()
    _meant: ClassVar[str] = ""
    """What to write; ends the message."""

    if not TYPE_CHECKING:  # a type checker refuses the await itself

        def __await__(self) -> NoReturn:
            raise TypeError(
                f"a {type(self).__name__} cannot be awaited, and the call has already been made: {self._meant}"
            )


def is_awaitable(value: Any) -> bool:
    """Whether a function of the user's has returned something to be awaited. Raises TypeError for a generator that is
    async: nobody goes through it."""
    if inspect.isasyncgen(value):
        raise TypeError(f"{value.__qualname__} is `async def` with `yield`: write `return`, or nothing of it runs")
    return inspect.isawaitable(value) and not isinstance(value, NotAwaitable)


def is_async(function: object) -> bool:
    """Whether it is ``async def``, or an object whose ``__call__`` is."""
    called = getattr(function, "__call__", None)  # noqa: B004  # objects with an async __call__ are async too
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def check_plain(function: Any, what: str) -> None:
    """Raise ConfigurationError for an ``async def`` function where nothing could await it."""
    if is_async(function):
        raise ConfigurationError(f"{what} must be a plain function: it is `async def`, and nothing can await it there")


async def outcome_of(value: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """Its result, or what it raised: a loop would end with what is no Exception."""
    try:
        return await value, None
    except BaseException as error:
        return None, error


async def awaited(value: Awaitable[Any], is_to_end: Callable[[], bool]) -> Any:
    """Its result; it is cancelled once ``is_to_end`` says so, which is asked several times a second. Raises what it
    raises, and CancelledError."""
    work = asyncio.ensure_future(outcome_of(value))
    while not (await asyncio.wait({work}, timeout=CANCEL_CHECK_S))[0]:
        if is_to_end():
            work.cancel()
            await asyncio.wait({work}, timeout=CANCEL_S)
            break
    if not work.done() or work.cancelled():
        raise asyncio.CancelledError
    result, error = work.result()
    if error is not None:
        raise error
    return result


class NotFinished(Exception):
    """It took too long and was cancelled. What it raised by itself, a TimeoutError say, is another matter."""


async def _within(value: Awaitable[Any], seconds: float | None) -> tuple[Any, BaseException | None]:
    work = asyncio.ensure_future(outcome_of(value))
    if (await asyncio.wait({work}, timeout=seconds))[0]:
        return work.result()
    work.cancel()
    await asyncio.wait({work}, timeout=CANCEL_S)
    return None, NotFinished()


def finished(value: Any, seconds: float | None = None) -> Any:
    """What a function of the user's has returned; if it is to be awaited, what comes of that, on a loop of its own.
    Raises what it raises, and NotFinished, with it cancelled, after so many seconds."""
    if not is_awaitable(value):
        return value
    result, error = _run(_within(value, seconds))
    if error is not None:
        raise error
    return result


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    if gevent := _gevent():
        # All greenlets of a thread would have one loop running in it, and so none of them another one: see gevent's
        # threadpool, whose threads are real ones, each with a hub of its own.
        return gevent.get_hub().threadpool.apply(copy_context().run, (asyncio.run, work))
    if not _has_loop():
        return asyncio.run(work)
    with ThreadPoolExecutor(1, "stratix-await") as thread:
        return thread.submit(copy_context().run, asyncio.run, work).result()


def threads_are_greenlets() -> bool:
    """Whether gevent has made them so in this process: then they have one asyncio loop at a time, all together."""
    return _gevent() is not None


def _gevent() -> Any:
    """The package, if threads are greenlets in this process."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return sys.modules["gevent"] if monkey and monkey.is_module_patched("threading") else None


def _has_loop() -> bool:
    """Whether a loop runs in this thread already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of the user's, plain or ``async def``: see ``finished``."""
    return finished(function(*arguments))
