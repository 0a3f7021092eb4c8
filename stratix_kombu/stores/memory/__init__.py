"""The memory store: the executable specification, and the store of programs that are one process.

Stores with the same URL and namespace in one process are the same store; it lives as long as the process.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from stratix_kombu import forks
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.stores.contract import Store, Survey
from stratix_kombu.stores.memory.clocks import MemoryClocks
from stratix_kombu.stores.memory.contents import MemoryContents
from stratix_kombu.stores.memory.events import MemoryEventLog
from stratix_kombu.stores.memory.leader import Leader
from stratix_kombu.stores.memory.locks import MemoryLocks
from stratix_kombu.stores.memory.queries import MemoryQueries
from stratix_kombu.stores.memory.schedules import MemorySchedules
from stratix_kombu.stores.memory.state import Space
from stratix_kombu.stores.memory.transitions import MemoryTransitions

logger = logging.getLogger("stratix_kombu.stores")

SHOWN = 10
"""Queues that are named when the process ends."""
_spaces: dict[tuple[str, str], Space] = {}


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


class MemoryStore(Store):
    """All parts work on one ``Space`` under its lock; ``clock`` gives milliseconds since the epoch."""

    shared = False

    def __init__(self, space: Space | None = None, clock: Callable[[], int] = _wall_clock) -> None:
        self.address = "memory://"
        self._space = space = space or Space(clock)
        self.transitions = MemoryTransitions(space)
        self.queries = MemoryQueries(space)
        self.schedules = MemorySchedules(space, self.transitions)
        self.events = MemoryEventLog(space)
        self.locks = MemoryLocks(space)
        self.clocks = MemoryClocks(space)
        self.contents = MemoryContents(space)
        forks.register(self)

    def after_fork(self) -> None:
        """The child has a copy, without what the transition of another thread had collected so far."""
        space = self._space
        space.lock = threading.RLock()
        space.told, space.leader = threading.Condition(space.lock), Leader(space.lock)
        space.ready, space.instead, space.stand_ins = [], [], {}

    def ping(self) -> None:
        pass

    def survey(self) -> Survey:
        return Survey(warnings=("jobs are kept in this process: no other one sees them, and they end with it",))

    def close(self) -> None:
        pass


class _AtExit:
    """Says, once, what ends with the process: jobs that were added and are lost."""

    def __init__(self) -> None:
        self._pid = 0
        self.told = True
        """False: nothing is said, since tests leave jobs behind."""

    def register(self) -> None:
        if not self._pid:
            self._pid = os.getpid()
            atexit.register(self._tell)

    def _tell(self) -> None:
        left: Counter[str] = Counter()
        for space in _spaces.values() if self.told and os.getpid() == self._pid else ():  # a forked child has a copy
            for queue, held in list(space.queues.items()):
                left[queue] += sum(len(ids) for state, ids in held.ids.items() if not state.finished)
        if total := sum(left.values()):
            queues = ", ".join(f"{name} ({count})" for name, count in left.most_common(SHOWN) if count)
            logger.warning(
                "%s with this process, whose memory is the store: %s. To keep jobs, configure redis={'url': ...} "
                "([redis] in stratix.toml, or STRATIX_REDIS_URL) or another store",
                "1 unfinished job ends" if total == 1 else f"{total} unfinished jobs end",
                queues,
                extra={"action": "jobs_lost"},
            )


_at_exit = _AtExit()


def be_silent_at_exit() -> None:
    """Say nothing of unfinished jobs when this process ends: it runs tests."""
    _at_exit.told = False


def open_memory_store(options: Mapping[str, Any], *, namespace: str) -> MemoryStore:
    """The process's store for ``memory://`` or ``memory://<name>``, and a namespace."""
    unknown = [key for key in options if key != "url"]
    if unknown:
        raise ConfigurationError(f"unknown option {unknown[0]!r} of the memory store{nearest(unknown[0], ['url'])}")
    _at_exit.register()
    key = (str(options["url"]), namespace)
    return MemoryStore(_spaces.get(key) or _spaces.setdefault(key, Space(_wall_clock)))
