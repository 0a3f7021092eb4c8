"""Messages in the store, for hosts that need a broker. They are not the store's own, and it does not look into them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from stratix_kombu.model.record import Ready

SERVED_MS = 10 * 60_000
"""So long after a host last took messages of a queue others are expected to be taken."""
Binding = tuple[str, str, str]
"""Routing key, pattern and queue."""


class Mail(ABC):
    """Queues of messages by name, and bindings of exchanges as AMQP has them. Raises StoreUnavailable."""

    @abstractmethod
    def put(self, queues: Sequence[str], body: str, priority: int = 0, ttl_ms: int | None = None) -> None:
        """Put one message into each of the queues; with ``ttl_ms`` it expires after that time."""

    @abstractmethod
    def post(self, jobs: Sequence[Ready]) -> None:
        """Put the messages of these jobs into their queues, as ``TransportDriver.publish`` sends them."""

    @abstractmethod
    def serve(self, queue: str) -> None:
        """A host of this process takes the messages of a queue of jobs, as long as it calls ``get``. Until
        ``SERVED_MS`` after that, each step of the store, whichever process makes it, puts the messages of what it makes
        ready there into the queue, and ``Change.ready`` does not name these jobs."""

    @abstractmethod
    def depth(self, queue: str) -> int | None:
        """How many messages the queue has; None if no host is expected to take them."""

    @abstractmethod
    def get(self, queue: str) -> str | None:
        """Take the first message of the lowest priority out of the queue."""

    @abstractmethod
    def size(self, queue: str) -> int:
        """How many messages the queue has."""

    @abstractmethod
    def purge(self, queue: str) -> int:
        """Delete the messages of the queue; how many there were."""

    @abstractmethod
    def bind(self, exchange: str, binding: Binding) -> None:
        """What is sent to the exchange with that key goes to the queue as well."""

    @abstractmethod
    def forget(self, queue: str) -> None:
        """Delete the queue, with its messages and bindings."""

    @abstractmethod
    def bindings(self, exchange: str) -> list[Binding]:
        """Where the exchange leads."""

    @abstractmethod
    def changes(self) -> int:
        """A number that is another one after something was put."""

    @abstractmethod
    def wait(self, seen: int, timeout: float) -> None:
        """Return when ``changes`` is another number than ``seen``, or after ``timeout`` seconds."""
