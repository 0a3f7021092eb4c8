"""RabbitMQ: durable queues, persistent messages, publisher confirms collected once per batch.

A worker takes no more than it has free slots although messages are acknowledged after the claim: acknowledgements are
*owed* until a slot is free again, so that the prefetch count is always what may still be sent to us. None is owed for
longer than a minute, so the broker's consumer timeout does not matter.
"""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Connection, Consumer, Queue

from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver
from stratix_kombu.drivers.kombu import BATCH, CONNECT_TIMEOUT_S, KombuDriver, KombuReceiver, Link
from stratix_kombu.errors import ConfigurationError, DriverUnavailable
from stratix_kombu.model.record import Ready

HEARTBEAT_S = 30
REPLY_S = 10.0
"""How long the broker may take for an answer. It may be frozen, or gone without a word, and the connection still open:
the protocol itself would wait for ever."""
CLOSE_S = 1.0
"""How long it may take to say goodbye."""
TEND_S = 0.001
CONFIRM_TIMEOUT_S = 30.0
OWED_S = 60.0
HOST_OPTIONS = ("host", "port", "username", "password", "vhost")
QUEUE_OPTIONS = ("quorum", "max_priority", "dead_letter_exchange", "dead_letter_routing_key")


class RabbitMQLink(Link):
    """A link on which no wait is without an end."""

    def __init__(self, connection: Connection) -> None:
        self._socket = connection.connection.transport.sock
        self._socket.settimeout(REPLY_S)
        super().__init__(connection)

    def close(self) -> None:
        with suppress(OSError):  # it is closed already
            self._socket.settimeout(CLOSE_S)
        super().close()


class RabbitMQDriver(KombuDriver):
    """Options: ``url`` or ``host``, ``port``, ``username``, ``password``, ``vhost``; ``ssl`` (True, or arguments of
    Python's ``ssl``), ``heartbeat`` (seconds), ``quorum`` (queues of type quorum), ``max_priority`` (classic queues
    with priorities; the queue must have been declared so), ``dead_letter_exchange`` and ``dead_letter_routing_key``
    (where the broker puts what no worker can read), ``connect_timeout`` (milliseconds), ``queue_name_prefix``.

    Without options for queues, one that exists is taken as it is, whatever it was declared with.
    """

    name = "rabbitmq"
    known_options = frozenset(
        {"url", *HOST_OPTIONS, "ssl", "heartbeat", *QUEUE_OPTIONS, "connect_timeout", "queue_name_prefix"}
    )

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        super().__init__(options, namespace=namespace)
        self.quorum = bool(self.options.get("quorum"))
        self.max_priority = int(self.options.get("max_priority") or 0)
        if self.quorum and self.max_priority:
            raise ConfigurationError("rabbitmq: quorum queues have no 'max_priority': choose one of the two")
        self._dead_letters = {
            f"x-{option.replace('_', '-')}": _name(self.options[option], option)
            for option in ("dead_letter_exchange", "dead_letter_routing_key")
            if option in self.options
        }
        if "dead_letter_routing_key" in self.options and "dead_letter_exchange" not in self.options:
            raise ConfigurationError(
                "rabbitmq: 'dead_letter_routing_key' belongs to 'dead_letter_exchange': say that too ('' is the "
                "default exchange, whose routing keys are names of queues)"
            )
        self.capabilities = DriverCapabilities(
            durable=True, ordered=True, priorities=self.max_priority > 0, counts=True, shared=True
        )

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        if "url" in self.options:
            given = [key for key in HOST_OPTIONS if key in self.options]
            if given:
                raise ConfigurationError(f"rabbitmq: give 'url' or {given[0]!r}, not both")
            return super().connect_options()
        get = self.options.get
        parts = Connection(
            hostname=get("host", "localhost"), port=int(get("port", 5672)), userid=get("username", "guest"),
            password=get("password", "guest"), virtual_host=get("vhost", "/"), transport="pyamqp",
        )  # fmt: skip
        return str(parts.as_uri(include_password=True)), {}

    def connection(self) -> Connection:
        timeout = float(self.options.get("connect_timeout", CONNECT_TIMEOUT_S * 1000)) / 1000
        return Connection(
            self.url, ssl=self.options.get("ssl") or False, connect_timeout=timeout,
            heartbeat=float(self.options.get("heartbeat", HEARTBEAT_S)),
            transport_options={**self.transport_options, "read_timeout": None},
        )  # fmt: skip

    def link(self) -> Link:
        return RabbitMQLink(self.connection())

    def queue_entity(self, queue: str) -> Queue:
        entity = super().queue_entity(queue)
        if queue in self.entities:
            return entity
        arguments: dict[str, Any] = dict(self._dead_letters)
        if self.quorum:
            arguments["x-queue-type"] = "quorum"
        if self.max_priority:
            arguments["x-max-priority"] = self.max_priority
        entity.queue_arguments = arguments or None
        return entity

    def declare(self, queue: str) -> None:
        try:
            super().declare(queue)
        except DriverUnavailable as error:
            if not isinstance(error.__cause__, PreconditionFailed):
                raise
            self._take_as_it_is(queue, error)

    def _take_as_it_is(self, queue: str, error: DriverUnavailable) -> None:
        """The queue exists with other arguments, such as a dead-letter exchange: well if we want none."""
        entity = self.queue_entity(queue)
        if entity.queue_arguments:
            raise DriverUnavailable(
                self.address,
                f"queue {entity.name!r} exists, declared with other arguments than {entity.queue_arguments!r}: delete "
                f"it, or give the options it was declared with; the broker says: {error.__cause__}",
            ) from error
        try:
            self.attempt(lambda link: link.channel.queue_declare(queue=entity.name, passive=True))
        except DriverUnavailable as missing:
            if isinstance(missing.__cause__, NotFound):
                raise error from missing  # it was about the exchange
            raise
        self._declared.add(queue)

    def depth(self, queue: str) -> int | None:
        self.declare(queue)
        name = self.queue_entity(queue).name
        return self.attempt(lambda link: int(link.channel.queue_declare(queue=name, passive=True).message_count))

    def send(self, link: Link, jobs: Sequence[Ready]) -> None:
        confirms = _Confirms.of(link)
        for start in range(0, len(jobs), BATCH):
            for job in jobs[start : start + BATCH]:
                properties: dict[str, Any] = {"mandatory": True}
                if self.max_priority and not job.message:
                    # Ours 0 is the most urgent; here the highest number is.
                    properties["priority"] = round((9 - job.priority) / 9 * self.max_priority)
                self.publish_one(link, job, **properties)
                confirms.expect()
            confirms.collect()

    def publish(self, jobs: Sequence[Ready]) -> None:
        try:
            super().publish(jobs)
        except DriverUnavailable:
            self._declared.clear()  # a queue may have been deleted meanwhile
            raise

    def receiver(self, queue: str, slots: int) -> Receiver:
        return RabbitMQReceiver(self, queue)


