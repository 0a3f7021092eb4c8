"""How much memory a child uses, with all processes it has started, and a bound that it cannot jump over."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

from stratix_kombu.worker.sandbox import family

MB = 1024 * 1024
ROOM = 512 * MB
"""For stacks of threads, which count in full although they are hardly used."""


def resident(pid: int) -> int:
    """Resident bytes of a process and, on Linux, all below it; 0 if it has exited."""
    if not family.LINUX:
        return _resident_by_ps(pid)
    total = 0
    for member in family.members(pid):
        with suppress(OSError, ValueError), open(f"/proc/{member}/statm", encoding="ascii") as file:
            total += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def _resident_by_ps(pid: int) -> int:
    done = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 0) * 1024


def bound(limit: int) -> None:
    """Within the child: let a single huge allocation fail with MemoryError, before the worker can see it grow.

    The address space would be the wrong thing to bound: much of it is only reserved. This counts what can be written.
    """
    if sys.platform.startswith("linux"):
        import resource

        most = 2 * limit + ROOM
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
