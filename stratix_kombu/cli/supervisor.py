"""Worker processes: started, restarted when they crash or when the source changes, and stopped together.

A child has a session of its own, so that a Ctrl-C at the terminal reaches it once, through its parent; and its stdin is
a pipe from the parent, whose end shows that the parent was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from stratix_kombu.cli.commands import UNUSABLE
from stratix_kombu.cli.logs import say
from stratix_kombu.cli.worker_signals import QUIT, STACKS, WorkerSignals
from stratix_kombu.errors import Unavailable
from stratix_kombu.model.pauses import pause_s
from stratix_kombu.signals import StopSignals

POLL_S = 0.1
LONGEST_PAUSE_S = 30.0
STEADY_S = 10.0
"""A child that lived this long did not crash because of its start: the next pause is short again."""
WATCH_S = 0.5
LOOK_S = 1.0
"""How often the backlog is looked at."""
REPLACED = 79
"""Exit code of a child that has done its part: another one takes its place at once."""
_LEFT_OUT = {"node_modules", "site-packages", "__pycache__", "build", "dist"}


class Child:
    """One worker process, and when it may be restarted. Its number tells it from the others that run."""

    def __init__(self, command: Sequence[str], number: int = 1) -> None:
        self._command = [*command, "--supervised", str(number)]
        self.number = number
        self.crashes = 0
        """Times at which it ended by itself."""
        self.start_at = 0.0
        """When to restart it; 0 = it is running, as far as is known."""
        self.start()

    def start(self) -> None:
        """Raises OSError if the system cannot start another process."""
        self._since = time.monotonic()
        self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, start_new_session=True)
        self.start_at = 0.0

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def crashed(self) -> float:
        """Note that it has ended by itself; return the seconds until it is restarted."""
        self.crashes = 1 if time.monotonic() - self._since > STEADY_S else self.crashes + 1
        pause = pause_s(self.crashes, longest_s=LONGEST_PAUSE_S)
        self.start_at = time.monotonic() + pause
        return pause


class Scaling:
    """How many processes there are to be: one more while jobs wait, one less when one of them would have had nothing
    to do for a while."""

    def __init__(self, least: int, most: int, slots: int, load: Callable[[], tuple[int, int]]) -> None:
        self._least = least
        self._most = most
        self._slots = slots
        """Of each process."""
        self._load = load
        self._looked = self._busy = time.monotonic()

    def change(self, count: int) -> int:
        """1, 0 or -1, where there are so many now."""
        now = time.monotonic()
        if now < self._looked + LOOK_S:
            return 0
        self._looked = now
        try:
            waiting, active = self._load()
        except Unavailable:
            return 0
        if waiting or active > self._slots * (count - 1):
            self._busy = now
        if waiting and count < self._most:
            return 1
        if now > self._busy + STEADY_S and count > self._least:
            self._busy = now
            return -1
        return 0


def supervise(command: Sequence[str], count: int, scaling: Scaling | None = None) -> int:
    """Keep ``count`` processes running until a signal, or as many as ``scaling`` says; return the exit code: 0, or that
    of the first process that failed; ``REPLACED`` if this process is to start again, too."""
    children, leaving = list[Child](), list[Child]()

    def tell(number: int) -> None:
        for child in [*children, *leaving]:
            child.signal(number)

    signals = WorkerSignals(cold=partial(tell, QUIT), stacks=partial(tell, STACKS))
    with signals:
        children += [Child(command, number + 1) for number in range(count)]
        say(f"supervisor {os.getpid()} of {count} workers")
        while not signals.number:
            for child in children:
                if child.process.poll() == UNUSABLE and not child.crashes:
                    return end(children, signals, UNUSABLE)  # it could not even start, and another try will not help
                keep(child)
            change = scaling.change(len(children)) if scaling is not None else 0
            if change > 0:
                children.append(Child(command, free_number([*children, *leaving])))
            elif change < 0:
                leaving.append(children.pop())
                leaving[-1].signal(signal.SIGTERM)
            if change:
                say(f"{len(children)} workers now")
            leaving = [child for child in leaving if child.process.poll() is None]
            signals.wait(POLL_S)
        code = end([*children, *leaving], signals)
        return REPLACED if signals.restarts else code


def free_number(children: Sequence[Child]) -> int:
    """The least one that none of them has."""
    taken = {child.number for child in children}
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def keep(child: Child) -> None:
    """Restart a process that has ended, after a pause."""
    code = child.process.poll()
    if code is None or time.monotonic() < child.start_at:
        return
    if code == REPLACED:
        try:
            child.start()
            return
        except OSError as problem:
            say(f"no worker can be started: {problem}")
    what = f"worker {child.process.pid} ended with exit code {code}"
    if child.start_at:
        try:
            child.start()
            return
        except OSError as problem:
            what = f"no worker can be started: {problem}"
    say(f"{what}: restarting in {child.crashed():.1f} s")


def end(children: Sequence[Child], signals: StopSignals, code: int = 0) -> int:
    """Stop the processes; a second signal ends them at once. Returns the exit code."""
    for child in children:
        child.signal(signal.SIGTERM)
    while any(child.process.poll() is None for child in children):
        if signals.again:
            for child in children:
                child.signal(signal.SIGKILL)
            return 128 + signals.again
        signals.wait(POLL_S)
    # A process that was still starting has no handler for the signal yet: it has stopped as asked, too.
    well = (-signal.SIGTERM, -QUIT, REPLACED)
    codes = (child.process.returncode for child in children if child.process.returncode not in well)
    return code or next((128 - ended if ended < 0 else ended for ended in codes if ended), 0)


def reload(command: Sequence[str]) -> int:
    """Keep one process running, and restart it when a Python file below this directory has changed."""
    with StopSignals() as signals:
        child, seen = Child(command), sources(Path.cwd())
        say(f"restarts when a Python file below {Path.cwd()} changes")
        ended = False
        while not signals.number:
            signals.wait(WATCH_S)
            if not ended and child.process.poll() is not None:
                ended = True
                say(f"the worker ended with exit code {child.process.returncode}: waiting for a change")
            current = sources(Path.cwd())
            if current == seen:
                continue
            changed = sorted(str(path) for path, _ in current ^ seen)
            say(f"{changed[0]} changed: restarting")
            seen = current
            code = end([child], signals)
            if signals.number:
                return code
            child.start()
            ended = False
        return end([child], signals)


def sources(folder: Path) -> frozenset[tuple[str, int]]:
    """The Python files below a folder and when they changed; hidden folders and those of installed packages are left
    out."""
    return frozenset(_sources(str(folder)))


def _sources(folder: str) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in _LEFT_OUT:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    yield from _sources(entry.path)
                elif entry.name.endswith(".py"):
                    yield entry.path, entry.stat().st_mtime_ns
    except OSError:  # removed meanwhile
        return