class _Confirms:
    """Counts what was sent over a channel against what the broker has confirmed."""

    def __init__(self, link: Link) -> None:
        self._connection = link.connection
        self._sent = 0
        self._open: set[int] = set()
        """Tags not confirmed yet; those of several queues are confirmed in any order."""
        self._refused: list[str] = []
        channel = link.channel
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)

    @classmethod
    def of(cls, link: Link) -> _Confirms:
        """The link's, made with its first use."""
        if link.confirms is None:
            link.confirms = cls(link)
        confirms: _Confirms = link.confirms
        return confirms

    def expect(self) -> None:
        """One more message was sent."""
        self._sent += 1
        self._open.add(self._sent)

    def collect(self) -> None:
        """Wait until everything sent is confirmed. Raises OSError for what the broker refused."""
        deadline = time.monotonic() + CONFIRM_TIMEOUT_S
        while self._open:
            with suppress(socket.timeout):
                self._connection.drain_events(timeout=max(deadline - time.monotonic(), 0.01))
            if time.monotonic() > deadline:
                raise TimeoutError("the broker did not confirm the messages in time")
        if self._refused:
            refused, self._refused = self._refused, []
            raise OSError(f"the broker refused {len(refused)} messages: {refused[0]}")

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
        if limit > self.prefetch:
            # More slots than the consumer was begun with, or it was cancelled: begin anew.
            self._cancel()
            self._settle(0)
            self.prefetch = limit
            self.consumer.qos(prefetch_count=limit)
            self.consumer.consume()
        self._settle(self.prefetch - limit)
        with suppress(socket.timeout):
            while len(self.received) < limit:
                link.connection.drain_events(timeout=timeout if not self.received else 0.0005)
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
        if self.link is not None:
            with self._unavailable(), suppress(socket.timeout):
                while True:  # the broker's heartbeats have to be read, or it would seem dead
                    self.link.connection.drain_events(timeout=TEND_S)
        super().tend()
        if self.link is not None and self.owed and time.monotonic() - self.owed[0][1] > OWED_S:
            with self._unavailable():
                self._cancel()
                self._settle(0)

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


def _name(value: Any, option: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"rabbitmq: {option!r} must be a name, not {value!r}")
    return value
