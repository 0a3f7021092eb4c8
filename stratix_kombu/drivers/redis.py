"""Redis as the broker, in Kombu's own list format: stock Celery workers can run beside it.

Without acknowledgement emulation: a message is removed when it is taken, since the store knows which jobs were not
taken and sends their messages again. Taking up to ``limit`` messages is one round trip, blocking too (``BLMPOP``, Redis
7; older servers take two)."""

from __future__ import annotations

import json
import time
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from kombu import Connection

from stratix_kombu import forks
from stratix_kombu.config.redis_options import Node, RedisOptions
from stratix_kombu.drivers.contract import Delivery, DriverCapabilities, Receiver, Watcher
from stratix_kombu.drivers.kombu import KombuDriver
from stratix_kombu.drivers.link import Link
from stratix_kombu.errors import ConfigurationError, DriverUnavailable, MissingExtra
from stratix_kombu.model.message import BODY, CONTENT_ENCODING, CONTENT_TYPE, FIXED_HEADERS, read_envelope
from stratix_kombu.model.record import InlineQueue

try:
    from kombu.transport import redis as _transport
    from redis import Redis
    from redis.exceptions import RedisError, ResponseError

    from stratix_kombu.config.redis_server import Sentinels, Tries, is_refusal, never
    from stratix_kombu.drivers.redis_watcher import RedisWatcher
except (ImportError, AttributeError) as problem:  # Kombu's module itself trips over redis when it is missing
    raise MissingExtra("redis", "redis", "the Redis driver") from problem

STEPS: Sequence[int] = _transport.PRIORITY_STEPS
SEPARATOR: str = _transport.Channel.sep

_OF_LISTS = ("priority_steps", "sep")
PATIENCE_S = 5.0
SENTINEL_PATIENCE_S = 1.0
"""How long an idle worker blocks in one command."""
WATCH_S = 10.0
"""How long it is for queues that have nothing to do."""
UNBLOCK_S = 0.01


def priority_suffixes(steps: Sequence[int] = STEPS, separator: str = SEPARATOR) -> tuple[str, ...]:
    """What Kombu appends to a list's key for each priority 0..9: one list for every step."""
    chosen = [steps[bisect(steps, priority) - 1] for priority in range(10)]
    return tuple(f"{separator}{step}" if step else "" for step in chosen)


