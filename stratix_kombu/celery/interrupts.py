"""Ends a task that runs on a thread: an exception is raised in it, as Celery raises one in a process by a signal.

It comes with the next instruction of Python there. A call that blocks in C (``time.sleep``, a socket) is not
interrupted: the exception comes when it returns. Where a task must end in any case, it needs a process of its own.

Python loses what is raised while a finalizer (``__del__``) or a callback of garbage collection runs: it writes
"Exception ignored". A soft time limit is then not heard of; what is to end a task is raised again.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc


RAISING_S = 1.0
"""Much longer than it takes to raise; in a forked child, nobody is there who does."""


AGAIN_S = 5.0
"""How long a task may tidy up until it is raised again."""


class TaskTerminated(BaseException):
    """Its job has been revoked, or has exceeded its hard time limit. No ``Exception``: the task is not to handle it,
    and no retry is to follow."""


class _Nothing(BaseException):
    """Raised by a thread in itself."""


def _settle() -> None:
    """CPython goes on looking for an exception that was taken back, until one is raised: in 3.11 a thread that a
    debugger or a coverage tool traces would then begin each function for ever."""
    with suppress(_Nothing):
        _raise_in(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(_Nothing))
        while True:
            time.sleep(0)


class Interruptible:
    """One call on a thread. An exception is raised in nothing but that call: not in what the thread does later."""

    __slots__ = ("_lock", "_over", "_raising", "_thread")

    def __init__(self) -> None:
        self._thread = 0
        self._over = False
        self._raising = 0
        """1 while another thread may be about to raise."""
        self._lock = threading.Lock()
        """Between those who interrupt. The call itself takes no lock: it might be interrupted while it holds it."""

    def run(self, call: Callable[[], Any]) -> Any:
        """Return what it returns. Raises what it raises, and what was raised in it."""
        self._thread = threading.get_ident()
        value, error = None, None
        try:
            value = call()
        except BaseException as problem:
            error = problem
        while True:
            try:
                self.end()
                break
            except BaseException as late:  # raised while it ended
                error = late
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """From now on nothing is raised; what was to be raised and has not been yet is forgotten. Each of these steps
        can be interrupted, and made again. To be called once more where the thread goes on to other work: an exception
        may come between any two instructions of ``run``."""
        self._over = True
        deadline = time.monotonic() + RAISING_S
        while self._raising == 1 and time.monotonic() < deadline:
            time.sleep(0)
        if self._raising:
            _raise_in(ctypes.c_ulong(self._thread), None)
            _settle()

    def terminate(self) -> None:
        """Have TaskTerminated raised in the call, and again now and then until that has ended: it may be lost, or the
        task may go on all the same. Called by another thread."""
        self.interrupt(TaskTerminated)
        with suppress(RuntimeError):  # the system has no thread left
            threading.Thread(target=self._insist, name="stratix-terminate", daemon=True).start()

    def _insist(self) -> None:
        time.sleep(AGAIN_S)
        while self._thread and not self._over:
            self.interrupt(TaskTerminated)
            time.sleep(AGAIN_S)

    def interrupt(self, error: type[BaseException]) -> None:
        """Have it raised in the call, if that runs. Called by another thread."""
        with self._lock:
            self._raising = 1
            if self._thread and not self._over:
                _raise_in(ctypes.c_ulong(self._thread), ctypes.py_object(error))
            self._raising = 2
