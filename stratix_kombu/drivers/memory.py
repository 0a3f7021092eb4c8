"""Queues within this process. Consumers are woken at once: nothing polls."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from queue import Empty
from typing import Any
from weakref import WeakSet

from kombu.transport import TRANSPORT_ALIASES, memory

from stratix_kombu import forks
from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver, Watcher
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.link import Link
from stratix_kombu.model.message import other_message, read_headers

ARRIVALS_KEPT = 1_000
"""Of so many messages a watcher remembers the queues; when there are more, it looks at all."""
SCHEME = "stratix-memory"
"""Kombu refuses URLs that name a class, so the transport has a name of its own."""


class Arrivals:
    """Wakes the receivers of this process when a message was put."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.watchers: WeakSet[MemoryWatcher] = WeakSet()
        forks.register(self)

    def tell(self, queue: str) -> None:
        with self.condition:
            for watcher in self.watchers:
                watcher.arrived.append(queue)
            self.condition.notify_all()

    def after_fork(self) -> None:
        """The child has a copy of all queues."""
        self.condition = threading.Condition()
        for held in Channel.queues.values():
            held.mutex = threading.Lock()
            held.not_empty, held.not_full, held.all_tasks_done = (threading.Condition(held.mutex) for _ in range(3))


_arrivals = Arrivals()


class Channel(memory.Channel):
    """Kombu's channel in memory, which announces each message that is put."""

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        _arrivals.tell(queue)

    def take(self, queue: str) -> dict[str, Any] | None:
        """The next message of a queue as it was put, or None."""
        try:
            found: dict[str, Any] = self._get(queue)
        except Empty:
            return None
        return found

    def put_back(self, queue: str, messages: Sequence[dict[str, Any]]) -> None:
        """Put messages where they came from: before all others, in their order."""
        held = self._queue_for(queue)
        with held.mutex:
            for message in reversed(messages):
                held.queue.appendleft(message)
        _arrivals.tell(queue)


class Transport(memory.Transport):
    """The transport behind the memory driver."""

    Channel = Channel


TRANSPORT_ALIASES.setdefault(SCHEME, f"{__name__}:Transport")


class MemoryDriver(KombuDriver):
    """Option: ``queue_name_prefix``. All drivers of one process share the queues."""

    name = "memory"
    known_options = frozenset({"url", "queue_name_prefix"})
    capabilities = DriverCapabilities(durable=False, ordered=True, priorities=False, counts=True, shared=False)

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        return f"{SCHEME}://", {}

    def masked_address(self) -> str:
        return "memory://"

    def receiver(self, queue: str, slots: int) -> Receiver:
        return MemoryReceiver(self, queue)

    def watcher(self) -> Watcher:
        return MemoryWatcher(self)


class MemoryReceiver(Receiver):
    """Gets messages one by one, for they are only a function call away, and sleeps on the condition."""

    def __init__(self, driver: MemoryDriver, queue: str) -> None:
        driver.declare(queue)
        self._name = driver.broker_queue(queue)
        self._link = Link(driver.connection())
        self._tasks = driver.brings_tasks
        self._undecided: dict[int, Delivery] = {}
        forks.register(self)

    def after_fork(self) -> None:
        self._undecided = {}

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        with _arrivals.condition:
            while not (received := self._take(limit)):
                left = deadline - time.monotonic()
                if left <= 0 or not _arrivals.condition.wait(left):
                    break
        self._undecided.update((id(one), one) for one in received)
        return received

    def _take(self, limit: int) -> list[Delivery]:
        received: list[Delivery] = []
        while len(received) < limit:
            message = self._link.channel.take(self._name)
            if message is None:
                break
            job_id, problem = read_headers(message.get("headers"))
            other = other_message(message) if self._tasks and job_id is None else None
            received.append(Delivery(job_id, message, problem, other))
        return received

    def adopt(self, deliveries: Sequence[Delivery]) -> None:
        self._undecided.update((id(delivery), delivery) for delivery in deliveries)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._undecided.pop(id(delivery), None)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        mine = [delivery.handle for delivery in deliveries if self._undecided.pop(id(delivery), None) is not None]
        if mine:
            self._link.channel.put_back(self._name, mine)

    def close(self) -> None:
        self.give_back(list(self._undecided.values()))
        self._link.close()


class MemoryWatcher(Watcher):
    """Looks at all queues when a wait begins, and then at those in which something arrives."""

    def __init__(self, driver: MemoryDriver) -> None:
        self.arrived: deque[str] = deque(maxlen=ARRIVALS_KEPT)
        """Names at the broker, under the condition."""
        self._driver = driver
        self._link = Link(driver.connection())
        self._interrupted = False
        _arrivals.watchers.add(self)

    def wait(self, queues: Sequence[str], timeout: float) -> tuple[str, list[Delivery]] | None:
        names = {self._driver.broker_queue(queue): queue for queue in queues}
        deadline = time.monotonic() + timeout
        with _arrivals.condition:
            candidates: Sequence[str] = list(names)
            while True:
                for name in candidates:
                    message = self._link.channel.take(name) if name in names else None
                    if message is not None:
                        job_id, problem = read_headers(message.get("headers"))
                        return names[name], [Delivery(job_id, message, problem)]
                interrupted, self._interrupted = self._interrupted, False
                left = deadline - time.monotonic()
                if interrupted or left <= 0:
                    return None
                self.arrived.clear()
                _arrivals.condition.wait(left)
                full = len(self.arrived) == ARRIVALS_KEPT
                candidates = list(names) if full else list(self.arrived)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            name = delivery.handle["properties"]["delivery_info"]["routing_key"]
            self._link.channel.put_back(name, [delivery.handle])

    def interrupt(self) -> None:
        with _arrivals.condition:
            self._interrupted = True
            _arrivals.condition.notify_all()

    def close(self) -> None:
        _arrivals.watchers.discard(self)
        self._link.close()