class RedisDriver(KombuDriver):
    """Options as for the store (see ``stratix_kombu.model.redis_options``), and ``queue_name_prefix``; besides what
    Kombu calls ``priority_steps`` and ``sep``, which say the names of the lists for priorities."""

    name = "redis"
    capabilities = DriverCapabilities(durable=True, ordered=True, priorities=True, counts=True, shared=True)

    def __init__(self, options: Mapping[str, Any], *, namespace: str) -> None:
        given = {key: value for key, value in options.items() if key not in (*_OF_LISTS, "queue_name_prefix")}
        self.server = RedisOptions.parse(given)
        if self.server.cluster:
            raise ConfigurationError(
                "redis: the broker cannot be a cluster, because the lists of one queue would be on "
                "different nodes: give the driver a single node or Sentinel, and the cluster as 'store'"
            )
        space = f"{self.server.connection_namespace}:" if self.server.connection_namespace else ""
        prefix = options.get("queue_name_prefix", f"{space}{namespace}.")
        self.known_options = frozenset({"queue_name_prefix"})
        self._of_lists = {key: options[key] for key in _OF_LISTS if key in options}
        steps, separator = self._of_lists.get("priority_steps", STEPS), self._of_lists.get("sep", SEPARATOR)
        self._suffixes = priority_suffixes(steps, separator)
        self._sentinels: Sentinels | None = None
        super().__init__({"queue_name_prefix": prefix}, namespace=namespace)

    def connect_options(self) -> tuple[str, dict[str, Any]]:
        sockets = {key: value for key, value in self.server.arguments().items() if key.startswith("socket_")}
        sockets["socket_timeout"] /= 2  # the other half is for a second try over a new link
        return self.server.url, {"ack_emulation": False, **self._of_lists, **sockets}

    def connection(self) -> Connection:
        host, port = self.master()
        url = replace(self.server, host=host, port=port, sentinels=(), name="").url
        # Kombu would not verify the server of a rediss:// URL.
        return Connection(url, transport_options=dict(self.transport_options), ssl=self.server.tls_arguments() or False)

    def master(self) -> Node:
        """The server's address now. Raises redis's ConnectionError if the sentinels know of none."""
        if not self.server.sentinels:
            return self.server.host, self.server.port
        return self._following().master()

    def _following(self) -> Sentinels:
        sentinels = self._sentinels
        if sentinels is None:
            sentinels = self._sentinels = Sentinels.of(self.server)
        return sentinels

    def link(self) -> Link:
        leads_to = self.master()
        link = super().link()
        link.leads_to = leads_to
        return link

    def is_usable(self, link: Link) -> bool:
        return bool(link.leads_to == self.master())

    def is_left_behind(self, connection: Connection) -> bool:
        if not self.server.sentinels:
            return False
        sentinels = self._following()
        sentinels.begin()
        leads_to = connection.default_channel.client.connection
        return sentinels.known not in (None, (leads_to.host, leads_to.port)) if leads_to is not None else False

    def tries(self) -> Tries:
        return Tries(self.server)

    def close(self) -> None:
        super().close()
        self._sentinels = None

    def masked_address(self) -> str:
        return f"redis://{self.server.address}"

    def init(self) -> None:
        if self.server.enable_ready_check:
            self.attempt(lambda link: link.channel.client.ping())

    def errors(self) -> tuple[type[BaseException], ...]:
        return (*super().errors(), RedisError)

    def secrets(self) -> Sequence[str | None]:
        return (self.server.password, self.server.sentinel_password)

    def depth(self, queue: str) -> int | None:
        keys = self.list_keys(queue)
        return self.attempt(lambda link: sum(int(link.channel.client.llen(key)) for key in keys))

    def purge(self, queue: str) -> int:
        waiting = self.depth(queue) or 0
        self.attempt(lambda link: link.channel.client.delete(*self.list_keys(queue)))
        return waiting

    def receiver(self, queue: str, slots: int) -> Receiver:
        return RedisReceiver(self, queue)

    def watcher(self) -> Watcher:
        return RedisWatcher(self, SENTINEL_PATIENCE_S if self.server.sentinels else WATCH_S)

    def inline_queue(self) -> InlineQueue | None:
        hole = "\x00"  # in no name, so what stands where is never in doubt
        message = {
            "body": BODY,
            "content-encoding": CONTENT_ENCODING,
            "content-type": CONTENT_TYPE,
            "headers": {**FIXED_HEADERS, "id": hole},
            "properties": {
                "delivery_tag": hole,
                "delivery_info": {"exchange": "", "routing_key": hole},
                "delivery_mode": 2,
                "priority": 0,
            },
        }
        text = json.dumps(message, separators=(",", ":")).replace("%", "%%").replace("\\u0000", "%s")
        return InlineQueue(self.server.address, self.prefix, self._suffixes, text)

    def list_keys(self, queue: str) -> list[str]:
        """The broker's lists of a queue, the most urgent first."""
        return [self.broker_queue(queue) + suffix for suffix in dict.fromkeys(self._suffixes)]

    def client(self, read_timeout: float) -> Any:
        """A client of its own, whose reads may block for ``read_timeout`` seconds."""
        host, port = self.master()
        arguments = self.server.arguments(read_timeout)
        return Redis(**self.server.place(host, port), db=self.server.db, retry=never(), **arguments)


