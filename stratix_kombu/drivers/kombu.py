"""What the drivers on Kombu share: connections, publishing in batches, errors; and a receiver for any transport."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kombu import Connection, Consumer, Exchange, Queue
from kombu.exceptions import KombuError, OperationalError
from kombu.utils.url import maybe_sanitize_url

from stratix_kombu import forks
from stratix_kombu.config.redis_options import QUOTE_IT
from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver, Report, TransportDriver
from stratix_kombu.drivers.folders import with_folders
from stratix_kombu.drivers.link import Link, other_message, read_any_message, said_of
from stratix_kombu.drivers.outbox import Outbox
from stratix_kombu.drivers.transports import check_import, check_scheme
from stratix_kombu.drivers.tries import Once, Tries
from stratix_kombu.errors import ConfigurationError, DriverUnavailable, nearest_option
from stratix_kombu.model.message import BODY, CONTENT_ENCODING, CONTENT_TYPE, message_headers, read_headers
from stratix_kombu.model.names import check_queue_name
from stratix_kombu.model.record import Ready
from stratix_kombu.model.secrets import in_brackets, masked

CONNECT_TIMEOUT_S = 5.0
SET_BY_TRANSPORT = frozenset({"delivery_info", "delivery_tag", "body_encoding", "exchange", "routing_key"})
BATCH = 500
"""Messages sent with one batch."""

Result = TypeVar("Result")


class KombuDriver(TransportDriver):
    """A driver on any Kombu transport, by URL.

    Options: ``url``, ``transport_options``, ``connect_timeout`` (milliseconds), ``queue_name_prefix`` (default
    ``<namespace>.``). The broker's queue is called prefix + queue name: a Celery worker with ``-Q`` takes from it too.
    """

    name = "kombu"
    known_options: frozenset[str] = frozenset({"url", "transport_options", "connect_timeout", "queue_name_prefix"})
    capabilities = DriverCapabilities(durable=True, ordered=False, priorities=False, counts=False, shared=True)

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        for key in options:
            if key not in self.known_options:
                raise ConfigurationError(f"unknown {self.name} option {key!r}{nearest_option(key, self.known_options)}")
        self.options: dict[str, Any] = dict(options)
        self.prefix: str = str(self.options.get("queue_name_prefix", f"{check_queue_name(namespace)}."))
        try:
            self.url, self.transport_options = with_folders(*self.connect_options())
            check_scheme(self.url, self.name)
            self.address = self.masked_address()
        except ConfigurationError:
            raise
        except (AttributeError, TypeError, ValueError):
            # From None: what cannot be read may be part of a password.
            raise ConfigurationError(f"{self.name}: the 'url' cannot be read; {QUOTE_IT}") from None
        self.entities: Mapping[str, Queue] = {}
        """Queues that another program declares too: they must be declared identically here."""
        self._idle: list[Link] = []
        self._declared: set[str] = set()
        self._lock = threading.Lock()
        self._closes = 0
        """How often it was closed: links of before are not kept."""
        self._outbox = self.outbox()
        forks.register(self)

    def after_fork(self) -> None:
        self._idle, self._lock = [], threading.Lock()

    # -- what a transport may say differently ---------------------------------------------------

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        """The URL and the transport options for Kombu."""
        url = self.options.get("url")
        if not isinstance(url, str) or "://" not in url:
            raise ConfigurationError(f"the {self.name} driver needs a 'url' such as sqla+sqlite:///jobs.db")
        check_import(url)
        return url, dict(self.options.get("transport_options") or {})

    def masked_address(self) -> str:
        return in_brackets(maybe_sanitize_url(self.url, mask="***"))

    def connection(self) -> Connection:
        """A new, not yet connected connection."""
        timeout = float(self.options.get("connect_timeout", CONNECT_TIMEOUT_S * 1000)) / 1000
        return Connection(self.url, transport_options=dict(self.transport_options), connect_timeout=timeout)

    def link(self) -> Link:
        """A new connection, open."""
        return Link(self.connection())

    def broker_queue(self, queue: str) -> str:
        """What the queue is called in the broker."""
        return self.prefix + queue

    def queue_entity(self, queue: str) -> Queue:
        """The queue as a Celery worker with ``-Q`` declares it: a direct exchange of the same name."""
        if queue in self.entities:
            return self.entities[queue]
        name = self.broker_queue(queue)
        return Queue(name, Exchange(name, type="direct"), routing_key=name)

    def outbox(self) -> Outbox:
        """A new one: what ``submit`` has not sent yet."""
        return Outbox(self)

    def send(self, link: Link, jobs: Sequence[Ready]) -> None:
        """Publish over one link; batches where the transport has them."""
        with link.producer.batch(max_size=BATCH):
            for job in jobs:
                self.publish_one(link, job)

    def publish_one(self, link: Link, job: Ready, **properties: Any) -> None:
        if job.message:
            self.publish_message(link, job, **properties)
            return
        permit = job.id or str(uuid.uuid4())
        link.producer.publish(
            BODY,
            exchange="",
            routing_key=self.broker_queue(job.queue),
            headers=message_headers(permit, job.name),
            content_type=CONTENT_TYPE,
            content_encoding=CONTENT_ENCODING,
            correlation_id=permit,
            delivery_mode=2,
            **properties,
        )

    def publish_message(self, link: Link, job: Ready, **properties: Any) -> None:
        """Send a message that the job brought along, as it is."""
        message = json.loads(job.message)
        own = {key: value for key, value in message["properties"].items() if key not in SET_BY_TRANSPORT}
        body = message["body"]
        if message["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body)
        link.producer.publish(
            body,
            exchange="",
            routing_key=self.broker_queue(job.queue),
            headers=message["headers"],
            content_type=message["content-type"],
            content_encoding=message["content-encoding"],
            **{**own, **properties},
        )

    # -- the contract ---------------------------------------------------------------------------

    def init(self) -> None:
        self.attempt(lambda link: link.connection.ensure_connection(max_retries=0))

    def create_queue(self, name: str, options: Mapping[str, Any]) -> Any:
        check_queue_name(name)

    def check_queue(self, name: str) -> None:
        """Raises ConfigurationError for a queue that the broker does not accept, as far as that is known."""

    def close(self) -> None:
        """It can be used again."""
        self._outbox.close()
        self._closes += 1
        self._drop_idle()

    def get_name(self) -> str:
        return self.name

    def check_health(self) -> bool:
        try:
            self.init()
        except DriverUnavailable:
            return False
        return True

    def publish(self, jobs: Sequence[Ready]) -> None:
        if not jobs:
            return
        for queue in {job.queue for job in jobs}:
            self.declare(queue)
        self.attempt(lambda link: self.send(link, jobs))

    def submit(self, jobs: Sequence[Ready], report: Report) -> bool:
        return self._outbox.submit(jobs, report)

    def depth(self, queue: str) -> int | None:
        entity = self.queue_entity(queue)

        def count(link: Link) -> int:
            # Not passive: Kombu's Redis transport does not know a queue that is empty.
            declared = link.channel.queue_declare(
                queue=entity.name, durable=True, auto_delete=False, arguments=entity.queue_arguments
            )
            return int(declared.message_count)

        self.declare(queue)
        return self.attempt(count)

    def purge(self, queue: str) -> int:
        self.declare(queue)
        return self.attempt(lambda link: int(link.channel.queue_purge(self.broker_queue(queue)) or 0))

    def serve(self, queue: str) -> None:
        """A worker of Celery in this process takes the messages of the queue."""

    def receiver(self, queue: str, slots: int) -> Receiver:
        return KombuReceiver(self, queue)

    # -- links ----------------------------------------------------------------------------------

    def declare(self, queue: str) -> None:
        """Make the queue exist, once a process."""
        if queue not in self._declared:
            self.attempt(lambda link: self.queue_entity(queue)(link.channel).declare())
            self._declared.add(queue)

    def forget(self, queue: str) -> None:
        """The queue may have been deleted: it is declared again before its next use."""
        self._declared.discard(queue)

    def attempt(self, work: Callable[[Link], Result]) -> Result:
        """Do ``work`` over a link; again over a new one if it broke: messages may then arrive twice."""
        tries, fresh = self.tries(), False
        while True:
            try:
                with self._link(fresh) as link:
                    return work(link)
            except self.errors() as problem:
                fresh = True
                self._drop_idle(problem)  # what broke one link has most likely broken the others
                pause_s = tries.pause_s(problem)
                if pause_s is None:
                    raise self.unavailable(problem) from problem
            time.sleep(pause_s)

    def tries(self) -> Tries:
        """How often, and when, a piece of work is done again."""
        return Once()

    def errors(self) -> tuple[type[BaseException], ...]:
        """What the transport raises when the broker is unreachable or refuses the connection."""
        transport = Connection(self.url).transport
        return (
            *transport.connection_errors,
            *transport.channel_errors,
            KombuError,
            OperationalError,
            OSError,
            EOFError,
        )

    def unavailable(self, problem: BaseException) -> DriverUnavailable:
        """The error for a fault, without credentials even if the library put them into its message."""
        return DriverUnavailable(self.address, masked(said_of(problem), self.secrets()))

    def secrets(self) -> Sequence[str | None]:
        """What must not appear in a message, in whatever form."""
        return [Connection(self.url).password]

    def is_usable(self, link: Link) -> bool:
        """Whether an idle link still leads to where it should."""
        return True

    def is_left_behind(self, connection: Connection) -> bool:
        """Whether another component's open connection leads to a server that is no longer the master."""
        return False

    def _drop_idle(self, problem: BaseException | None = None) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close(problem)

    @contextmanager
    def _link(self, fresh: bool) -> Iterator[Link]:
        with self._lock:
            link = self._idle.pop() if self._idle and not fresh else None
        if link is not None and not self.is_usable(link):
            link.close()
            link = None
        closes = self._closes
        link = link or self.link()
        link.closes = closes
        try:
            yield link
        except BaseException as problem:
            link.close(problem)
            raise
        self.keep(link)

    def keep(self, link: Link) -> None:
        """Keep the link for later use."""
        with self._lock:
            if link.closes == self._closes:
                self._idle.append(link)
                return
        link.close()


