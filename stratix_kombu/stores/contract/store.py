"""A store: its parts, opened by a URL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from stratix_kombu.model.record import InlineQueue
from stratix_kombu.stores.contract.clocks import Clocks
from stratix_kombu.stores.contract.contents import Contents
from stratix_kombu.stores.contract.mail import Mail
from stratix_kombu.stores.contract.migrations import Migrations
from stratix_kombu.stores.contract.outbox import Outbox
from stratix_kombu.stores.contract.parts import EventLog, Locks, Schedules
from stratix_kombu.stores.contract.queries import Queries
from stratix_kombu.stores.contract.transitions import Transitions
from stratix_kombu.stores.contract.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a store's server reports about itself, and which of it endangers jobs."""

    server: str = ""
    """Its name and version."""
    warnings: tuple[str, ...] = ()


class Store(ABC):
    """One namespace of a store: its six parts, and its connection."""

    transitions: Transitions
    queries: Queries
    schedules: Schedules
    events: EventLog
    locks: Locks
    clocks: Clocks

    address: str
    """Where it is, for messages; never with credentials."""
    shared: bool = True
    """Other processes see the same records."""

    serial: bool = False
    """Its steps wait for each other, so that one of many jobs is faster than several at once."""

    work: Work | None = None
    """How one waits for jobs of a store that is its own broker; None = it needs one, which carries permits."""

    mail: Mail | None = None
    """Messages for hosts that need a broker; None = it carries none."""

    contents: Contents | None = None
    """For copying it; None = it cannot be copied."""

    outbox: Outbox | None = None
    """For adding and completing jobs within a user's transaction; None = that is not possible."""

    migrations: Migrations | None = None
    """For making its tables; None = that is not needed."""

    ready_check: bool = True
    """Whether an application must ``ping`` it before it starts."""

    @abstractmethod
    def ping(self) -> None:
        """Return when the store answers; raises StoreUnavailable otherwise."""

    def survey(self) -> Survey:
        """What can be known of the server. Raises StoreUnavailable."""
        return Survey()

    @abstractmethod
    def close(self) -> None:
        """Close the connections; the records stay. Its next use opens new ones."""

    def deliver_through(self, inline: InlineQueue) -> bool:
        """Offer the broker's queue: a store on the same server may from now on put messages into it within its
        transitions, and then returns True. ``Change.ready`` no longer names those jobs."""
        return False
