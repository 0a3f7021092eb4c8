"""Publisher confirms of one link, and what a broker says that is short of memory or disk."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from stratix_kombu.model.record import Ready


class Confirms:
    """What was sent over a channel, and what the broker has said about it.

    A broker that is short of memory or disk reads nothing more from a connection that has published, and says so
    (``connection.blocked``): then nobody waits for confirms.
    """

    def __init__(self, connection: Any, channel: Any) -> None:
        self.blocked_at: float | None = None
        """Since when (monotonic) the broker has not read from the connection; None = it does."""
        self.confirmed: set[str] = set()
        """Queues of which messages were confirmed, for who takes that."""
        self.refused: list[tuple[Ready, str]] = []
        """What the broker did not accept, and why, for who takes that."""
        self.unread = 0
        """How many messages were sent since the broker's words were read."""
        self._connection = connection
        self._open: dict[int, Ready] = {}
        """By tag, in the order in which they were sent. Those of several queues are confirmed in any order."""
        self._sent = 0
        self._heard = 0.0
        """When (monotonic) the broker has confirmed something last, or nothing was open."""
        channel.connection.on_blocked = self._on_blocked
        channel.connection.on_unblocked = self._on_unblocked
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    @property
    def open(self) -> int:
        """How many messages are not confirmed."""
        return len(self._open)

    @property
    def silent_s(self) -> float:
        """For how long the broker has owed a word."""
        return time.monotonic() - self._heard if self._open and self.blocked_at is None else 0.0

    @contextmanager
    def sending(self, jobs: Sequence[Ready]) -> Iterator[None]:
        """Within, these are sent, in this order. If that fails the channel is of no use any more: the broker counts
        what it was sent.

        They are noted before they are sent, since py-amqp reads the broker's words between two messages.
        """
        was_idle = not self._open
        for job in jobs:
            self._sent += 1
            self._open[self._sent] = job
        self.unread += len(jobs)
        yield
        if was_idle:
            self._heard = time.monotonic()

    def collect(self, reply_s: float, most: int = 0) -> None:
        """Wait until no more than ``most`` are open, or the broker blocks. Raises TimeoutError if it says nothing for
        ``reply_s`` seconds."""
        while len(self._open) > most and self.blocked_at is None:
            with suppress(socket.timeout):
                self._connection.drain_events(timeout=max(reply_s - self.silent_s, 0.01))
            self.check(reply_s)

    def check(self, reply_s: float) -> None:
        """Raise TimeoutError if the broker has been silent for this long."""
        if self.silent_s > reply_s:
            raise TimeoutError("the broker does not confirm the messages")

    def jobs(self) -> list[Ready]:
        """Those that are not confirmed."""
        return list(self._open.values())

    def last(self) -> int:
        """The tag of the newest message."""
        return self._sent

    def forget(self, after: int = 0) -> list[Ready]:
        """What was sent after a tag and is not confirmed: nobody waits for it any more."""
        tags = [tag for tag in self._open if tag > after]
        return [self._open.pop(tag) for tag in tags]

    def take_refused(self) -> list[tuple[Ready, str]]:
        refused, self.refused = self.refused, []
        return refused

    def _on_blocked(self, reason: str) -> None:
        self.blocked_at = time.monotonic()

    def _on_unblocked(self) -> None:
        self.blocked_at = None
        self._heard = time.monotonic()

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        self._heard = time.monotonic()
        self.confirmed.update(job.queue for job in self._settled(delivery_tag, multiple))

    def _on_nack(self, delivery_tag: int, multiple: bool, *rest: Any) -> None:
        self._heard = time.monotonic()
        self.refused += [(job, "not accepted") for job in self._settled(delivery_tag, multiple)]

    def _settled(self, delivery_tag: int, multiple: bool) -> list[Ready]:
        if not multiple:
            job = self._open.pop(delivery_tag, None)
            return [] if job is None else [job]
        settled = []
        for tag in self._open:
            if tag > delivery_tag:
                break
            settled.append(tag)
        return [self._open.pop(tag) for tag in settled]

    def _on_return(self, problem: BaseException, exchange: str, routing_key: str, message: Any) -> None:
        """Its confirm comes later. Which message it was is said by its headers only, if at all: a task of Celery that
        nobody claims has an id of its own there."""
        named = (message.properties.get("application_headers") or {}).get("id")
        tag = next((tag for tag, job in self._open.items() if job.id == named), None) or next(
            (tag for tag, job in self._open.items() if job.message or not job.id), None
        )
        if tag is not None:
            self.refused.append((self._open.pop(tag), str(problem)))
