"""Receiving permits from RabbitMQ.

A worker takes no more than it has free slots although messages are acknowledged after the claim: acknowledgements are
*owed* until a slot is free again, so that the prefetch count is always what may still be sent to us. None is owed for
longer than a minute, so the broker's consumer timeout does not matter.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kombu import Consumer

from stratix_kombu.drivers.contract import Delivery
from stratix_kombu.drivers.kombu import KombuReceiver
from stratix_kombu.drivers.link import Link
from stratix_kombu.errors import DriverUnavailable

POLL_S = 0.0005
OWED_S = 60.0


class RabbitMQReceiver(KombuReceiver):
    """Consumes with a prefetch count, and owes acknowledgements while slots are taken."""

    prefetch = 0

    def open(self) -> Link:
        link = self.driver.link()
        entity = self.driver.queue_entity(self.queue)(link.channel)
        self.consumer = Consumer(link.channel, [entity], on_message=self.on_message, auto_declare=False)
        self.prefetch = 0
        self.owed: deque[tuple[Any, float]] = deque()
        return link

    def take(self, link: Link, limit: int, timeout: float) -> None:
        if limit > self.prefetch or self._overdue():
            # More slots than the consumer was begun with, or it was cancelled, or owes for too long: begin anew.
            self._cancel()
            self._settle(0)
            self.prefetch = limit
            self.consumer.qos(prefetch_count=limit)
            self.consumer.consume()
        self._settle(self.prefetch - limit)
        with suppress(socket.timeout):
            while len(self.received) < limit:
                link.connection.drain_events(timeout=POLL_S if self.received else max(timeout, POLL_S))
        link.connection.heartbeat_check()

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if self.link is not None:
            now = time.monotonic()
            self.owed.extend((delivery.handle, now) for delivery in deliveries)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        if self.link is not None:
            with self._unavailable():
                self._cancel()  # or they would come straight back to us
                for delivery in deliveries:
                    delivery.handle.reject(requeue=True)

    def refuse(self, deliveries: Sequence[Delivery]) -> None:
        """Rejected: to the queue's dead-letter exchange, if it has one."""
        if self.link is not None:
            with self._unavailable():
                for delivery in deliveries:
                    delivery.handle.reject(requeue=False)

    def tend(self) -> None:
        if self.link is None:
            return
        with self._unavailable():
            with suppress(socket.timeout):
                while True:  # the broker's heartbeats have to be read, or it would seem dead
                    self.link.connection.drain_events(timeout=POLL_S)
            self.link.connection.heartbeat_check()
            if self._overdue():
                self._cancel()
                self._settle(0)

    def _overdue(self) -> bool:
        return bool(self.owed) and time.monotonic() - self.owed[0][1] > OWED_S

    def close(self) -> None:
        if self.link is not None:
            with suppress(DriverUnavailable), self._unavailable():
                self._cancel()
                self._settle(0)
        super().close()

    def _cancel(self) -> None:
        """Be sent nothing more; what was on its way meanwhile goes back."""
        if self.prefetch:
            self.prefetch = 0
            self.consumer.cancel()
            late, self.received = self.received, []
            for delivery in late:
                delivery.handle.reject(requeue=True)

    def _settle(self, keep: int) -> None:
        """Acknowledge all that is owed but the newest ``keep``."""
        while len(self.owed) > keep:
            self.owed.popleft()[0].ack()
