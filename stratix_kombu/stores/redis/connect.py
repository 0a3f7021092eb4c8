"""Connections to the server, and its errors as ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from redis import Redis
from redis.backoff import AbstractBackoff, ConstantBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import NoScriptError, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.redis_options import RedisOptions

MAX_CONNECTIONS = 256


class _Strategy(AbstractBackoff):
    """The user's ``connect_retry_strategy``: attempt (1, 2, ...) -> milliseconds."""

    def __init__(self, strategy: Callable[[int], float]) -> None:
        self._strategy = strategy

    def compute(self, failures: int) -> float:
        return max(float(self._strategy(max(failures, 1))), 0) / 1000


def connect(options: RedisOptions) -> Any:
    """A redis-py client for the options; nothing is sent yet except to a cluster."""
    retries = options.max_retries_per_request if options.auto_resend_unfulfilled_commands else 0
    strategy = options.connect_retry_strategy
    common: dict[str, Any] = {
        "username": options.username,
        "password": options.password,
        "socket_connect_timeout": options.connect_timeout / 1000,
        "socket_timeout": options.command_timeout / 1000,
        "socket_keepalive": True,
        "retry": Retry(_Strategy(strategy) if strategy else ConstantBackoff(0.05), retries),
    }
    if options.ssl:
        common["ssl"] = True
    if options.cluster:
        nodes = [ClusterNode(host, port) for host, port in options.cluster]
        del common["retry"]
        return RedisCluster(startup_nodes=nodes, **common)
    common["db"] = options.db
    if options.sentinels:
        sentinel = Sentinel(
            options.sentinels, sentinel_kwargs={"password": options.sentinel_password, "socket_timeout": 2.0}
        )
        return sentinel.master_for(options.name, **common)
    return Redis(host=options.host, port=options.port, max_connections=MAX_CONNECTIONS, **common)


class Client:
    """Runs commands; a server that is away or refuses us is StoreUnavailable, without credentials."""

    def __init__(self, options: RedisOptions, make: Callable[[RedisOptions], Any] = connect) -> None:
        self.address = options.address
        self._secrets = [one for one in (options.password, options.sentinel_password) if one]
        self._options = options
        self._make = make
        self._redis: Any = None

    def run(self, *command: Any) -> Any:
        """Send one command. Raises NoScriptError as it is."""
        try:
            if self._redis is None:
                self._redis = self._make(self._options)
            return self._redis.execute_command(*command)
        except NoScriptError:
            raise
        except (RedisError, OSError) as problem:
            raise self.unavailable(problem) from problem

    def read_stream(self, key: str, cursor: str, count: int, wait_ms: int) -> list[tuple[bytes, Any]]:
        """Entries of a stream after the cursor."""
        try:
            if self._redis is None:
                self._redis = self._make(self._options)
            found = self._redis.xread({key: cursor}, count=count, block=wait_ms or None)
        except (RedisError, OSError) as problem:
            raise self.unavailable(problem) from problem
        if not found:
            return []
        streams = found.values() if isinstance(found, Mapping) else [entries for _, entries in found]
        (entries,) = streams
        # The newer protocol puts each stream's entries into one more list.
        return entries[0] if entries and isinstance(entries[0], list) else entries  # type: ignore[no-any-return]

    def unavailable(self, problem: BaseException) -> StoreUnavailable:
        text = f"{type(problem).__name__}: {problem}"
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return StoreUnavailable(self.address, text)

    def close(self) -> None:
        if self._redis is not None:
            self._redis.close()
