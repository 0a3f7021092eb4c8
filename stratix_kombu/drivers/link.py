"""One connection of Kombu to a broker."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from kombu import Connection, Producer
from kombu.transport import virtual

from stratix_kombu import forks
from stratix_kombu.errors import DriverUnavailable
from stratix_kombu.model.message import OtherMessage


class Link:
    """One connection with its channel and producer; used by one thread at a time."""

    channel: Any = None
    reply_s = 30.0
    """How long the broker may be silent."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        forks.register(self)
        # Each host is tried once: ``attempt`` decides about retries.
        connection.ensure_connection(max_retries=max(len(connection.alt) - 1, 0))
        self.connected()
        self.channel = connection.channel()
        self.producer = Producer(self.channel, auto_declare=False)
        self.closes = 0
        """How often its driver had been closed when it was taken."""
        self.leads_to: Any = None
        """For drivers whose server may be another one later: which it is."""

    def connected(self) -> None:
        """The connection is open, and has no channel yet."""

    def after_fork(self) -> None:
        """It belongs to the parent. A transport may send something when it is garbage-collected, so it is kept."""
        forks.keep(self)
        for name in ("_pool", "_async_pool"):  # Kombu's Redis transport
            pool = getattr(self.channel, name, None)
            if pool is not None:
                forks.abandon_pool(pool)

    def close(self, problem: BaseException | None = None) -> None:
        """``problem``: the fault that is the reason for closing, if any. The peer may not answer then."""
        with suppress(Exception):
            self.connection.close()


def read_any_message(channel: Any) -> None:
    """Kombu's virtual transports raise in the middle of receiving if they cannot parse a message: such a message
    becomes one that is not a permit."""
    kind = channel.Message
    if not issubclass(kind, virtual.Message):
        return

    class Message(kind):  # type: ignore[valid-type, misc]
        def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
            try:
                super().__init__(payload, channel, **kwargs)
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
                super().__init__({"properties": {"delivery_tag": str(uuid.uuid4())}}, channel, **kwargs)

    channel.Message = Message


def other_message(message: Any) -> OtherMessage:
    """The parts of a Kombu message that is not a permit."""
    properties = {**message.properties, "delivery_info": message.delivery_info}
    return OtherMessage(message.headers, properties, message.body, message.content_type, message.content_encoding)


def said_of(problem: BaseException) -> str:
    """What is wrong, for the one error that a user sees: a part of the driver may have said already where."""
    return problem.problem if isinstance(problem, DriverUnavailable) else f"{type(problem).__name__}: {problem}"
