"""A coroutine that can be interrupted by any error."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Generator
from typing import Any


class Stepwise:
    """A coroutine in which an error can be raised where it waits: a plain ``cancel`` would be another one."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._error: BaseException | None = None
        self._runs_in: asyncio.Task[Any] | None = None

    def interrupt(self, error: BaseException) -> None:
        """Have it raised in the coroutine, where it waits, or at its start. Called on its loop."""
        self._error = error
        if self._runs_in is not None:
            self._runs_in.cancel()

    def __await__(self) -> Generator[Any, Any, Any]:
        self._runs_in = asyncio.current_task()
        coroutine, error = self._coroutine, self._error
        self._error = None
        while True:
            try:
                waits = coroutine.send(None) if error is None else coroutine.throw(error)
            except StopIteration as end:
                return end.value
            error = None
            try:
                yield waits
            except BaseException as problem:
                error = self._instead_of(problem)

    def _instead_of(self, problem: BaseException) -> BaseException:
        error, self._error = self._error, None
        if error is None or not isinstance(problem, asyncio.CancelledError):
            return problem
        if self._runs_in is not None and sys.version_info >= (3, 11):
            self._runs_in.uncancel()
        return error
