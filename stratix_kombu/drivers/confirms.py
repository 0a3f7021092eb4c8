"""Publisher confirms of RabbitMQ, collected once per batch; and what a broker says that is short of memory or disk."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from stratix_kombu.drivers.link import Link

POLL_S = 0.0005


class Confirms:
    """Counts what was sent over a channel against what the broker has confirmed.

    A broker that is short of memory or disk reads nothing more from a connection that has published, and says so
    (``connection.blocked``): then nobody waits for confirms.
    """

    def __init__(self, link: Link) -> None:
        self.blocked_at: float | None = None
        """Since when (monotonic) the broker has not read from the connection; None = it does."""
        self._link = link
        self._connection = link.connection
        self._sent = 0
        self._open: set[int] = set()
        """Tags not confirmed yet; those of several queues are confirmed in any order."""
        self._refused: list[str] = []
        channel = link.channel
        channel.connection.on_blocked = self._on_blocked
        channel.connection.on_unblocked = self._on_unblocked
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    @classmethod
    def of(cls, link: Link) -> Confirms:
        """The link's, made with its first use."""
        if link.confirms is None:
            link.confirms = cls(link)
        confirms: Confirms = link.confirms
        return confirms

    def expect(self) -> None:
        """One more message was sent."""
        self._sent += 1
        self._open.add(self._sent)

    def collect(self) -> None:
        """Wait until everything sent is confirmed, or the broker blocks. Raises OSError for what it refused."""
        left, heard = len(self._open), time.monotonic()
        while self._open and self.blocked_at is None:
            with suppress(socket.timeout):
                self._connection.drain_events(timeout=max(heard + self._link.reply_s - time.monotonic(), 0.01))
            if len(self._open) < left:
                left, heard = len(self._open), time.monotonic()
            elif time.monotonic() > heard + self._link.reply_s:
                raise TimeoutError("the broker does not confirm the messages")
        if self._refused:
            refused, self._refused = self._refused, []
            raise OSError(f"the broker refused {len(refused)} messages: {refused[0]}")

    def look(self) -> None:
        """Read what the broker has said meanwhile."""
        with suppress(socket.timeout):
            while True:
                self._connection.drain_events(timeout=POLL_S)

    def _on_blocked(self, reason: str) -> None:
        self.blocked_at = time.monotonic()

    def _on_unblocked(self) -> None:
        # What was sent meanwhile is read now, and was given up long ago.
        self.blocked_at = None
        self._open.clear()

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        if multiple:
            self._open = {tag for tag in self._open if tag > delivery_tag}
        else:
            self._open.discard(delivery_tag)

    def _on_nack(self, delivery_tag: int, multiple: bool, *rest: Any) -> None:
        self._refused.append("not accepted")
        self._on_ack(delivery_tag, multiple)

    def _on_return(self, problem: BaseException, exchange: str, routing_key: str, message: Any) -> None:
        self._refused.append(str(problem))