class KombuReceiver(Receiver):
    """Takes messages of one queue with a Kombu consumer; for transports that have no quicker way."""

    def __init__(self, driver: KombuDriver, queue: str) -> None:
        self.driver = driver
        self.queue = queue
        self.link: Link | None = None
        self.received: list[Delivery] = []
        self._errors = driver.errors()
        forks.register(self)

    def after_fork(self) -> None:
        self.link, self.received = None, []

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        with self._unavailable():
            self.driver.declare(self.queue)
            link = self.link = self.link or self.open()
            self.take(link, limit, timeout)
        received, self.received = self.received[:limit], self.received[limit:]
        return received

    def open(self) -> Link:
        """Connect and start consuming."""
        link = self.driver.link()
        read_any_message(link.channel)
        entity = self.driver.queue_entity(self.queue)(link.channel)
        self.consumer = Consumer(link.channel, [entity], on_message=self.on_message, auto_declare=False)
        self.consumer.qos(prefetch_count=1)
        self.consumer.consume()
        return link

    def take(self, link: Link, limit: int, timeout: float) -> None:
        """Wait for the first message, then take all available ones, never more than ``limit``."""
        self.consumer.qos(prefetch_count=limit)
        with suppress(socket.timeout):
            while len(self.received) < limit:
                link.connection.drain_events(timeout=0.001 if self.received else max(timeout, 0.001))

    def on_message(self, message: Any) -> None:
        job_id, problem = read_headers(message.headers)
        other = other_message(message) if self.driver.brings_tasks and job_id is None else None
        self.received.append(Delivery(job_id, message, problem, other))

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        link = self.link
        with self._unavailable():
            for delivery in deliveries:
                if link is not None and delivery.handle.channel is link.channel:  # else the broker has it back
                    delivery.handle.ack()

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        """By closing the channel: a message sent back while we consume could come straight back to us."""
        if deliveries:
            self.close()

    def tend(self) -> None:
        if self.link is not None and self.link.connection.supports_heartbeats:
            with self._unavailable():
                self.link.connection.heartbeat_check()

    def close(self) -> None:
        link, self.link, self.received = self.link, None, []
        if link is not None:
            with suppress(*self._errors):
                link.channel.close()
            link.close()

    @contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except self._errors as problem:
            link, self.link, self.received = self.link, None, []
            self.driver.forget(self.queue)
            if link is not None:
                link.close(problem)
            raise self.driver.unavailable(problem) from problem
