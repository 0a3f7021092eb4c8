"""Functions of the user's around each add, take and run: each gives a context, within which the step is done."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from stratix_kombu.model.awaiting import finished

Step = TypeVar("Step")
Function = Callable[[Any], Any]
Steps = ("add", "take", "run", "sandbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHead:
    """What middleware around add and take gets of a job."""

    id: str
    name: str
    queue_name: str
    headers: dict[str, str]
    """Texts by name that travel with the job, beside its data. Middleware around add may put some in."""
    attempts_made: int = 0
    """Attempts that have ended."""


@dataclass(slots=True, kw_only=True)
class Taking:
    """What middleware around take gets: before, how many jobs are asked for, and after, which have come."""

    queue_name: str
    want: int
    jobs: Sequence[JobHead] = field(default=())


class Middleware:
    """The functions of one application, in the order they were registered: the first is the outermost."""

    __slots__ = ("add", "run", "sandbox", "take")

    def __init__(self) -> None:
        self.add: tuple[Function, ...] = ()
        self.take: tuple[Function, ...] = ()
        self.run: tuple[Function, ...] = ()
        self.sandbox: tuple[Any, ...] = ()
        """Where a child finds them."""

    def register(self, step: str, function: Any) -> None:
        """Put ``function`` within those that are there; ``step`` is one of ``Steps``."""
        setattr(self, step, (*getattr(self, step), function))


def as_context(function: Callable[..., Any]) -> Function:
    """A generator that yields once is made one that gives a context; any other function gives one already."""
    called = getattr(function, "__call__", None)  # noqa: B004  # an object whose __call__ is a generator
    if inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(called):
        plain: Callable[[Any], Iterator[None]] = function
        return contextmanager(plain)
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(called):
        coloured: Callable[[Any], AsyncIterator[None]] = function
        return asynccontextmanager(coloured)
    return function


def within(functions: Sequence[Function], subject: Any, step: Callable[[], Step]) -> Step | None:
    """What ``step`` returns, done within the contexts; None if one of them swallows what it raises. An async context
    is entered and left on a loop of this thread's."""
    if not functions:
        return step()
    context = functions[0](subject)
    if hasattr(type(context), "__enter__"):
        with context:
            return within(functions[1:], subject, step)
        return None

    async def stepped() -> Step:
        return step()

    answer: Step | None = finished(_within_one(context, functions[1:], subject, stepped))
    return answer


async def within_async(functions: Sequence[Function], subject: Any, step: Callable[[], Awaitable[Step]]) -> Step | None:
    """The same for what is awaited. A context of both kinds is entered as an async one."""
    if not functions:
        return await step()
    context = functions[0](subject)
    if hasattr(type(context), "__aenter__"):
        return await _within_one(context, functions[1:], subject, step)
    with context:
        return await within_async(functions[1:], subject, step)
    return None


async def _within_one(
    context: Any, functions: Sequence[Function], subject: Any, step: Callable[[], Awaitable[Step]]
) -> Step | None:
    async with context:
        return await within_async(functions, subject, step)
    return None


_OURS = frozenset(
    {
        "contextlib",
        "stratix_kombu.model.awaiting",
        "stratix_kombu.model.middleware",
        "stratix_kombu.worker.attempt",
        "stratix_kombu.worker.sandbox.child",
    }
)
"""Modules between our call of a handler and the handler."""


def from_the_handler(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames before the user's code: our call, and the middleware that surrounds it."""
    first = trace
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module not in _OURS and module.partition(".")[0] != "asyncio":
            return trace
        trace = trace.tb_next
    return first and first.tb_next
