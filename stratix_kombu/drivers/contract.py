"""What a driver must do. Documented here in full, and not again in the implementations.

A driver carries permits: messages that say that a queue has work. Which job is next is decided by the store, so a
permit may come twice, late or never, and in any order; a driver should still do its best. The job id in a permit is for
people who look at the broker's queue. Messages that are Celery tasks name the job that must run.

``QueueDriver`` is the documented interface, for drivers that replace everything. ``TransportDriver`` adds what
the built-in queue and worker need; ``stratix_kombu.drivers.kombu.KombuDriver`` implements it over any Kombu
transport. Used before a fork, a driver and its receivers go on in parent and child, each with connections, threads and
locks of its own: ``stratix_kombu.forks`` calls who registers there. ``stratix_kombu.testing`` exports the suite that
shows whether a driver conforms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stratix_kombu.model.message import OtherMessage
from stratix_kombu.model.record import InlineQueue, Ready

Report = Callable[[str, BaseException | None], object]
"""Called with a queue and a fault of its messages, or with None once the fault is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverCapabilities:
    """What a transport can do by itself; the store supplies the rest on every transport."""

    durable: bool
    """Messages survive a restart of the broker."""
    ordered: bool
    """First in, first out, as long as nothing is given back: permits whatever the ``priority`` of their jobs. It
    matters to tasks of Celery: the store has the order of jobs."""
    priorities: bool
    """A message that a job brings along, a Celery task, overtakes others as its own priority says (Kombu's property);
    permits have none."""
    counts: bool
    """``depth`` can be exact."""
    shared: bool
    """Other processes see the same queues."""
    groups: bool = False
    """A message may belong to a group: messages of one group arrive in order, or do not delay those of others."""
    max_message_bytes: int | None = None
    """A longer message is refused; None = no bound that one meets."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One received message: a permit, or a foreign message."""

    job_id: str | None
    """The job for which the permit was sent, which may not be the one that is taken with it; None for a foreign
    message. Never empty: a permit that was published without the id of a job has any text here."""
    handle: Any
    """For the receiver: what it needs to acknowledge the message or give it back."""
    problem: str = ""
    """For a foreign message: what is wrong with it."""
    other: OtherMessage | None = None
    """The foreign message itself, if ``TransportDriver.brings_tasks`` requests it."""


class Receiver(ABC):
    """Takes messages of one queue. Belongs to one thread; it has a connection of its own."""

    patience: float = 0.25
    """Seconds that a worker lets one ``receive`` wait: how long stopping may take on an idle queue, and how often an
    idle worker polls. More where each poll costs money."""

    @abstractmethod
    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        """Wait up to ``timeout`` seconds for messages and take at most ``limit`` (at least 1).

        Returns as soon as there is a message, with all that are available; no message is held back to fill a batch.
        With a ``timeout`` of 0 the worker does not need a message, because the store has work for it: available
        messages are taken, and where polling costs money the broker is not asked each time. Raises DriverUnavailable;
        the next call reconnects."""

    @abstractmethod
    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """These have been processed: the store has been asked for jobs. Acknowledgements may be sent late or in
        batches."""

    @abstractmethod
    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """These were not dealt with: another worker may have them at once."""

    def refuse(self, deliveries: Sequence[Delivery]) -> None:
        """These are not permits: they go to the broker's own dead-letter queue if there is one, and are dropped
        otherwise."""
        self.acknowledge(deliveries)

    def adopt(self, deliveries: Sequence[Delivery]) -> None:  # noqa: B027  # of no use without a watcher
        """These were delivered by the driver's ``Watcher``; acknowledge them or give them back as if they had been
        received here."""

    def interrupt(self) -> None:  # noqa: B027  # a short patience is enough for most
        """Called from another thread when the worker stops: a ``receive`` that waits returns at once, and so does every
        later one."""

    def tend(self) -> None:  # noqa: B027  # most connections need no tending
        """Called about every second while the worker takes no messages: keep the connection alive."""

    @abstractmethod
    def close(self) -> None:
        """Stop taking; messages that were neither acknowledged nor given back return to the queue."""


class QueueInstance(ABC):
    """The documented interface of a queue that a driver creates itself. The application calls only ``close``;
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
        """Take no more jobs and wait up to that many seconds for the active ones (None = no limit); False if some had
        not finished. Called when the application closes, or by ``app.queue.close_all``."""


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
        is none, or after an ``interrupt``. Raises DriverUnavailable; the next call reconnects."""

    @abstractmethod
    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """Nobody could deal with these. Raises DriverUnavailable."""

    @abstractmethod
    def interrupt(self) -> None:
        """Called from another thread when other queues must be waited for: a ``wait`` in progress, or else the next
        one, returns at once."""

    @abstractmethod
    def close(self) -> None:
        """End the connection."""


class TransportDriver(QueueDriver):
    """A driver that carries messages for the built-in queue and worker. All methods may be called from any thread."""

    capabilities: DriverCapabilities
    address: str
    """Where the broker is, for messages; never with credentials."""
    delivers: bool = False
    """The store is the broker: its jobs can be taken without a message."""
    brings_tasks: bool = False
    """Whether the worker of this process runs tasks of Celery, too: then their messages come as ``Delivery.other``."""

    @abstractmethod
    def publish(self, jobs: Sequence[Ready]) -> None:
        """Send one message for each entry, in batches where the transport has them: a permit, in the job's ``group``
        where messages can have one, or the job's own ``message`` as it is (Kombu's envelope as JSON). The id of a job
        may be empty: then the permit says no more than that the queue has work.

        Returns when the broker has taken responsibility for all of them (RabbitMQ: confirms). Raises
        DriverUnavailable when that is not known for some: they may then be sent twice, never lost.
        """

    def submit(self, jobs: Sequence[Ready], report: Report) -> bool:
        """As ``publish``, for jobs that are safe in the store: it need not wait for the broker's confirmation. Returns
        whether the broker has already taken responsibility for all of them.

        If not, the driver completes that in the background, and sends again what the broker refuses or what was lost
        with a connection, for a bounded number of messages. It calls ``report``, from any thread, with the queue and
        the fault when a message could not be delivered so far, and with None instead of a fault when one of that queue
        was. What a process does not live to send again, the store's recovery does. ``close`` waits a while for the
        broker's word."""
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

    def broker_queue(self, queue: str) -> str:
        """The name of the queue in the broker."""
        return queue

    def watcher(self) -> Watcher | None:
        """What waits for many queues over one connection; None if the transport cannot: then each worker keeps a
        receiver, and a thread, while its queue has no work."""
        return None

    def inline_queue(self) -> InlineQueue | None:
        """How a store on the same server can put messages into this broker's queues itself; None = it cannot."""
        return None
