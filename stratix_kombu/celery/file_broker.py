"""A SQLite or PostgreSQL store as the broker of Celery workers: ``broker_url = "stratix+sqlite:///jobs.db"`` or
``"stratix+postgresql://..."``.

A Kombu transport whose messages are in the store. A message is gone when it is taken, as with Redis here: the
store knows which jobs were not claimed, and sends theirs again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport.virtual.exchange import STANDARD_EXCHANGE_TYPES
from kombu.utils.url import maybe_sanitize_url

from stratix_kombu.drivers.contract import DriverCapabilities, Receiver
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.stores.contract import Mail
from stratix_kombu.stores.registry import open_store

SCHEMES = ("stratix+sqlite", "stratix+postgresql")
"""Kombu takes what is before the plus for the transport, and the rest for its URL."""
PREFIX = "stratix+"
NAMESPACE = "stratix_namespace"
"""The transport option that says in which namespace of a database the messages are."""
TOLD_MS = 60_000
"""How long messages to all workers are kept: some workers may be gone."""
PATIENCE_S = 1.0
_mails: dict[tuple[str, str], Mail] = {}


def mail_of(url: str, namespace: str) -> Mail:
    """The messages in a store: one for all connections of this process. A file has one namespace, whatever it is."""
    from stratix_kombu.stores.sqlite import open_mail

    key = url, namespace
    if key not in _mails:
        mail = open_mail(url) if url.startswith("sqlite:") else open_store(url, namespace=namespace).mail
        assert mail is not None
        _mails[key] = mail
    return _mails[key]


class Channel(virtual.Channel):
    """Its queues and bindings are in the store."""

    supports_fanout = True

    @property
    def mail(self) -> Mail:
        """Where the messages are."""
        found: Mail = self.connection.mail
        return found

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        body = self.mail.get(queue)
        if body is None:
            raise Empty
        return json.loads(body)

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        self.mail.put([queue], json.dumps(message), self._get_message_priority(message))

    def _put_fanout(self, exchange: str, message: Any, routing_key: str, **kwargs: Any) -> None:
        self.mail.put([one[2] for one in self.mail.bindings(exchange)], json.dumps(message), ttl_ms=TOLD_MS)

    def _size(self, queue: str) -> int:
        return self.mail.size(queue)

    def _purge(self, queue: str) -> int:
        return self.mail.purge(queue)

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        self.mail.bind(exchange, (routing_key or "", pattern or "", queue or ""))

    def _delete(self, queue: str, *args: Any, **kwargs: Any) -> None:
        self.mail.forget(queue)

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """Where an exchange leads."""
        return self.mail.bindings(exchange)


class Transport(virtual.Transport):
    """Waits for what is written into the store, and polls nothing."""

    Channel = Channel
    driver_type = driver_name = "stratix"
    default_port = 0
    connection_errors = (*virtual.Transport.connection_errors, StoreUnavailable)
    implements = virtual.Transport.implements.extend(
        asynchronous=False, exchange_type=frozenset(STANDARD_EXCHANGE_TYPES)
    )

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.mail = mail_of(client.hostname, client.transport_options.get(NAMESPACE, "stratix"))

    def drain_events(self, connection: Any, timeout: float | None = None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = self.mail.changes()
            try:
                self.cycle.get(self._deliver, timeout=timeout)
            except Empty:
                left = PATIENCE_S if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError from None
                self.mail.wait(seen, min(left, PATIENCE_S))
            else:
                return

    def driver_version(self) -> str:
        return "stratix"


TRANSPORT_ALIASES.setdefault("stratix", f"{__name__}:Transport")


class FileDriver(KombuDriver):
    """For the bridge: jobs and their messages are in one store."""

    known_options = frozenset({"url", "queue_name_prefix"})
    capabilities = DriverCapabilities(durable=True, ordered=True, priorities=True, counts=True, shared=True)

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        self._url = str(options["url"])
        self.name = self._url.partition(":")[0]
        self._namespace = namespace
        super().__init__(options, namespace=namespace)

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        return f"{PREFIX}{self._url}", {NAMESPACE: self._namespace}

    def serve(self, queue: str) -> None:
        with self._unavailable():
            mail_of(self._url, self._namespace).serve(queue)

    def receiver(self, queue: str, slots: int) -> Receiver:
        self.serve(queue)
        return super().receiver(queue, slots)

    @contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as problem:
            raise self.unavailable(problem) from problem

    def masked_address(self) -> str:
        return str(maybe_sanitize_url(self._url.partition("?")[0]))

    def errors(self) -> tuple[type[BaseException], ...]:
        return (*super().errors(), StoreUnavailable)