class RedisReceiver(Receiver):
    """Pops messages; returned ones go where they would be popped next. An idle worker blocks in one command for
    seconds, which another connection ends when the worker stops. Where that is forbidden (``CLIENT UNBLOCK``), it polls
    more often, and also with Sentinel, since the master may change."""

    def __init__(self, driver: RedisDriver, queue: str) -> None:
        self.patience = SENTINEL_PATIENCE_S if driver.server.sentinels else PATIENCE_S
        self._driver = driver
        self._stopped = self._blocked = False
        self._client_id: int | None = None
        self._keys = driver.list_keys(queue)
        self._client: Any = None
        self._leads_to: Node | None = None
        self._pop: Callable[[int, float], list[tuple[str, bytes]]] = self._pop_many
        self._undecided: dict[int, Delivery] = {}
        forks.register(self)

    def after_fork(self) -> None:
        client, self._client, self._client_id = self._client, None, None
        self._undecided = {}
        if client is not None:
            forks.abandon_pool(client.connection_pool)

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        try:
            if self._client is not None and self._leads_to != self._driver.master():
                self._drop()
            if self._client is None:
                self._open()
            self._blocked = True
            popped = [] if self._stopped else self._pop(limit, min(timeout, self.patience))
        except ResponseError as problem:
            if "unknown command" not in str(problem).lower() or self._pop == self._pop_one:
                if is_refusal(problem):
                    self._drop()
                raise self._driver.unavailable(problem) from problem
            self._pop = self._pop_one
            return []
        except (RedisError, OSError) as problem:
            self._drop()
            raise self._driver.unavailable(problem) from problem
        finally:
            self._blocked = False
        received = [_delivery(key, raw, self._driver.brings_tasks) for key, raw in popped]
        self._undecided.update((id(one), one) for one in received)
        return received

    def adopt(self, deliveries: Sequence[Delivery]) -> None:
        self._undecided.update((id(one), one) for one in deliveries)

    def _open(self) -> None:
        self._leads_to = self._driver.master()
        self._client = self._driver.client(self.patience)
        try:
            self._client_id = int(self._client.client_id())
        except ResponseError:
            self._client_id, self.patience = None, Receiver.patience

    def interrupt(self) -> None:
        self._stopped = True
        client_id, deadline = self._client_id, time.monotonic() + self.patience
        with suppress(DriverUnavailable):
            while client_id is not None and self._blocked and time.monotonic() < deadline:
                # It may be on its way to the server, and not blocked there yet.
                if self._driver.attempt(lambda link: link.channel.client.client_unblock(client_id)):
                    break
                time.sleep(UNBLOCK_S)

    def _pop_many(self, limit: int, timeout: float) -> list[tuple[str, bytes]]:
        keys = self._keys
        pop = ("BLMPOP", timeout) if timeout > 0 else ("LMPOP",)
        answer = self._client.execute_command(*pop, len(keys), *keys, "RIGHT", "COUNT", limit)
        return [(answer[0].decode(), raw) for raw in answer[1]] if answer else []

    def _pop_one(self, limit: int, timeout: float) -> list[tuple[str, bytes]]:
        answer = self._client.execute_command("BRPOP", *self._keys, max(timeout, 0.01))
        if not answer:
            return []
        key = answer[0].decode()
        more = (self._client.execute_command("RPOP", key, limit - 1) or []) if limit > 1 else []
        return [(key, raw) for raw in (answer[1], *more)]

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._undecided.pop(id(delivery), None)

    def give_back(self, deliveries: Sequence[Delivery]) -> None:
        mine = [one for one in deliveries if self._undecided.pop(id(one), None) is not None]
        if not mine:
            return
        try:
            if self._client is None:
                self._open()
            with self._client.pipeline(transaction=False) as pipeline:
                for delivery in reversed(mine):
                    pipeline.rpush(*delivery.handle)
                pipeline.execute()
        except (RedisError, OSError) as problem:
            self._drop()
            raise self._driver.unavailable(problem) from problem

    def close(self) -> None:
        try:
            self.give_back(list(self._undecided.values()))
        except ConnectionError:
            self._undecided.clear()
        self._drop()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _delivery(key: str, raw: bytes, tasks: bool = False) -> Delivery:
    read = read_envelope(raw, tasks)
    return Delivery(read.job_id, (key, raw), read.problem, read.other)
