"""What a driver must do. Documented here in full, and not again in the implementations.

A driver carries permits: messages that say that a queue has work. Which job is next is decided by the store, so a
permit may come twice, late or never, and in any order; a driver should still do its best. The id of a job in a permit
is for those who look at the broker's queue. Messages that are tasks of Celery name their job, and mean it.

``QueueDriver`` is the documented interface, for anyone who replaces everything. ``TransportDriver`` adds what
the built-in queue and worker need; ``stratix_kombu.drivers.kombu.KombuDriver`` implements it over any Kombu
transport. Used before a fork, a driver and its receivers go on in parent and child, each with connections, threads and
locks of its own: ``stratix_kombu.forks`` calls who registers there. ``stratix_kombu.testing`` exports the suite that
tells whether a driver conforms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stratix_kombu.model.message import OtherMessage
from stratix_kombu.model.record import InlineQueue, Ready

Report = Callable[[str, BaseException | None], object]
"""Called with a queue and a fault of its messages, or None when there is none any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCapabilities:
    """What a transport can do by itself; the store supplies the rest on every transport."""

    durable: bool
    """Messages survive a restart of the broker."""
    ordered: bool
    """First in, first out, as long as nothing is given back. It matters to tasks of Celery: the store has the order of
    jobs."""
    priorities: bool
    """A message of priority 0 overtakes those of 9; it matters to tasks of Celery, as well."""
    counts: bool
    """``depth`` can be exact."""
    shared: bool
    """Other processes see the same queues."""
    groups: bool = False
    """A message may belong to a group: those of one group come in order, or do not hold up those of others."""
    max_message_bytes: int | None = None
    """A longer message is refused; None = no bound that one meets."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One received message: a permit, or none of ours."""

    job_id: str | None
    """The job for which the permit was sent, which may not be the one that is taken with it; None for a message that is
    none of ours."""
    handle: Any
    """The receiver's own: what it needs to acknowledge the message or give it back."""
    problem: str = ""
    """For a message that is none of ours: what is wrong with it."""
    other: OtherMessage | None = None
    """Such a message itself, where ``TransportDriver.brings_tasks`` asks for it."""


class Receiver(ABC):
    """Takes messages of one queue. Belongs to one thread; it has a connection of its own."""

    patience: float = 0.25
    """Seconds a worker lets one ``receive`` wait: how long a stop may take on an idle queue, and how often an idle
    worker asks. More where each question costs money."""

    @abstractmethod
    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        """Wait up to ``timeout`` seconds for messages and take at most ``limit`` (at least 1).

        Returns what is there as soon as there is one: several messages are taken together when they are there
        together, and none is held back to fill a batch. With a ``timeout`` of 0 the worker does not need a message, for
        the store has work for it: what can be had at once is taken, and where asking costs money the broker is not
        asked each time. Raises DriverUnavailable; the next call connects anew.
        """

    @abstractmethod
    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """These are dealt with: the store has been asked for jobs. May be sent late or in batches."""

    @abstractmethod
    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """These were not dealt with: another worker may have them at once."""

    def refuse(self, deliveries: Sequence[Delivery]) -> None:
        """These name no job: given to the broker's own dead letters where the queue has them, else dropped."""
        self.acknowledge(deliveries)

    def adopt(self, deliveries: Sequence[Delivery]) -> None:  # noqa: B027  # of no use without a watcher
        """These came by the driver's ``Watcher``; they are to be acknowledged or given back as if they had been
        received here."""

    def interrupt(self) -> None:  # noqa: B027  # a short patience is enough for most
        """Called from another thread when the worker stops: a ``receive`` that waits returns at once, and so does every
        later one."""

    def tend(self) -> None:  # noqa: B027  # most connections need no tending
        """Called about every second while the worker takes no messages: keep the connection alive."""

    @abstractmethod
    def close(self) -> None:
        """Stop taking; what was received and neither acknowledged nor given back goes back to the queue."""


class QueueInstance(ABC):
    """The documented interface of a queue that a driver makes by itself. The application calls nothing but ``close``;
    everything else is between the driver and the program, which may use any method of ``Queue`` that it has. Methods
    may be ``async def``.

    >>> class MyQueue(QueueInstance): ...  # doctest: +SKIP
    """

    name: str

    @abstractmethod
    def add(self, name: str, data: Any = None, opts: Mapping[str, Any] | None = None) -> Any:
        """Add a job; the handle on it."""

    @abstractmethod
    def process(self, *handler: Any) -> Any:
        """Handle jobs: ``process(handler)``, or ``process(name, handler)``."""

    @abstractmethod
    def close(self, timeout: float | None = None) -> Any:
        """Take no more jobs and wait up to so many seconds for the active ones (None = without limit); False if some
        had not ended. Called when the application closes, or ``app.queue.close_all``."""


