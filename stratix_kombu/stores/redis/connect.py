"""Commands to the server, sent again where that is safe, and its errors as ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    ClusterError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError as RedisTimeoutError,
    TryAgainError,
)

try:
    from hiredis import pack_command
except ImportError:
    pack_command = None  # type: ignore[assignment]

from stratix_kombu import forks
from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.config.redis_server import Tries, is_refusal
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.pauses import stood_still
from stratix_kombu.model.secrets import masked
from stratix_kombu.stores.redis.eviction import look_at_cluster
from stratix_kombu.stores.redis.pool import Pool, Pooled, cluster_client

MOVING_PAUSE_S = 0.02
_FAULTS = (RedisError, RedisClusterException, OSError)


def _packed(connection: Any, command: tuple[Any, ...]) -> list[bytes]:
    """The bytes of a command whose name is one word; in less than half the time that the connection takes for it."""
    return [pack_command(command)] if pack_command is not None else connection.pack_command(*command)


def _answer(connection: Any, give_up_at: float) -> Any:
    """The connection's own patience is for half an answer: see ``pool``."""
    while True:
        began = time.monotonic()
        try:
            return connection.read_response(disconnect_on_error=False)
        except RedisTimeoutError:
            now = time.monotonic()
            if stood_still(now - began, connection.socket_timeout):
                give_up_at += now - began
            if now >= give_up_at:
                raise


def _streams(found: Any) -> Iterable[tuple[bytes, Any]]:
    """An answer to XREAD, which has a form for each version of the protocol."""
    return found.items() if isinstance(found, Mapping) else found or ()


class Client:
    """Runs commands; a server that is away or refuses us is StoreUnavailable, without credentials."""

    def __init__(self, options: RedisOptions) -> None:
        self.address = options.address
        self._secrets = (options.password, options.sentinel_password)
        self._options = options
        self._pool = Pool(options)
        self._cluster: Any = None
        self._lock = threading.Lock()
        forks.register(self)

    def after_fork(self) -> None:
        cluster, self._cluster, self._lock = self._cluster, None, threading.Lock()
        if cluster is not None:
            for node in cluster.get_nodes():
                if node.redis_connection is not None:
                    forks.abandon_pool(node.redis_connection.connection_pool)
            forks.keep(cluster)

    def run(self, *command: Any, again: bool = False, meanwhile: Callable[[], object] | None = None) -> Any:
        """Send one command. Raises StoreUnavailable, and NoScriptError as it is.

        ``again``: sending it twice does no harm, so it is sent again over a new connection when its answer is lost.
        Without it, it is sent again only when it was surely not executed. All of it ends within ``command_timeout``;
        pauses that the options ask for come on top.

        ``meanwhile`` is called each time it was sent, before the answer is read.
        """
        return self._try(Tries(self._options, again), command, meanwhile)

    def _try(self, tries: Tries, command: tuple[Any, ...], meanwhile: Callable[[], object] | None = None) -> Any:
        while True:
            try:
                return self._send(tries, command, meanwhile)
            except NoScriptError:
                raise
            except _FAULTS as problem:
                pause_s = tries.pause_s(problem)
                if pause_s is None:
                    raise self.unavailable(problem) from problem
            time.sleep(pause_s)

    def _send(self, tries: Tries, command: tuple[Any, ...], meanwhile: Callable[[], object] | None) -> Any:
        tries.executed = False
        if self._options.cluster:
            if meanwhile is not None:
                meanwhile()
            tries.executed = True
            return self._send_to_cluster(tries, command)
        held = self._pool.acquire(tries.left_s())
        try:
            held.connection.send_packed_command(_packed(held.connection, command))
            tries.executed = True  # the server ignores a command that was not sent completely
            if meanwhile is not None:
                meanwhile()
            answer = _answer(held.connection, tries.answer_by())
        except _FAULTS as problem:
            if is_refusal(problem) or not isinstance(problem, ResponseError):
                # What broke one connection has most likely broken the others; and another server may be in charge.
                self._pool.renew(held)
            self._pool.release(held)
            raise
        except BaseException:
            held.connection.disconnect()
            raise
        self._pool.release(held)
        return answer

    def _send_to_cluster(self, tries: Tries, command: tuple[Any, ...]) -> Any:
        """While the slot is moved from one node to another, the command waits, as long as an answer may take."""
        client = self._cluster_client()
        while True:
            try:
                return client.execute_command(*command)
            except (ClusterError, TryAgainError):
                if tries.left_s() <= 0:
                    raise
            time.sleep(MOVING_PAUSE_S)

    def _cluster_client(self) -> Any:
        if self._cluster is None:
            with self._lock:  # a second client, once collected, would close the connections it gave
                if self._cluster is None:
                    client = cluster_client(self._options)
                    look_at_cluster(client, self.address)
                    self._cluster = client
        return self._cluster

    def read_streams(
        self, cursors: Mapping[str, str], count: int, wait_ms: int
    ) -> dict[str, list[tuple[bytes, dict[bytes, bytes]]]]:
        """Entries of streams after the cursors, by key, as (id, fields)."""
        block = ("BLOCK", wait_ms) if wait_ms else ()
        command = ("XREAD", "COUNT", count, *block, "STREAMS", *cursors, *cursors.values())
        if self._options.cluster:
            return self._read_of_cluster(cursors, count, wait_ms)
        found = self._try(Tries(self._options, True, wait_ms / 1000), command)
        return {
            key.decode(): [(entry[0], dict(zip(entry[1][::2], entry[1][1::2], strict=True))) for entry in entries]
            for key, entries in _streams(found)
        }

    def _read_of_cluster(self, cursors: Mapping[str, str], count: int, wait_ms: int) -> dict[str, Any]:
        """By the client, which reads the answer."""
        try:
            found = self._cluster_client().xread(dict(cursors), count=count, block=wait_ms or None)
        except _FAULTS as problem:
            raise self.unavailable(problem) from problem
        # The newer protocol puts each stream's entries into one more list.
        return {
            key.decode(): entries[0] if entries and isinstance(entries[0], list) else entries
            for key, entries in _streams(found)
        }

    @property
    def follows_sentinels(self) -> bool:
        """Whether another server may be in charge soon."""
        return bool(self._options.sentinels)

    def line(self, key: str) -> Pooled:
        """A connection of the caller's own to the server that has the key. Raises errors of redis, and OSError."""
        if not self._options.cluster:
            return self._pool.acquire(Tries(self._options).left_s())
        pool = self._cluster_client().get_node_from_key(key).redis_connection.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        connection.connect()
        return Pooled(connection, 0)

    def is_current(self, line: Pooled) -> bool:
        """Whether it leads to where commands are sent now, as far as is known."""
        return bool(self._options.cluster) or self._pool.is_current(line)

    def unavailable(self, problem: BaseException) -> StoreUnavailable:
        said = masked(f"{type(problem).__name__}: {problem}", self._secrets)
        if isinstance(problem, AuthenticationError) and not self._options.password:
            said = "AuthenticationError: it asks for a password, and none is configured"
        return StoreUnavailable(self.address, said)

    def close(self) -> None:
        """It can be used again."""
        self._pool.close()
        with self._lock:
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()
