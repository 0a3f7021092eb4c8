"""Calling an application's hooks when it starts and closes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stratix_kombu.errors import WaitTimeout
from stratix_kombu.lifecycle.closing import GRACE_S
from stratix_kombu.model.awaiting import NotFinished

Function = Callable[[], Any]


class Finish(Protocol):
    """Awaits what a function has returned, if that is awaitable. Raises NotFinished after the given number of
    seconds."""

    def __call__(self, value: Any, seconds: float | None = None) -> Any: ...


def run_hooks(
    name: str, functions: Sequence[Function], finish: Finish, collect: bool = False, seconds: float | None = None
) -> list[Exception]:
    """Call the functions in order; return what they raised, if that is to be collected. Awaiting all of them together
    may take ``seconds`` and the grace of closing; then they are cancelled (WaitTimeout)."""
    deadline = None if seconds is None else time.monotonic() + seconds + GRACE_S
    problems: list[Exception] = []
    for function in functions:
        left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        try:
            _run(name, function, finish, left)
        except Exception as problem:
            if not collect:
                raise
            problems.append(problem)
    return problems


def _run(name: str, function: Function, finish: Finish, seconds: float | None) -> None:
    returned = function()
    try:
        finish(returned, seconds)
    except NotFinished as problem:
        called = getattr(function, "__qualname__", repr(function))
        raise WaitTimeout(f"the hook {called} ({name}) was cancelled: it has not finished", seconds or 0.0) from problem
