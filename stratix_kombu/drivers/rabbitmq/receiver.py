"""Receiving permits from RabbitMQ.

A worker takes no more than it has free slots although messages are acknowledged after the take: acknowledgements are
*owed* until a slot is free again, so that the prefetch count is always what may still be sent to us. None is owed for
longer than a minute, so the broker's consumer timeout does not matter.

While the store has work for everybody, nobody needs a permit, and one is only removed for each job that is taken. Then
the broker sends many ahead, and they are acknowledged together.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from stratix_kombu.drivers.contract import Delivery
from stratix_kombu.drivers.kombu import KombuDriver, KombuReceiver
from stratix_kombu.drivers.rabbitmq.link import RabbitMQLink
from stratix_kombu.drivers.rabbitmq.undecided import Handle, Undecided
from stratix_kombu.errors import DriverUnavailable

OWED_S = 60.0
TICK_S = 1.0
"""How often is looked whether heartbeats are due."""
AHEAD = 100
"""So many are sent ahead while they are not needed."""
BACKLOG = 10
"""The store has had work for everybody so many times in a row: it will have for a while."""


class RabbitMQReceiver(KombuReceiver):
    """Consumes with a prefetch count, and owes acknowledgements while slots are taken."""

    prefetch = 0
    """0 = the broker sends nothing."""

    def __init__(self, driver: KombuDriver, queue: str) -> None:
        super().__init__(driver, queue)
        self.owed: deque[tuple[int, float]] = deque()
        self.adopted: set[Handle] = set()

    def open(self) -> RabbitMQLink:
        link: RabbitMQLink = self.driver.link()  # type: ignore[assignment]
        self.undecided = Undecided(link.channel)
        self.prefetch, self._ahead = 0, False
        self.queue_name = self.driver.queue_entity(self.queue).name
        self.owed.clear()
        self._unneeded = 0
        """How often in a row no permit was needed."""
        self._ticked = time.monotonic()
        return link

    def take(self, link: Any, limit: int, timeout: float) -> None:
        self._unneeded = 0 if timeout else self._unneeded + 1
        if len(self.received) >= limit or (self.received and timeout):
            return
        ahead = self._unneeded > BACKLOG
        if limit > self.prefetch or ahead != self._ahead or self._overdue():
            # More slots than the consumer was begun with, or it was cancelled, or owes for too long: start afresh.
            self._begin(max(limit, AHEAD) if ahead else limit)
            self._ahead = ahead
        self._settle(0 if ahead else self.prefetch - limit)
        with suppress(socket.timeout):
            while len(self.received) < limit:
                link.connection.drain_events(timeout=0 if self.received else timeout)
                self.received += [self.undecided.permit(tag, job_id) for tag, job_id in link.permits()]
        if time.monotonic() - self._ticked > TICK_S:
            self._ticked = time.monotonic()
            link.connection.heartbeat_check()

    def on_message(self, message: Any) -> None:
        self.received.append(self.undecided.delivery(message, self.driver.brings_tasks))

    def adopt(self, deliveries: Sequence[Delivery]) -> None:
        self.adopted.update(delivery.handle for delivery in deliveries)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        now = time.monotonic()
        self.owed.extend((handle.tag, now) for handle in self._own(deliveries))
        for handle in self._adopted(deliveries):
            with suppress(*self._errors):  # its connection is gone: the broker has the message back
                handle.of.acknowledge([handle.tag])

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        self._reject_adopted(deliveries, requeue=True)
        if self.link is not None:
            with self._unavailable():
                self._cancel()  # or they would come straight back to us
                self._reject(deliveries, requeue=True)

    def refuse(self, deliveries: Sequence[Delivery]) -> None:
        """Rejected: to the queue's dead-letter exchange, if it has one."""
        self._reject_adopted(deliveries, requeue=False)
        if self.link is not None:
            with self._unavailable():
                self._reject(deliveries, requeue=False)

    def tend(self) -> None:
        link = self.link
        if link is None:
            return
        with self._unavailable():
            with suppress(socket.timeout):
                while True:  # the broker's heartbeats have to be read, or it would seem dead
                    link.connection.drain_events(timeout=0)
            link.connection.heartbeat_check()
            if self._overdue():
                self._cancel()
                self._settle(0)

    def close(self) -> None:
        self._reject_adopted([Delivery(None, handle) for handle in self.adopted], requeue=True)
        if self.link is not None:
            with suppress(DriverUnavailable), self._unavailable():
                self._cancel()
                self._settle(0)
        super().close()

    def _own(self, deliveries: Sequence[Delivery]) -> list[Handle]:
        """Those of the connection that is open: the broker has the others back."""
        return [
            delivery.handle for delivery in deliveries if self.link is not None and delivery.handle.of is self.undecided
        ]

    def _reject(self, deliveries: Sequence[Delivery], requeue: bool) -> None:
        for handle in self._own(deliveries):
            self.undecided.reject(handle.tag, requeue)

    def _adopted(self, deliveries: Sequence[Delivery]) -> list[Handle]:
        """Those that came by a watcher; they are decided about now."""
        found = [delivery.handle for delivery in deliveries if delivery.handle in self.adopted]
        self.adopted.difference_update(found)
        return found

    def _reject_adopted(self, deliveries: Sequence[Delivery], requeue: bool) -> None:
        for handle in self._adopted(deliveries):
            with suppress(*self._errors):
                handle.of.reject(handle.tag, requeue)

    def _overdue(self) -> bool:
        return bool(self.owed) and time.monotonic() - self.owed[0][1] > OWED_S

    def _begin(self, prefetch: int) -> None:
        self._cancel()
        self._settle(0)
        channel = self.undecided.channel
        channel.basic_qos(0, prefetch, False)
        channel.basic_consume(self.queue_name, consumer_tag=self.queue_name, callback=self.on_message)
        self.prefetch = prefetch

    def _cancel(self) -> None:
        """Be sent nothing more; what was on its way meanwhile goes back."""
        if self.prefetch:
            self.prefetch = 0
            self.undecided.channel.basic_cancel(self.queue_name)
            late, self.received = self.received, []
            self._reject(late, requeue=True)

    def _settle(self, keep: int) -> None:
        """Acknowledge all that is owed but the newest ``keep``."""
        due = [self.owed.popleft()[0] for _ in range(len(self.owed) - keep)]
        if due:
            self.undecided.acknowledge(due)
