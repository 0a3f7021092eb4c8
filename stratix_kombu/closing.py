"""The end of an application: one ``close`` closes every part, whatever one of them raises, and others wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

from stratix_kombu import forks
from stratix_kombu.calls import Awaited, is_awaited
from stratix_kombu.lifecycle.closing import GRACE_S


class Life(Enum):
    """The phase of its life that an application is in."""

    OPEN = "open"
    """It adds, reads and waits."""
    STARTED = "started"
    """It also runs jobs."""
    CLOSING = "closing"
    CLOSED = "closed"
    """It can be opened and started again."""


class Closing:
    """One close, by the thread that makes it. In a forked child it is over."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        """Seconds that each part may take."""
        self.ended = True
        """Whether all that was waited for had ended."""
        self._problems: list[BaseException] = []
        self._thread = threading.current_thread()
        self._over = threading.Event()
        forks.register(self)

    def after_fork(self) -> None:
        """The thread that made it may not exist here."""
        self._over = threading.Event()
        self._over.set()

    def part(self, close: Callable[[float], Any]) -> None:
        """Close a part, which takes the seconds that it may take; what it raises is raised by ``finish``. Ctrl-C
        interrupts it, and leaves no time to the others."""
        try:
            self.ended = close(self.limit) is not False and self.ended
        except BaseException as problem:
            self._problems.append(problem)
            self.ended = False
            if not isinstance(problem, Exception):
                self.limit = 0.0

    def hooks(self, run: Callable[[float], list[Exception]]) -> None:
        """Call hooks, which return what they have raised. They may call ``close`` again, and do not wait for it."""

        def in_turn(seconds: float) -> None:
            with Awaited():
                self._problems += run(seconds)

        self.part(in_turn)

    def finish(self) -> None:
        """All parts are closed: let those go on that wait for it."""
        self._over.set()

    def raise_problem(self) -> None:
        """Raise the first problem, if there was any."""
        if self._problems:
            raise self._problems[0]

    def answer(self, seconds: float) -> bool:
        """For another call: wait until it is over, so many seconds at most; return whether all had ended. Who is waited
        for by it (its thread, in a hook or a signal handler; a listener) is told at once that they have not."""
        if not self._over.is_set() and (self._thread is threading.current_thread() or is_awaited()):
            return False
        return self._over.wait(seconds + GRACE_S) and self.ended
