"""The driver of RabbitMQ: options, queues, publishing."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

from amqp.exceptions import NotFound, PreconditionFailed
from kombu import Connection, Queue

from stratix_kombu.config.redis_options import QUOTE_IT, keepalive_options
from stratix_kombu.config.tls import TlsOptions, switch
from stratix_kombu.drivers.contract import DriverCapabilities, Receiver, Watcher
from stratix_kombu.drivers.kombu import BATCH, KombuDriver
from stratix_kombu.drivers.link import Link
from stratix_kombu.drivers.outbox import Refused, refusal
from stratix_kombu.drivers.rabbitmq.link import RabbitMQLink, confirms_of
from stratix_kombu.drivers.rabbitmq.options import heartbeat_of, max_priority_of, name_of, prefix_of, seconds_of
from stratix_kombu.drivers.rabbitmq.outbox import RabbitMQOutbox
from stratix_kombu.drivers.rabbitmq.receiver import RabbitMQReceiver
from stratix_kombu.drivers.rabbitmq.watcher import RabbitMQWatcher, declare_many
from stratix_kombu.errors import ConfigurationError, DriverUnavailable
from stratix_kombu.model.given import query_options
from stratix_kombu.model.record import Ready

HEARTBEAT_S = 30
COMMAND_TIMEOUT_MS = 5000.0
"""How long the broker may take for an answer. It may be frozen, or gone without a word, and the connection still open:
the protocol itself would wait forever."""
WINDOW = 1_000
"""So many messages are sent over one link without the broker's word. More have to wait for it."""
READ_AFTER = 100
"""After so many messages the broker's words are read; those of the last ones by the outbox."""
WATCH_S = 5.0
"""How long queues are waited for that have nothing to do, before heartbeats are looked at."""
QUIET_S = 0.02
"""A thread that publishes without a pause reads the broker's frames itself."""
LONG_IDLE_S = 1.0
"""A link that was unused for this long may have been closed by the broker."""
BLOCKED = "it takes no messages now: it is short of memory or disk (an alarm of RabbitMQ blocks publishers)"
BLOCKED_S = 10.0
"""A connection that has been blocked for this long may be dead: another one is tried."""
HOST_OPTIONS = ("host", "port", "username", "password", "vhost")
QUERY = ("heartbeat", "login_method", "ssl")
"""Options that may follow the '?' of a URL, as Kombu calls them."""
TIMEOUTS = ("connect_timeout", "command_timeout")
QUEUE_OPTIONS = ("quorum", "max_priority", "dead_letter_exchange", "dead_letter_routing_key")


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

    _outbox: RabbitMQOutbox

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        super().__init__(options, namespace=namespace)
        prefix_of(self.prefix)
        for url in self.url.split(";"):
            name_of(Connection(url).virtual_host or "/", "vhost")
        self._tls = TlsOptions.parse(self.options.get("ssl", self.url.startswith("amqps:")), "rabbitmq: 'ssl'")
        self._heartbeat = heartbeat_of(self.options.get("heartbeat", HEARTBEAT_S))
        timeout = self.options.get("command_timeout", COMMAND_TIMEOUT_MS)
        self._reply_s = seconds_of(timeout, "'command_timeout' must be milliseconds") / 1000
        self._blocked: list[Link] = []
        """Links that the broker reads nothing from."""
        self.quorum = switch(self.options.get("quorum") or False, "rabbitmq: 'quorum'")
        self.max_priority = max_priority_of(self.options.get("max_priority"))
        if self.quorum and self.max_priority:
            raise ConfigurationError("rabbitmq: quorum queues have no 'max_priority': choose one of the two")
        self._dead_letters = {
            f"x-{option.replace('_', '-')}": name_of(self.options[option], option)
            for option in ("dead_letter_exchange", "dead_letter_routing_key")
            if option in self.options
        }
        if "dead_letter_routing_key" in self.options and "dead_letter_exchange" not in self.options:
            raise ConfigurationError(
                "rabbitmq: 'dead_letter_routing_key' needs 'dead_letter_exchange': set that too ('' is "
                "the default exchange, whose routing keys are names of queues)"
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
            url, transport_options = super().connect_options()
            return ";".join(map(self._without_query, url.split(";"))), transport_options
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

    def _without_query(self, url: str) -> str:
        """A URL without the options after its '?', which apply unless they are given beside it; Kombu reads one."""
        if "#" in url:
            raise ConfigurationError(f"rabbitmq: 'url' has a '#'; {QUOTE_IT}")
        url, _, query = url.partition("?")
        said = query_options(query, "rabbitmq: 'url'")
        for key in said:
            if key not in QUERY:
                raise ConfigurationError(
                    f"rabbitmq: {key!r} after the '?' of 'url' is not known; known: {', '.join(QUERY)}. Other options "
                    "stand beside 'url', and the virtual host in it: amqp://host:5672/vhost"
                )
        if url.startswith("amqps:") and not switch(said.get("ssl", True), "rabbitmq: 'ssl'"):
            raise ConfigurationError("rabbitmq: 'url' says amqps:// and 'ssl' is off: choose one of the two")
        method = said.pop("login_method", None)
        self.options = {**said, **self.options}
        return f"{url}?login_method={quote(method)}" if method else url

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

    def link(self) -> RabbitMQLink:
        link = RabbitMQLink(self.connection(), self._reply_s)
        link.lost = partial(self._lost, link)
        return link

    def outbox(self) -> RabbitMQOutbox:
        return RabbitMQOutbox(self)

    def _tls_arguments(self) -> Any:
        """What py-amqp needs for TLS."""
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
                f"queue {entity.name!r} exists, declared with other arguments than "
                f"{entity.queue_arguments!r}: delete it, or set the options it was declared with; the "
                f"broker's message: {error.__cause__}",
            ) from error
        try:
            self.attempt(lambda link: link.channel.queue_declare(queue=entity.name, passive=True))
        except DriverUnavailable as missing:
            if isinstance(missing.__cause__, NotFound):
                raise error from missing  # it was about the exchange
            raise
        self._declared.add(queue)

    def depth(self, queue: str) -> int | None:
        self.look_at_open(wait=True)  # what was sent before this counts
        self.declare(queue)
        name = self.queue_entity(queue).name
        return self.attempt(lambda link: int(link.channel.queue_declare(queue=name, passive=True).message_count))

    def publish(self, jobs: Sequence[Ready]) -> None:
        if not jobs:
            return
        refused = self.send_confirmed(jobs)
        if refused:
            self._declared.clear()  # a queue may have been deleted meanwhile
            raise refusal([why for _, why in refused], self.address)

    def send_confirmed(self, jobs: Sequence[Ready]) -> Refused:
        """Send them and wait for the broker's word; what it has refused, and why. Raises DriverUnavailable."""
        return self._publish(jobs, 0)

    def send_ahead(self, jobs: Sequence[Ready]) -> Refused:
        """Send them, and do not wait as long as the broker does not owe too many words."""
        return self._publish(jobs, WINDOW)

    def _publish(self, jobs: Sequence[Ready], most_open: int) -> Refused:
        self._look_at_blocked()
        try:
            for queue in {job.queue for job in jobs}:
                self.declare(queue)
            refused = self.attempt(lambda link: self._send(link, jobs, most_open))
        except DriverUnavailable:
            self._declared.clear()  # a queue may have been deleted meanwhile
            raise
        if refused is None:
            raise DriverUnavailable(self.address, BLOCKED)
        return refused

    def _send(self, link: Any, jobs: Sequence[Ready], most_open: int) -> Refused | None:
        """What the broker has refused of them so far; None if it does not take them now, though it may later."""
        confirms = confirms_of(link)
        before = confirms.last()
        try:
            for start in range(0, len(jobs), BATCH):
                if confirms.blocked_at is None:
                    page = jobs[start : start + BATCH]
                    with confirms.sending(page):
                        link.publish(page, self.broker_queue, partial(self.publish_message, link, mandatory=True))
                    if confirms.unread > READ_AFTER:
                        link.look()
                    confirms.collect(link.reply_s, most_open)
        except BaseException:
            confirms.forget(before)  # they are sent again at once, or it is reported that they were not sent
            raise
        if confirms.blocked_at is not None:
            confirms.forget(before)
            return None
        mine, refused = {id(job) for job in jobs}, confirms.take_refused()
        self._outbox.note(confirms.confirmed, [one for one in refused if id(one[0]) not in mine])
        return [one for one in refused if id(one[0]) in mine]

    # -- links on which something is not confirmed ------------------------------------------------

    def open_count(self, blocked: bool = True) -> int:
        """How many messages are not confirmed, without links that are in use; those on ``blocked`` links too."""
        with self._lock:
            links: list[Any] = [*self._idle, *(self._blocked if blocked else ())]
        return sum(link.confirms.open for link in links if link.confirms is not None)

    def look_at_open(self, wait: bool = False) -> None:
        """Read what the broker says on links that nobody has used for a moment; or ``wait`` for its word on all."""
        used = time.monotonic() - (0.0 if wait else QUIET_S)
        with self._lock:
            mine: list[Any] = self._blocked
            idle: list[Any] = self._idle
            mine += [one for one in idle if one.confirms is not None and one.confirms.open and one.used_at <= used]
            self._blocked, self._idle = [], [one for one in idle if one not in mine]
        for link in mine:
            self._look_at(link, wait)

    def _look_at(self, link: Any, wait: bool = False) -> None:
        """Read it, and keep it if it is sound."""
        confirms = confirms_of(link)
        try:
            link.look()
            if wait:
                confirms.collect(self._reply_s)
            confirms.check(self._reply_s)
        except self.errors() as problem:
            link.close(problem)
            return
        self._outbox.note(confirms.confirmed, confirms.take_refused())
        if confirms.blocked_at is not None:
            self._outbox.trouble(DriverUnavailable(self.address, BLOCKED), confirms.jobs())
            if time.monotonic() - confirms.blocked_at > BLOCKED_S:
                link.close()
                return
        self.keep(link)

    def _look_at_blocked(self) -> None:
        """Raises DriverUnavailable while the broker blocks those who publish. The others it serves: what a link that is
        blocked would ask for would never be answered, so nobody else is given one."""
        with self._lock:
            link = self._blocked.pop() if self._blocked else None
        if link is not None:
            self._look_at(link)
            if self._blocked:
                raise DriverUnavailable(self.address, BLOCKED)

    def is_usable(self, link: Any) -> bool:
        """The broker may have given it up while nobody used it."""
        if time.monotonic() - link.used_at < LONG_IDLE_S:
            return True
        try:
            link.look()
        except self.errors() as problem:
            link.close(problem)
            return False
        return True

    def keep(self, link: Any) -> None:
        link.be_patient(self._reply_s / 2)  # it may be dead when it is used again: the rest is for a new one
        link.used_at = time.monotonic()
        blocked = link.confirms is not None and link.confirms.blocked_at is not None
        with self._lock:
            if link.closes == self._closes:
                (self._blocked if blocked else self._idle).append(link)
                return
        with suppress(*self.errors()):
            confirms_of(link).collect(self._reply_s)
        link.close()

    def _lost(self, link: RabbitMQLink, jobs: Sequence[Ready]) -> None:
        if link.closes == self._closes:
            self._outbox.lost(jobs)

    def close(self) -> None:
        self._outbox.close(self._reply_s)
        super().close()
        with self._lock:
            blocked, self._blocked = self._blocked, []
        for link in blocked:
            link.close()

    def declare_all(self, queues: Iterable[str]) -> None:
        """As ``declare``, of many at once."""
        new = [queue for queue in queues if queue not in self._declared]
        if len(new) > 1:
            entities = [self.queue_entity(queue) for queue in new]
            with suppress(DriverUnavailable):  # one of them exists with other arguments: it is found below
                self.attempt(lambda link: declare_many(link, entities))
                self._declared.update(new)
        for queue in new:
            self.declare(queue)

    def watcher(self) -> Watcher:
        return RabbitMQWatcher(self, min(WATCH_S, self._heartbeat / 2 or WATCH_S))

    def receiver(self, queue: str, slots: int) -> Receiver:
        return RabbitMQReceiver(self, queue)
