"""The Redis store: one Lua script for each transition, on a single server, Sentinel or Cluster.

All keys of a namespace begin with ``{namespace}``: the braces make them share one hash slot, so scripts may name any
of them on a cluster; several namespaces spread over its nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stratix_kombu.config.redis_options import RedisOptions
from stratix_kombu.errors import MissingExtra
from stratix_kombu.model.record import InlineQueue
from stratix_kombu.stores.contract import Store, Survey

try:
    import redis as _redis  # noqa: F401
except ImportError as problem:  # pragma: no cover - tested in a process of its own
    raise MissingExtra("redis", "redis", "the Redis store") from problem

from stratix_kombu.stores.redis.clocks import RedisClocks
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.contents import RedisContents
from stratix_kombu.stores.redis.events import RedisEventLog
from stratix_kombu.stores.redis.locks import RedisLocks
from stratix_kombu.stores.redis.queries import RedisQueries
from stratix_kombu.stores.redis.schedules import RedisSchedules
from stratix_kombu.stores.redis.scripts import Scripts
from stratix_kombu.stores.redis.survey import survey
from stratix_kombu.stores.redis.transitions import RedisTransitions


class RedisStore(Store):
    """One namespace on a Redis server; connects with the first call."""

    def __init__(self, options: RedisOptions, namespace: str) -> None:
        prefix = f"{options.connection_namespace}:" if options.connection_namespace else ""
        base = f"{{{prefix}{namespace}}}"
        self._client = Client(options)
        self._clustered = bool(options.cluster)
        self.address = f"redis://{options.address}"
        self._server = options.address
        self.ready_check = options.enable_ready_check
        # Nothing is sent again after ``command_timeout``, but it may be executed still.
        scripts = Scripts(self._client, base, int(2 * options.command_timeout), self._clustered)
        self._transitions = RedisTransitions(scripts)
        self.transitions = self._transitions
        self.queries = RedisQueries(self._client, scripts, base)
        self.schedules = RedisSchedules(self._client, scripts, self._transitions, base)
        self.events = RedisEventLog(self._client, scripts, base)
        self.locks = RedisLocks(self._client, scripts, base)
        self.contents = RedisContents(self._client, scripts, base)
        self.clocks = self._clocks = RedisClocks(self._client, scripts, base)

    def ping(self) -> None:
        self._client.run("PING", again=True)

    def survey(self) -> Survey:
        return survey(self._client)

    def close(self) -> None:
        self._clocks.close()
        self._client.close()

    def deliver_through(self, inline: InlineQueue) -> bool:
        if self._clustered or inline.address != self._server:
            return False
        self._transitions.deliver_through(inline)
        return True


def open_redis_store(options: Mapping[str, Any], *, namespace: str) -> RedisStore:
    """The namespace on the server that the options name. Raises ConfigurationError."""
    return RedisStore(RedisOptions.parse(options), namespace)
