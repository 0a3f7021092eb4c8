"""Adding and completing jobs within a transaction of the user's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from stratix_kombu.model.record import Change, Held, NewJob


class Outbox(ABC):
    """For stores that are in a database of the user. What is added there is there when the transaction is committed,
    and was never there if it is rolled back. Nothing of the store is locked meanwhile.

    The next step after the commit makes them jobs, as ``Transitions.add`` does; but a dependency that is not known by
    then counts as removed, and where an id belongs to another queue's job, or what was said of the job cannot be used,
    that is logged and nothing is added. A completion is ``Transitions.complete`` with its token. ``recover`` leaves
    jobs alone whose completion belongs to a transaction that is under way; if the claim ends otherwise, the commit
    fails."""

    on_arrival: Callable[[Change], object] = staticmethod(lambda change: None)
    """Called after a step of this process has made jobs of what was added: these are ready to be dispatched."""

    @abstractmethod
    def add(self, jobs: Sequence[NewJob], connection: Any) -> Callable[[], bool]:
        """Add jobs, all or none, by the user's connection; the answer tells whether its transaction is still under way.
        Raises ConfigurationError for a connection that cannot be used, or that is to another database,
        DependencyNotFound, and whatever the connection raises."""

    @abstractmethod
    async def add_async(self, jobs: Sequence[NewJob], connection: Any) -> Callable[[], bool]:
        """The same for connections of asyncio."""

    @abstractmethod
    def complete(self, held: Held, result: str, connection: Any) -> None:
        """Complete a job by the user's connection. Raises StaleClaim if the claim is not held, JobCancelled,
        ConfigurationError for a connection that cannot be used, that is to another database, or in no transaction, and
        whatever the connection raises."""

    @abstractmethod
    async def complete_async(self, held: Held, result: str, connection: Any) -> None:
        """The same for connections of asyncio."""

    @abstractmethod
    def arrive(self) -> None:
        """Take in what has been committed. Raises StoreUnavailable."""
