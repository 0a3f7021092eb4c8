"""What a store keeps besides jobs: schedules, the log of events, locks."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from stratix_kombu.model.event import Event
from stratix_kombu.model.record import Added, NewJob, Schedule
from stratix_kombu.stores.contract.by_hand import PAGE

ASK_S = 0.25
"""How often logs are read that cannot be waited for together."""


class Schedules(ABC):
    """Repeatable jobs. A slot is claimed by compare-and-set on the next run time, so any number of clocks is safe."""

    @abstractmethod
    def put(self, schedule: Schedule) -> None:
        """Create the schedule, or replace the one with that key. If that has the same rule, its next slot, its runs and
        its pause stay: deploying again changes only the template. The list of its last runs stays in any case."""

    @abstractmethod
    def all(self, queue: str | None = None) -> list[Schedule]:
        """Schedules of one queue or all, sorted by key; read in several steps, page by page."""

    @abstractmethod
    def get(self, key: str) -> Schedule | None:
        """The schedule with that key."""

    @abstractmethod
    def remove(self, key: str) -> bool:
        """Forget a schedule; whether there was one. Runs that were added already stay."""

    @abstractmethod
    def set_paused(self, key: str, paused: bool, next_ms: int | None = None) -> bool:
        """Pause or resume a schedule, and set its next slot if one is given; whether there is one."""

    @abstractmethod
    def due(self, limit: int = PAGE, owner: str = "") -> tuple[list[Schedule], int, int | None]:
        """Schedules of that owner whose slot has come; the store's now; in how many milliseconds the next one
        comes."""

    @abstractmethod
    def fire(self, key: str, slot_ms: int, next_ms: int, job: NewJob | None) -> Added | None:
        """If the schedule's next slot is still ``slot_ms`` and it is not paused: set the next one (0 = ended), count
        the run and add ``job`` (None = only skip the slot), in one step. None if another clock was first. A job that is
        added is the newest of ``recent``; how it ended is kept there when its retention removes it."""

    @abstractmethod
    def ran(self, key: str, job_id: str) -> bool:
        """Put a run that was added besides the slots into ``recent``; whether there is such a schedule."""


class EventLog(ABC):
    """The log of each queue, in order; old entries are dropped beyond some thousands. A value of more than
    ``INLINE_RESULT_BYTES`` of UTF-8 is left out: it is read from the record."""

    @abstractmethod
    def append(self, queue: str, name: str, job_id: str = "", value: str | None = None) -> None:
        """Write a user's own entry. The name need not be a queue's, and does not become a queue by that."""

    @abstractmethod
    def tail(self, queue: str) -> str:
        """The cursor after the newest entry."""

    @abstractmethod
    def read(self, queue: str, cursor: str, limit: int = 1000, wait_ms: int = 0) -> list[Event]:
        """Entries after the cursor (``"0"``: from the oldest kept); waits up to ``wait_ms`` for the first one. If
        entries in between were dropped, the first one says how many (``missed``). Raises ConfigurationError for an
        invalid cursor."""

    def reader(self) -> LogReader:
        """Reads several logs at once, for one thread. This implementation reads one log after the other."""
        return _OneByOne(self)


class LogReader(ABC):
    """Reads several logs at once. Belongs to one thread."""

    patience_ms: int = 2500
    """How long one ``read`` should wait at most."""

    @abstractmethod
    def read(self, cursors: Mapping[str, str], limit: int, wait_ms: int) -> dict[str, list[Event]]:
        """What ``EventLog.read`` returns for each log, by its cursor, without empty ones. Waits up
        to ``wait_ms`` until one has something; after an ``interrupt`` it waits no longer."""

    @abstractmethod
    def interrupt(self) -> None:
        """Called from another thread when other logs must be read: a ``read`` in progress, or else the next one,
        returns at once. Raises StoreUnavailable."""


class _OneByOne(LogReader):
    """For logs that cannot be waited for together."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._rung = threading.Event()

    def read(self, cursors: Mapping[str, str], limit: int, wait_ms: int) -> dict[str, list[Event]]:
        end = time.monotonic() + wait_ms / 1000
        while True:
            # Of a single log its own wait is made use of.
            wait_s = 0.0 if len(cursors) > 1 else min(max(end - time.monotonic(), 0.0), ASK_S)
            found = {
                queue: events
                for queue, cursor in cursors.items()
                if (events := self._log.read(queue, cursor, limit, round(wait_s * 1000)))
            }
            left = end - time.monotonic()
            if found or left <= 0 or self._rung.wait(0.0 if wait_s else min(left, ASK_S)):
                self._rung.clear()
                return found

    def interrupt(self) -> None:
        self._rung.set()


class Locks(ABC):
    """Locks with an owner's token and a time to live."""

    @abstractmethod
    def acquire(self, key: str, token: str, ttl_ms: int) -> bool:
        """Take the lock if it is free."""

    @abstractmethod
    def extend(self, key: str, token: str, ttl_ms: int) -> bool:
        """Set a new time to live, if the token owns the lock."""

    @abstractmethod
    def release(self, key: str, token: str) -> bool:
        """Free the lock, if the token owns it."""
