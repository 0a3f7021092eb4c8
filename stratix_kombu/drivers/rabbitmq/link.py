"""One connection to RabbitMQ, on which no wait is without an end."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kombu import Connection

from stratix_kombu.drivers.link import Link
from stratix_kombu.drivers.rabbitmq.confirms import Confirms
from stratix_kombu.drivers.rabbitmq.wire import permit_frames, read_permits
from stratix_kombu.model.record import Ready

CLOSE_S = 1.0
"""How long it may take to say goodbye."""
READ_BYTES = 16_384


class RabbitMQLink(Link):
    """Used by one thread at a time."""

    def __init__(self, connection: Connection, reply_s: float) -> None:
        self.reply_s = reply_s
        self.used_at = time.monotonic()
        self.confirms: Confirms | None = None
        """Once something was published over it."""
        self.lost: Callable[[Sequence[Ready]], object] = lambda jobs: None
        """Called with what was not confirmed when it is closed."""
        super().__init__(connection)

    def connected(self) -> None:
        self.amqp = self.connection.connection
        """py-amqp's: Kombu's would connect anew where this one has ended, and wait for that."""
        transport = self.amqp.transport
        self.socket = transport.sock
        read = transport._quick_recv
        # py-amqp asks for each part of a frame by itself, and keeps what it is given beyond that.
        transport._quick_recv = lambda size: read(max(size, READ_BYTES))
        self.socket.settimeout(self.reply_s)

    def be_patient(self, reply_s: float) -> None:
        if reply_s != self.reply_s:
            self.reply_s = reply_s
            self.socket.settimeout(reply_s)

    def publish(
        self, jobs: Sequence[Ready], broker_queue: Callable[[str], str], other: Callable[[Ready], None]
    ) -> None:
        """Send permits, and other messages by ``other``, in order."""
        channel = self.channel.channel_id
        permits: list[bytes] = []
        for job in jobs:
            if job.message:
                self._write(permits)
                other(job)
            else:
                permit = job.id or str(uuid.uuid4())
                permits.append(permit_frames(permit, channel, broker_queue(job.queue), job.name))
        self._write(permits)

    def _write(self, frames: list[bytes]) -> None:
        if frames:
            self.amqp.transport.write(b"".join(frames))
            frames.clear()

    def permits(self) -> list[tuple[int, str]]:
        """Permits that were read beyond what py-amqp has asked for, by delivery tag and id."""
        transport = self.amqp.transport
        found, size = read_permits(transport._read_buffer, self.channel.channel_id)
        transport._read_buffer = transport._read_buffer[size:]
        return found

    def look(self) -> None:
        """Read what the broker has said meanwhile. Raises what the connection raises that is gone."""
        if self.confirms is not None:
            self.confirms.unread = 0
        with suppress(socket.timeout):
            while True:
                self.amqp.drain_events(timeout=0)

    def close(self, problem: BaseException | None = None) -> None:
        confirms, self.confirms = self.confirms, None
        if confirms is not None:
            self.lost(confirms.forget())
        if isinstance(problem, OSError):  # each link would wait in vain for the answer to its goodbye, and to TLS's
            with suppress(Exception):
                self.socket.settimeout(0)
                self.amqp.collect()
            return
        with suppress(OSError):  # it is closed already
            self.socket.settimeout(CLOSE_S)
        super().close()


def confirms_of(link: Any) -> Confirms:
    """The link's, made with its first use."""
    if link.confirms is None:
        link.confirms = Confirms(link.amqp, link.channel)
    found: Confirms = link.confirms
    return found
