"""Connections to the server, and its errors as ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import (
    ClusterError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.redis_options import RedisOptions
from stratix_kombu.model.secrets import masked

MAX_CONNECTIONS = 1024
FRESH_S = 1.0
RESENDS = 0
"""A connection that was closed while it was idle is noticed before it is used; so nothing is sent twice by default."""
MOVING_PAUSE_S = 0.02
_FAULTS = (RedisError, RedisClusterException, OSError)
_BROKEN = (RedisConnectionError, RedisTimeoutError, OSError)


def connect(options: RedisOptions) -> Any:
    """A redis-py client for the options; nothing is sent yet except to a cluster."""
    common = options.arguments()
    never = Retry(NoBackoff(), 0)  # sending again is decided in ``Client.run``
    if options.cluster:
        return RedisCluster(startup_nodes=[ClusterNode(*node) for node in options.cluster], retry=never, **common)
    common.update(db=options.db, retry=never, max_connections=MAX_CONNECTIONS)
    if options.sentinels:
        sentinel = Sentinel(options.sentinels, sentinel_kwargs={**options.sentinel_arguments(), "retry": never})
        return sentinel.master_for(options.name, **common)
    return Redis(host=options.host, port=options.port, **common)


class Client:
    """Runs commands; a server that is away or refuses us is StoreUnavailable, without credentials.

    Commands go over connections of redis-py's pool that are kept in a list of our own meanwhile: the pool's bookkeeping
    would cost a third of a command.
    """

    def __init__(self, options: RedisOptions) -> None:
        self.address = options.address
        self._secrets = (options.password, options.sentinel_password)
        self._options = options
        self._redis: Any = None
        self._lock = threading.Lock()
        self._idle: list[tuple[Any, float]] = []

    def run(self, *command: Any) -> Any:
        """Send one command. Raises NoScriptError as it is."""
        attempt = 0
        while True:
            try:
                return self._send(command)
            except NoScriptError:
                raise
            except _FAULTS as problem:
                attempt += 1
                pause_s = self._options.pause_s(attempt, RESENDS) if isinstance(problem, _BROKEN) else None
                if pause_s is None:
                    raise self.unavailable(problem) from problem
            time.sleep(pause_s)

    def _send(self, command: tuple[Any, ...]) -> Any:
        client = self._client()
        if self._options.cluster:
            return self._send_to_cluster(client, command)
        connection = self._connection(client)
        try:
            connection.send_command(*command)
            answer = connection.read_response()
        except ResponseError:
            self._idle.append((connection, time.monotonic()))
            raise
        except BaseException:
            connection.disconnect()
            client.connection_pool.release(connection)
            raise
        self._idle.append((connection, time.monotonic()))
        return answer

    def _send_to_cluster(self, client: Any, command: tuple[Any, ...]) -> Any:
        """While the slot is moved from one node to another, the command waits, as long as an answer may take."""
        deadline = time.monotonic() + self._options.command_timeout / 1000
        while True:
            try:
                return client.execute_command(*command)
            except (ClusterError, TryAgainError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(MOVING_PAUSE_S)

    def _connection(self, client: Any) -> Any:
        """An idle connection that is still sound, or one of the pool's."""
        while self._idle:
            try:
                connection, since = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            try:
                # Only one that has been idle may have been closed by the server meanwhile.
                if time.monotonic() - since < FRESH_S or not connection.can_read(timeout=0):
                    return connection
            except _BROKEN:
                pass
            connection.disconnect()
            client.connection_pool.release(connection)
        return client.connection_pool.get_connection()

    def _client(self) -> Any:
        if self._redis is None:
            with self._lock:  # a second client, once collected, would close the connections it gave
                self._redis = self._redis or connect(self._options)
        return self._redis

    def read_stream(self, key: str, cursor: str, count: int, wait_ms: int) -> list[tuple[bytes, Any]]:
        """Entries of a stream after the cursor; ``wait_ms`` is less than the time any command may take."""
        try:
            found = self._client().xread({key: cursor}, count=count, block=wait_ms or None)
        except _FAULTS as problem:
            raise self.unavailable(problem) from problem
        if not found:
            return []
        streams = found.values() if isinstance(found, Mapping) else [entries for _, entries in found]
        (entries,) = streams
        # The newer protocol puts each stream's entries into one more list.
        return entries[0] if entries and isinstance(entries[0], list) else entries

    def unavailable(self, problem: BaseException) -> StoreUnavailable:
        return StoreUnavailable(self.address, masked(f"{type(problem).__name__}: {problem}", self._secrets))

    def close(self) -> None:
        if self._redis is None:
            return
        while self._idle:
            self._idle.pop()[0].disconnect()
        self._redis.close()
