"""Calling the functions of the user's that an application has for its start and its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stratix_kombu.errors import WaitTimeout

Function = Callable[[], Any]


class Finish(Protocol):
    """Awaits what a function has returned, if it is to be. Raises TimeoutError."""

    def __call__(self, value: Any, seconds: float | None = None) -> Any: ...


def run_hooks(
    name: str, functions: Sequence[Function], finish: Finish, collect: bool = False, seconds: float | None = None
) -> list[Exception]:
    """Call the functions in order; what they raised, if that is to be collected. What is awaited of all of them
    together may take ``seconds``; then it is cancelled, which is a WaitTimeout."""
    deadline = None if seconds is None else time.monotonic() + seconds
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
    except TimeoutError as problem:
        if seconds is None:
            raise
        called = getattr(function, "__qualname__", repr(function))
        raise WaitTimeout(f"the hook {called} ({name}) has not ended and was cancelled", seconds) from problem
