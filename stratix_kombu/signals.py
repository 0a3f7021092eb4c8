"""Signals of a program that stops gracefully, without a lock in the signal handler."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import ClassVar

from stratix_kombu import forks

STOPPING = (signal.SIGTERM, signal.SIGINT)
DOUBLED_S = 0.5
"""A signal this soon after the first one is the same signal, delivered twice (for example to a process and to its
group)."""
POLL_S = 0.5
"""Upper bound on how late a wait notices a signal that arrives just as it begins."""


class StopSignals:
    """Remembers the signals that ask the process to stop, while it is used as a context manager.

    The handler may interrupt itself, and any other code of the main thread, at any bytecode. So it takes no lock, logs
    nothing, and only sets attributes and writes a byte to a socket that does not block. Outside the main thread, where
    no handler can be installed, only ``wake`` ends a wait.

    ``again`` is called by the handler for a second signal, later than ``DOUBLED_S`` seconds after the first.
    """

    numbers: tuple[int, ...] = STOPPING
    """Those that are handled."""
    entered: ClassVar[StopSignals | None] = None
    """Those of this process, while its main thread uses some."""

    def __init__(self, again: Callable[[int], object] = lambda number: None) -> None:
        self.number = 0
        """The first signal that came; 0 = none."""
        self.again = 0
        """The latest one that came later than ``DOUBLED_S`` seconds after it; 0 = none."""
        self._on_again = again
        self._first = 0.0
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}
        self._wakes, self._woken = socket.socketpair()
        self._wakes.setblocking(False)
        forks.register(self)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            StopSignals.entered = self
            self._before = {number: signal.signal(number, self._on_signal) for number in self.numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.number:  # its duplicate may still arrive, and would trigger the default action
            time.sleep(max(self._first + DOUBLED_S - time.monotonic(), 0))
        self._end()

    def wait(self, timeout: float = POLL_S) -> None:
        """Return after ``timeout`` seconds, or sooner after a signal or ``wake``."""
        self._woken.settimeout(timeout)
        with suppress(TimeoutError):
            self._woken.recv(4096)

    def wake(self) -> None:
        """End a wait early; callable from any thread and from signal handlers."""
        with suppress(OSError):  # it is full, so the wait ends anyway; or closed
            self._wakes.send(b"\0")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self.number:
            self._first = time.monotonic()
            self.number = number
        elif time.monotonic() - self._first > DOUBLED_S:
            self.again = number
            self._on_again(number)
        self.wake()

    def after_fork(self) -> None:
        """A forked child (of multiprocessing, for example) ends by a signal as if there were no handler, and does not
        wake the parent."""
        self._end()

    def _end(self) -> None:
        if StopSignals.entered is self:
            StopSignals.entered = None
        before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not installed from Python
        self._wakes.close()
        self._woken.close()


@contextmanager
def stop_signals(again: Callable[[int], object]) -> Iterator[StopSignals]:
    """Those that this program handles already: more, perhaps, than ask it to stop; else new ones."""
    entered = StopSignals.entered
    if entered is not None and threading.current_thread() is threading.main_thread():
        yield entered
        return
    with StopSignals(again) as signals:
        yield signals
