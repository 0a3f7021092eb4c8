"""The processes that a child has started, and those that these have started, whatever session they have moved to.

On Linux a child adopts its orphans: a process whose parent has ended becomes a child of it, not of the system's first
process. So all are found below it, for as long as the child itself lives. Elsewhere only the child itself is known.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress

LINUX = sys.platform == "linux"
_SET_CHILD_SUBREAPER = 36
KILL_S = 2.0
"""How long to keep killing a family that starts new processes as fast as they are killed."""
STEP_S = 0.001


def adopt_orphans() -> None:
    """Within the child: have it become the parent of all below it whose parent has ended."""
    if LINUX:
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def members(pid: int) -> Iterator[int]:
    """The process and all below it, zombies too."""
    pending = [pid]
    while pending:
        one = pending.pop()
        yield one
        with suppress(OSError, ValueError):
            for thread in os.listdir(f"/proc/{one}/task"):
                with open(f"/proc/{one}/task/{thread}/children", encoding="ascii") as file:
                    pending += map(int, file.read().split())


def born(pid: int) -> int:
    """When it was started, in ticks of the system, by which it is known from a later process of that number; 0 = it has
    ended."""
    with suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return int(fields[19]) if fields[0] not in "ZX" else 0
    return 0


def litter(pid: int) -> int:
    """The number of zombies below it."""
    return sum(1 for member in members(pid) if member != pid and not born(member))


def descendants(pid: int) -> dict[int, int]:
    """Those below it that live, with when they were started."""
    return {member: started for member in members(pid) if member != pid and (started := born(member))}


def strike(pid: int, number: int) -> None:
    """Signal those below it that are not in its process group."""
    for descendant in descendants(pid):
        with suppress(OSError):
            if os.getpgid(descendant) != pid:
                os.kill(descendant, number)


def kill_below(pid: int) -> None:
    """Kill all processes below it. It is stopped first, so that it starts no others, and must be killed next."""
    if not descendants(pid):
        return
    with suppress(OSError):
        os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + KILL_S
    while time.monotonic() < deadline:
        # Those whose parent is killed move up, and may be missed once while they do.
        living = descendants(pid) or descendants(pid)
        if not living:
            return
        kill(living)
        time.sleep(STEP_S)


def kill(known: Mapping[int, int]) -> None:
    """Kill processes that were found before, if they still are those."""
    for one, started in known.items():
        if born(one) == started:
            with suppress(OSError):
                os.kill(one, signal.SIGKILL)
