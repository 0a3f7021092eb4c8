"""The signals that a worker answers besides SIGTERM and SIGINT, each as Celery's worker does."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from stratix_kombu.cli.logs import say
from stratix_kombu.signals import STOPPING, StopSignals

HANGUP, QUIT, STACKS = (int(getattr(signal, name, 0)) for name in ("SIGHUP", "SIGQUIT", "SIGUSR1"))
"""0 on Windows, which has none of them."""
REMAP = "REMAP_SIGTERM"
"""The variable of Celery's that has SIGTERM stand for SIGQUIT if that is its value."""


class WorkerSignals(StopSignals):
    """SIGHUP: stop, and start again with the code that is there then. SIGQUIT, also when it has begun to stop: wait for
    nothing that runs. SIGUSR1: tell what is being executed, and go on.

    ``cold`` is called for SIGQUIT, and ``stacks`` for SIGUSR1, on threads of their own, which may take locks. A
    ``supervised`` process is told by its supervisor what SIGTERM stands for.
    """

    numbers = tuple(number for number in (*STOPPING, HANGUP, QUIT, STACKS) if number)

    def __init__(
        self,
        cold: Callable[[], object],
        stacks: Callable[[], object],
        again: Callable[[int], object] = lambda number: None,
        supervised: bool = False,
    ) -> None:
        super().__init__(again)
        self._cold = cold
        self._stacks = stacks
        self._remapped = not supervised and os.environ.get(REMAP) == "SIGQUIT"
        # A terminal that is closed sends SIGHUP, and who closes it wants no worker in the background.
        self._at_terminal = sys.stdout is not None and sys.stdout.isatty()
        self._is_cold = False

    @property
    def restarts(self) -> bool:
        """Whether the process is to start again when it has stopped."""
        return self.number == HANGUP != 0 and not self._at_terminal

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == STACKS:
            _begin(self._stacks)
            return
        if number == signal.SIGTERM and self._remapped:
            number = QUIT
        if number == HANGUP and self.number:
            return  # it stops already
        if number == QUIT and not self._is_cold:
            self._is_cold, self.number = True, 0  # no second signal: another wish
            _begin(self._cold)
        elif self.number == HANGUP:
            self.number = 0  # it is to stop after all
        super()._on_signal(number, frame)


def _begin(function: Callable[[], object]) -> None:
    """Call it on a thread, without the locks of ``threading``: the main thread may hold them."""
    with suppress(RuntimeError):  # the system has no thread left
        _thread.start_new_thread(function, ())


def say_stacks() -> None:
    """Write what each thread is executing to stderr."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    found = [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
        if ident != threading.get_ident()
    ]
    say(f"worker {os.getpid()} is executing:\n" + "\n".join(found))


def hurry_after(seconds: float, hurry: Callable[[], object]) -> None:
    """Let what runs go on for a while, and hand it back then."""
    time.sleep(seconds)
    hurry()


def restart() -> NoReturn:
    """Replace this program, which has ended its work, by a new one with the same command line."""
    say(f"worker {os.getpid()} starts again")
    atexit._run_exitfuncs()  # what the project has registered: this process does not exit
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
