"""RabbitMQ: durable queues, persistent messages, publisher confirms collected once per batch.

A worker takes no more than it has free slots although messages are acknowledged after the claim: acknowledgements are
*owed* until a slot is free again, so that the prefetch count is always what may still be sent to us. None is owed for
longer than a minute, so the broker's consumer timeout does not matter.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Connection, Consumer, Queue

from stratix_kombu.config.redis_options import keepalive_options
from stratix_kombu.config.tls import TlsOptions, switch
from stratix_kombu.drivers.confirms import POLL_S, Confirms
from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver
from stratix_kombu.drivers.kombu import BATCH, KombuDriver, KombuReceiver
from stratix_kombu.drivers.link import Link
from stratix_kombu.errors import ConfigurationError, DriverUnavailable
from stratix_kombu.model.record import Ready

HEARTBEAT_S = 30
COMMAND_TIMEOUT_MS = 5000.0
"""How long the broker may take for an answer. It may be frozen, or gone without a word, and the connection still open:
the protocol itself would wait for ever."""
CLOSE_S = 1.0
"""How long it may take to say goodbye."""
OWED_S = 60.0
BLOCKED = "it takes no messages now: it is short of memory or disk (an alarm of RabbitMQ blocks publishers)"
BLOCKED_S = 10.0
"""A connection that has been blocked for so long may be dead: then another one is tried."""
HOST_OPTIONS = ("host", "port", "username", "password", "vhost")
TIMEOUTS = ("connect_timeout", "command_timeout")
QUEUE_OPTIONS = ("quorum", "max_priority", "dead_letter_exchange", "dead_letter_routing_key")


class RabbitMQLink(Link):
    """A link on which no wait is without an end."""

    def __init__(self, connection: Connection, reply_s: float) -> None:
        self.reply_s = reply_s
        super().__init__(connection)

    def connected(self) -> None:
        self._socket = self.connection.connection.transport.sock
        self.be_patient(self.reply_s)

    def be_patient(self, reply_s: float) -> None:
        self.reply_s = reply_s
        self._socket.settimeout(reply_s)

    def close(self, problem: BaseException | None = None) -> None:
        if isinstance(problem, OSError):  # each link would wait in vain for the answer to its goodbye, and to TLS's
            with suppress(Exception):
                self._socket.settimeout(0)
                self.connection.connection.collect()
            return
        with suppress(OSError):  # it is closed already
            self._socket.settimeout(CLOSE_S)
        super().close()


class RabbitMQDriver(KombuDriver):
    """Options: ``url`` or ``host``, ``port``, ``username``, ``password``, ``vhost``; ``ssl`` (True, or
    ``ca``, ``cert``, ``key``, ``verify``, ``server_name``; ``amqps://`` is True; verified unless ``verify`` is False),
    ``heartbeat`` (seconds; 0 = none), ``quorum`` (queues of type quorum), ``max_priority`` (classic queues that were
    declared with priorities; the order of jobs does not need them), ``dead_letter_exchange`` and
    ``dead_letter_routing_key`` (where the broker puts what no worker can read), ``command_timeout`` (milliseconds to
    wait for an answer, 5000), ``connect_timeout`` (half of it), ``queue_name_prefix``.

    Without options for queues, one that exists is taken as it is, whatever it was declared with.
    """

    name = "rabbitmq"
    known_options = frozenset(
        {"url", *HOST_OPTIONS, "ssl", "heartbeat", *QUEUE_OPTIONS, *TIMEOUTS, "queue_name_prefix"}
    )

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        super().__init__(options, namespace=namespace)
        self._tls = TlsOptions.parse(self.options.get("ssl", self.url.startswith("amqps:")), "rabbitmq: 'ssl'")
        self._heartbeat = _seconds(self.options.get("heartbeat", HEARTBEAT_S), "'heartbeat' must be seconds")
        timeout = self.options.get("command_timeout", COMMAND_TIMEOUT_MS)
        self._reply_s = _seconds(timeout, "'command_timeout' must be milliseconds") / 1000
        self._blocked: list[Link] = []
        """Links that the broker reads nothing from."""
        self.quorum = switch(self.options.get("quorum") or False, "rabbitmq: 'quorum'")
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

    def after_fork(self) -> None:
        super().after_fork()
        self._blocked = []

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        if "url" in self.options:
            given = [key for key in HOST_OPTIONS if key in self.options]
            if given:
                raise ConfigurationError(f"rabbitmq: give 'url' or {given[0]!r}, not both")
            return super().connect_options()
        get = self.options.get
        parts = Connection(
            hostname=get("host", "localhost"),
            port=int(get("port", 5672)),
            userid=get("username", "guest"),
            password=get("password", "guest"),
            virtual_host=get("vhost", "/"),
            transport="pyamqp",
        )
        return str(parts.as_uri(include_password=True)), {}

    def connection(self) -> Connection:
        # A broker that is frozen is asked twice at most: over an idle link and over a new one.
        timeout = float(self.options.get("connect_timeout", self._reply_s * 500)) / 1000
        sockets = keepalive_options(self._reply_s * 1000)
        return Connection(
            self.url,
            ssl=self._tls_arguments(),
            connect_timeout=timeout,
            heartbeat=self._heartbeat,
            transport_options={**self.transport_options, "read_timeout": None, "socket_settings": sockets},
        )

    def link(self) -> Link:
        return RabbitMQLink(self.connection(), self._reply_s)

    def _tls_arguments(self) -> Any:
        """What py-amqp is to be told of TLS."""
        tls = self._tls
        if tls is None:
            return False
        files = {"ca_certs": tls.ca, "certfile": tls.cert, "keyfile": tls.key}
        if not tls.verify:
            return {**files, "cert_reqs": ssl.CERT_NONE}
        return {**files, "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": tls.server_name}

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

    def publish(self, jobs: Sequence[Ready]) -> None:
        if not jobs:
            return
        self._look_at_blocked()
        try:
            for queue in {job.queue for job in jobs}:
                self.declare(queue)
            taken = self.attempt(lambda link: self._send(link, jobs))
        except DriverUnavailable:
            self._declared.clear()  # a queue may have been deleted meanwhile
            raise
        if not taken:
            raise DriverUnavailable(self.address, BLOCKED)

    def _send(self, link: Link, jobs: Sequence[Ready]) -> bool:
        """Whether the broker took them all; it may still take them when it does not say so now."""
        confirms = Confirms.of(link)
        for start in range(0, len(jobs), BATCH):
            for job in jobs[start : start + BATCH]:
                if confirms.blocked_at is not None:
                    return False
                self.publish_one(link, job, mandatory=True)
                confirms.expect()
            confirms.collect()
        return confirms.blocked_at is None

    def _look_at_blocked(self) -> None:
        """Raises DriverUnavailable while the broker blocks those who publish. The others it serves: what a link that is
        blocked would ask for would never be answered, so nobody else is given one."""
        with self._lock:
            link = self._blocked.pop() if self._blocked else None
        if link is None:
            return
        confirms = Confirms.of(link)
        try:
            confirms.look()
        except self.errors() as problem:
            link.close(problem)
            return
        if confirms.blocked_at is not None and time.monotonic() - confirms.blocked_at > BLOCKED_S:
            link.close()
            return
        self.keep(link)
        if confirms.blocked_at is not None:
            raise DriverUnavailable(self.address, BLOCKED)

    def keep(self, link: Link) -> None:
        if isinstance(link, RabbitMQLink):
            link.be_patient(self._reply_s / 2)  # it may be dead when it is used again: the rest is for a new one
        if link.confirms is None or link.confirms.blocked_at is None:
            super().keep(link)
            return
        with self._lock:
            if link.closes == self._closes:
                self._blocked.append(link)
                return
        link.close()

    def close(self) -> None:
        super().close()
        with self._lock:
            blocked, self._blocked = self._blocked, []
        for link in blocked:
            link.close()

    def receiver(self, queue: str, slots: int) -> Receiver:
        return RabbitMQReceiver(self, queue)


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


def _name(value: Any, option: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"rabbitmq: {option!r} must be a name, not {value!r}")
    return value


def _seconds(value: Any, rule: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise ConfigurationError(f"rabbitmq: {rule}, not {value!r}")
    return seconds
