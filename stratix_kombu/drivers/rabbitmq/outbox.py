"""What was published and is not confirmed yet: the jobs are safe in the store, so nobody waits for the broker's word.

The thread reads what the broker says on links that nobody uses just now, and sends again what it has refused, and what
was lost with a connection. It begins with the first message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stratix_kombu.drivers.outbox import Outbox, Refused
from stratix_kombu.model.record import Ready

if TYPE_CHECKING:
    from stratix_kombu.drivers.rabbitmq.driver import RabbitMQDriver


class RabbitMQOutbox(Outbox):
    """While too much waits to be sent again, publishing waits for the broker's word."""

    def __init__(self, driver: RabbitMQDriver) -> None:
        self._rabbitmq = driver
        super().__init__(driver)

    def post(self, jobs: Sequence[Ready]) -> bool:
        if self.is_full:
            return super().post(jobs)
        self.note(set(), self._rabbitmq.send_ahead(jobs))
        self.watch()
        return False

    def send(self, jobs: Sequence[Ready]) -> Refused:
        return self._rabbitmq.send_confirmed(jobs)

    def look(self) -> None:
        self._rabbitmq.look_at_open()

    def open_count(self, blocked: bool = True) -> int:
        return self._rabbitmq.open_count(blocked)

    def lost(self, jobs: Sequence[Ready]) -> None:
        """A connection has ended before these were confirmed."""
        self._add(jobs)
