"""Options of a Redis server, as documented for the Node client, in one normal form for broker and store.

| option | meaning here |
| --- | --- |
| url, or host, port, db, username, password, ssl | where it is; ``rediss://`` or ``ssl`` for TLS |
| sentinels, name, sentinel_password | Redis Sentinel: the nodes and the master's name |
| cluster | nodes of a Redis Cluster: for the store; the broker needs a single node or Sentinel |
| connect_timeout, command_timeout | milliseconds to connect (5000) and to wait for an answer (5000) |
| max_retries_per_request | how often a command is sent again after a lost connection (0) |
| auto_resend_unfulfilled_commands | False = never send again, whatever max_retries_per_request says |
| connect_retry_strategy | function of the attempt (1, 2, ...) giving the milliseconds to wait before it |
| enable_ready_check | ask the server for a PING at start (True) |
| connection_namespace | prefix of all keys and broker queues |
| enable_offline_queue | True only: while the broker is away jobs wait in the store; there is no queue in memory |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from stratix_kombu.errors import ConfigurationError, nearest

Node = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisOptions:
    """Where a Redis server is and how to talk to it."""

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    ssl: bool = False
    sentinels: tuple[Node, ...] = ()
    name: str = ""
    sentinel_password: str | None = None
    cluster: tuple[Node, ...] = ()
    connect_timeout: float = 5000
    command_timeout: float = 5000
    max_retries_per_request: int = 0
    auto_resend_unfulfilled_commands: bool = True
    connect_retry_strategy: Callable[[int], float] | None = None
    enable_ready_check: bool = True
    connection_namespace: str = ""
    enable_offline_queue: bool = True

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> RedisOptions:
        """Options by name (snake_case); ``url`` first, the others win. Raises ConfigurationError."""
        known = {field.name for field in fields(cls)}
        for key in options:
            if key not in known and key != "url":
                raise ConfigurationError(f"unknown redis option {key!r}{nearest(key, [*known, 'url'])}")
        values = {**_from_url(options["url"]), **options} if options.get("url") else dict(options)
        values.pop("url", None)
        for key in ("sentinels", "cluster"):
            if key in values:
                values[key] = tuple(_node(key, one) for one in values[key])
        parsed = cls(**{key: _typed(key, value) for key, value in values.items() if value is not None})
        if parsed.sentinels and not parsed.name:
            raise ConfigurationError("redis: 'sentinels' needs 'name', the name of the master")
        if not parsed.enable_offline_queue:
            raise ConfigurationError(
                "redis: 'enable_offline_queue' cannot be switched off: there is no queue in memory; "
                "while the broker is away jobs wait in the store"
            )
        return parsed

    @property
    def address(self) -> str:
        """Host, port and database; the same server has the same address. Never a credential."""
        if self.cluster:
            return "cluster:" + ",".join(f"{host}:{port}" for host, port in self.cluster)
        if self.sentinels:
            return f"sentinel:{self.name}/{self.db}"
        host = "127.0.0.1" if self.host == "localhost" else self.host
        return f"{host}:{self.port}/{self.db}"

    def __repr__(self) -> str:
        return f"RedisOptions({self.address})"

    @property
    def url(self) -> str:
        """The URL Kombu's transport takes, with credentials."""
        user = quote(self.username or "", safe="")
        password = f":{quote(self.password, safe='')}@" if self.password else ("@" if user else "")
        if self.sentinels:
            return ";".join(f"sentinel://{user}{password}{host}:{port}/{self.db}" for host, port in self.sentinels)
        return f"{'rediss' if self.ssl else 'redis'}://{user}{password}{self.host}:{self.port}/{self.db}"


_INTEGERS = ("port", "db", "max_retries_per_request")
_SWITCHES = ("ssl", "auto_resend_unfulfilled_commands", "enable_ready_check", "enable_offline_queue")


def _typed(key: str, value: Any) -> Any:
    """Numbers and switches, also from text, as environment and URL give them."""
    try:
        if key in _INTEGERS:
            return int(value)
        if key in ("connect_timeout", "command_timeout"):
            return value.total_seconds() * 1000 if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError) as problem:
        raise ConfigurationError(f"redis: {key!r} must be a number, not {value!r}") from problem
    if key in _SWITCHES and not isinstance(value, bool):
        if str(value).lower() not in ("true", "false", "1", "0"):
            raise ConfigurationError(f"redis: {key!r} must be true or false, not {value!r}")
        return str(value).lower() in ("true", "1")
    if key == "connect_retry_strategy" and not callable(value):
        raise ConfigurationError(f"redis: {key!r} must be a function of the attempt, giving milliseconds")
    return value


def _from_url(url: object) -> dict[str, Any]:
    if not isinstance(url, str) or "://" not in url:
        raise ConfigurationError(f"redis: 'url' must be like redis://host:6379/0, not {type(url).__name__}")
    first, *others = url.split(";")
    try:
        parts = urlsplit(first)
        port = parts.port
        # Of several nodes, the last may carry what belongs to all.
        tail = urlsplit(others[-1] if others and "://" in others[-1] else first)
    except ValueError as problem:
        raise ConfigurationError("redis: the port in 'url' is not a number from 0 to 65535") from problem
    scheme, default = parts.scheme, 26379 if parts.scheme == "sentinel" else 6379
    node = (parts.hostname or "localhost", port or default)
    values: dict[str, Any] = dict(parse_qsl(parts.query or tail.query))
    values.update(
        {
            key: unquote(value)
            for key, value in (("username", parts.username), ("password", parts.password))
            if value
        }
    )
    database = (parts.path or tail.path).strip("/")
    if database and not database.isdigit():
        raise ConfigurationError(f"redis: the database in 'url' must be a number, not {database!r}")
    values["db"] = int(database or 0)
    if scheme == "sentinel":
        values["sentinels"] = [node, *(_node("url", one.partition("://")[2]) for one in others)]
    elif scheme == "redis+cluster":
        values["cluster"] = [node, *(_node("url", one.rpartition("/")[2] or one) for one in others)]
    elif scheme in ("redis", "rediss"):
        values.update(host=node[0], port=node[1], ssl=scheme == "rediss")
    else:
        raise ConfigurationError(f"redis: the scheme {scheme!r} of 'url' is none of redis, rediss, sentinel")
    return values


def _node(key: str, node: Any) -> Node:
    if isinstance(node, Mapping) and "host" in node:
        return str(node["host"]), int(node.get("port", 26379 if key == "sentinels" else 6379))
    if isinstance(node, str) and node:
        host, _, port = node.rpartition("@")[2].split("/")[0].partition(":")
        return host, int(port or (6379 if key == "cluster" else 26379))
    if isinstance(node, (tuple, list)) and len(node) == 2:
        return str(node[0]), int(node[1])
    raise ConfigurationError(f"redis: {key!r} must list nodes like {{'host': ..., 'port': ...}}")