class QueueDriver(ABC):
    """The documented interface of a driver. Its options have snake_case keys at every level: see ``drivers.own``.

    Where it makes queues of its own, its methods may be ``async def`` (but for ``get_name``): they are awaited, all on
    one loop. Then nothing is kept in a store, and locks (``app.distributed_lock``) and ``once`` schedules hold within
    this process, unless the settings name a ``store``."""

    @abstractmethod
    def init(self) -> None:
        """Prepare: check options and that the broker can be reached. Called at each start, so again after ``close`` if
        the application is started again. Raises DriverUnavailable."""

    @abstractmethod
    def create_queue(self, name: str, options: Mapping[str, Any]) -> Any:
        """Prepare one queue. Return a ``QueueInstance``, or whatever has its methods, to replace it altogether, or None
        to have the built-in one, which needs a ``TransportDriver``."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections. Its next use opens new ones."""

    @abstractmethod
    def get_name(self) -> str:
        """The name it is registered under."""

    @abstractmethod
    def check_health(self) -> bool:
        """Whether the broker answers; never raises."""


class Watcher(ABC):
    """Waits for messages of many queues at once, so that a queue without work needs no receiver. Belongs to one thread;
    it has a connection of its own."""

    patience: float = 5.0
    """Seconds that one ``wait`` is let wait."""

    @abstractmethod
    def wait(self, queues: Sequence[str], timeout: float) -> tuple[str, list[Delivery]] | None:
        """Wait up to ``timeout`` seconds until one of the queues has a message; take one or a few of it. None if there
        is none, or after an ``interrupt``. Raises DriverUnavailable; the next call connects anew."""

    @abstractmethod
    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Nobody could deal with these. Raises DriverUnavailable."""

    @abstractmethod
    def interrupt(self) -> None:
        """Called from another thread, when other queues are to be waited for: a ``wait`` under way returns at once, and
        else the next one."""

    @abstractmethod
    def close(self) -> None:
        """End the connection."""


class TransportDriver(QueueDriver):
    """A driver that carries messages for the built-in queue and worker. All methods may be called from any thread."""

    capabilities: DriverCapabilities
    address: str
    """Where the broker is, for messages; never with credentials."""
    delivers: bool = False
    """The store is the broker: what it has can be taken without a message."""
    brings_tasks: bool = False
    """Whether the worker of this process runs tasks of Celery, too: then their messages come as ``Delivery.other``."""

    @abstractmethod
    def publish(self, jobs: Sequence[Ready]) -> None:
        """Send one message for each entry, in batches where the transport has them: a permit, in the job's ``group``
        where messages can have one, or the job's own ``message`` as it is (Kombu's envelope as JSON).

        Returns when the broker has taken responsibility for all of them (RabbitMQ: confirms). Raises
        DriverUnavailable when that is not known for some: they may then be sent twice, never lost.
        """

    def submit(self, jobs: Sequence[Ready], report: Report) -> bool:
        """As ``publish``, for jobs that are safe in the store: it need not wait for the broker's word. Whether the
        broker has taken responsibility for all of them already.

        If not, the driver sees to that in the background, and sends again what the broker refuses or what was lost
        with a connection; of so many messages at most that the memory of a process does not matter. It calls
        ``report``, from any thread, with the queue and the fault when a message could not be delivered so far, and with
        None in place of a fault when one of that queue was. What a process does not live to send again, the store's
        recovery does. ``close`` waits a while for the broker's word.
        """
        self.publish(jobs)
        return True

    @abstractmethod
    def depth(self, queue: str) -> int | None:
        """Messages that wait in the broker's queue, None if that cannot be known. Raises DriverUnavailable."""

    @abstractmethod
    def purge(self, queue: str) -> int:
        """Delete the queue's waiting messages; how many, as far as known. Raises DriverUnavailable."""

    @abstractmethod
    def receiver(self, queue: str, slots: int) -> Receiver:
        """A new receiver for a worker with ``slots`` slots."""

    def watcher(self) -> Watcher | None:
        """What waits for many queues over one connection; None if the transport cannot: then each worker keeps a
        receiver, and a thread, while its queue has no work."""
        return None

    def inline_queue(self) -> InlineQueue | None:
        """How a store on the same server may put messages into this broker's queues by itself; None = it cannot."""
        return None
