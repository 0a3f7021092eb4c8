"""Connections to the server: kept while they are sound, and dropped together when one of them reports a change."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from redis import Redis
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisError

from stratix_kombu import forks
from stratix_kombu.config.redis_options import Node, RedisOptions
from stratix_kombu.config.redis_server import Sentinels, never
from stratix_kombu.stores.redis.eviction import look

FRESH_S = 1.0
"""How long after its last answer a connection is assumed to be open."""
IDLE_S = 30.0
"""After this time a new connection is opened instead: something on the way may have dropped the old one silently."""


def cluster_client(options: RedisOptions) -> Any:
    nodes = [ClusterNode(*node) for node in options.cluster]
    return RedisCluster(startup_nodes=nodes, retry=never(), **options.arguments())


@dataclass(slots=True)
class Pooled:
    """A connection, and of which generation it is."""

    connection: Any
    generation: int
    since: float = 0.0
    """When it was used last."""


class Pool:
    """Connections that are used by one thread at a time.

    One that breaks, or learns that its server takes no writes, ends its whole generation: the idle ones are closed at
    once, the others when they come back. So does another master's address.

    Each waits half of ``command_timeout`` for bytes: whoever reads can decide then whether to go on waiting or to ask
    again elsewhere.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._pool: Any = None
        self._lock = threading.Lock()
        self._idle: list[Pooled] = []
        self._generation = 0
        self._looked = False
        """Whether the server was asked what it does when its memory is full."""
        self._opened: WeakSet[Any] = WeakSet()
        self._sentinels: Sentinels | None = None
        self._master: Node | None = None
        """The address that the connections of this generation lead to, with sentinels."""
        forks.register(self)

    def after_fork(self) -> None:
        """Those that other threads were using are closed too: else the server would keep them when the parent ends."""
        pool, self._pool = self._pool, None
        opened, self._opened = self._opened, WeakSet()
        self._lock, self._idle = threading.Lock(), []
        self._generation += 1
        for connection in opened:
            connection.disconnect()  # of another process's connection it closes the copy only
        if pool is not None:
            forks.abandon_pool(pool)

    def acquire(self, left_s: float) -> Pooled:
        """An idle connection that is still sound, or a new one, which is open within ``left_s`` seconds."""
        if self._options.sentinels:
            self._follow_master()
        while self._idle:
            try:
                pooled = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if self._is_sound(pooled):
                return pooled
            pooled.connection.disconnect()
        return self._open(left_s)

    def release(self, pooled: Pooled) -> None:
        """Keep it for others, unless it is of an earlier generation."""
        if pooled.generation == self._generation:
            pooled.since = time.monotonic()
            self._idle.append(pooled)
        else:
            pooled.connection.disconnect()

    def is_current(self, pooled: Pooled) -> bool:
        """Whether others are still given connections of its generation."""
        return pooled.generation == self._generation

    def renew(self, pooled: Pooled) -> None:
        """Use no connection of its generation again; that of a later one is nothing to it."""
        if pooled.generation == self._generation:
            self.end_generation()

    def close(self) -> None:
        """The pool can be used again."""
        self.end_generation()
        self._sentinels = None

    def end_generation(self) -> None:
        with self._lock:
            self._generation += 1
            gone, self._idle = self._idle, []
        for pooled in gone:
            pooled.connection.disconnect()

    def _is_sound(self, pooled: Pooled) -> bool:
        idle_s = time.monotonic() - pooled.since
        if pooled.generation != self._generation or idle_s > IDLE_S:
            return False
        if idle_s < FRESH_S:
            return True
        # Only one that has been idle may have been closed by the server meanwhile.
        with suppress(RedisError, OSError):
            return not pooled.connection.can_read(timeout=0)
        return False

    def _open(self, left_s: float) -> Pooled:
        generation = self._generation
        pool = self._connections()
        own: dict[str, Any] = {"socket_connect_timeout": min(self._options.connect_timeout / 1000, max(left_s, 0.001))}
        if self._sentinels is not None:
            own["host"], own["port"] = self._sentinels.master()
        connection = pool.connection_class(**{**pool.connection_kwargs, **own})
        self._opened.add(connection)
        try:
            connection.connect()
            if not self._looked:
                look(connection, self._options.address)
                self._looked = True
        except BaseException:
            connection.disconnect()
            raise
        return Pooled(connection, generation)

    def _connections(self) -> Any:
        """redis-py's pool, which knows how to make a connection."""
        if self._pool is None:
            with self._lock:
                self._pool = self._pool or self._client().connection_pool
        return self._pool

    def _client(self) -> Any:
        options = self._options
        common = {**options.arguments(), "db": options.db, "retry": never()}
        common["socket_timeout"] /= 2
        return Redis(**options.place(options.host, options.port), **common)

    def _follow_master(self) -> None:
        sentinels = self._sentinels
        if sentinels is None:
            sentinels = self._sentinels = Sentinels.of(self._options)
        master = sentinels.known
        if master is not None and master != self._master:
            self.end_generation()
            self._master = master
