"""What the system says of processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def lives(pid: int) -> bool:
    """Whether the process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children_of(pid: int) -> dict[int, str]:
    """The states of a process's children, zombies too, by number."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            number = int(entry.name)
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid:
                found[number] = state
    return found


def zombies() -> list[int]:
    """Children of this process that nobody has reaped."""
    return [number for number, state in children_of(os.getpid()).items() if state == "Z"]
