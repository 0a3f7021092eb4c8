"""A store that needs no broker: waiting for jobs means waiting for the store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence


class Work(ABC):
    """What a driver needs from such a store. Any number of threads and processes may wait."""

    @abstractmethod
    def wait(self, queues: Sequence[str], timeout: float, waiter: object = None) -> tuple[str, int] | None:
        """Wait up to ``timeout`` seconds until one of the queues has jobs that are worth a ``take``, even if that says
        why none of them may start (PAUSED, LIMITED, CROWDED): that queue and how many there are, at least. None if
        there are none, or if the waiter was woken. Raises StoreUnavailable."""

    @abstractmethod
    def wake(self, waiter: object) -> None:
        """The wait of that waiter which is under way, or else its next one, returns at once."""

    @abstractmethod
    def count(self, queue: str) -> int:
        """Jobs of the queue that wait."""
