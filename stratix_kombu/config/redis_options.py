"""Options of a Redis server, as documented for the Node client, in one normal form for broker and store.

| option | meaning here |
| --- | --- |
| url, or host, port, db, username, password | where it is; ``rediss://`` for TLS, ``unix:///path?db=0`` for a socket;
| | other options may follow the ``?`` of a URL, which must not contradict itself |
| ssl | True, or how to encrypt (see ``stratix_kombu.model.tls``) |
| sentinels, name, sentinel_password | Redis Sentinel: the nodes and the master's name |
| cluster, options | nodes of a Redis Cluster, for the store; ``options``: ``{"redis_options": {"password": ...}}`` |
| connect_timeout, command_timeout | milliseconds to connect (5000) and to wait for an answer (5000) |
| max_retries_per_request | how often a command is sent again when its connection is lost (1) |
| auto_resend_unfulfilled_commands | False = never send again, whatever max_retries_per_request says |
| connect_retry_strategy | function of the attempt (1, 2, ...): milliseconds to wait, None to give up (50 * n) |
| enable_ready_check | at start, wait for an answer that the server is ready, or fail (True) |
| connection_namespace | prefix of all keys and broker queues |
| enable_offline_queue | True only: while the broker is unreachable jobs wait in the store; there is no queue in memory
|"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from stratix_kombu.config.tls import TlsOptions, switch
from stratix_kombu.errors import ConfigurationError, nearest_option
from stratix_kombu.model.awaiting import check_plain
from stratix_kombu.model.given import query_options
from stratix_kombu.model.names import snake
from stratix_kombu.model.text import host_and_port, kind_of, plain_host

Node = tuple[str, int]

SOCKETS = ("unix", "redis+socket")
"""Schemes of a socket of the file system: those of redis-py, and of Kombu."""
SERVERS = ("redis", "rediss", "sentinel", *SOCKETS)
"""Schemes of what can be the broker too."""
SENTINEL_TIMEOUT_S = 1.0
LEAST_USER_TIMEOUT_MS = 10_000
"""The least time that sent data may wait for the peer's acknowledgement."""
QUOTE_IT = "in a user name or password, characters such as / @ : # ? have to be quoted, as in %2F"


def keepalive_options(timeout_ms: float) -> dict[int, int]:
    """TCP options: the kernel notices within half a minute that the peer has vanished silently."""
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
    wanted["TCP_USER_TIMEOUT"] = int(max(timeout_ms, LEAST_USER_TIMEOUT_MS))
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RedisOptions:
    """Where a Redis server is and how to talk to it."""

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    ssl: TlsOptions | None = None
    sentinels: tuple[Node, ...] = ()
    name: str = ""
    sentinel_password: str | None = None
    cluster: tuple[Node, ...] = ()
    connect_timeout: float = 5000
    command_timeout: float = 5000
    max_retries_per_request: int | None = None
    auto_resend_unfulfilled_commands: bool = True
    connect_retry_strategy: Callable[[int], float | None] | None = None
    enable_ready_check: bool = True
    connection_namespace: str = ""
    enable_offline_queue: bool = True

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> RedisOptions:
        """Options by name (camelCase too); ``url`` first, the others win. Raises ConfigurationError."""
        known = _names()
        given = _known(options, {*known, "url", "options"}, "redis option")
        given = {**_node_options(given.pop("options", None), known), **given}
        in_url = _from_url(given["url"]) if given.get("url") else {}
        values = {**in_url, **given}
        values.pop("url", None)
        for key in ("sentinels", "cluster"):
            if values.get(key) is not None:
                values[key] = _nodes(key, values[key])
        parsed = cls(**{key: _typed(key, value) for key, value in values.items() if value is not None})
        parsed._check()
        for key in ("name", "sentinel_password"):
            if in_url.get(key) and not parsed.sentinels:
                raise ConfigurationError(f"redis: {key!r} in 'url' is for sentinels, and there are none")
        return parsed

    def _check(self) -> None:
        if self.sentinels and self.cluster:
            raise ConfigurationError("redis: give 'sentinels' or 'cluster', not both")
        if self.sentinels and not self.name:
            raise ConfigurationError("redis: 'sentinels' needs 'name', the name of the master")
        if self.cluster and self.db:
            raise ConfigurationError(f"redis: a cluster has the database 0 only, not {self.db}")
        if self.ssl and self.is_local:
            raise ConfigurationError("redis: 'ssl' is not possible over a socket of the file system")
        if self.ssl and self.ssl.server_name:
            raise ConfigurationError("redis: 'ssl' has no 'server_name': the certificate must name the host")
        if not self.enable_offline_queue:
            raise ConfigurationError(
                "redis: 'enable_offline_queue' cannot be switched off: there is no queue in memory; "
                "while the broker is unreachable, jobs wait in the store"
            )

    def resends(self, default: int) -> int:
        """How often a command whose connection was lost is sent again; ``default`` if that is not configured."""
        if not self.auto_resend_unfulfilled_commands:
            return 0
        return default if self.max_retries_per_request is None else self.max_retries_per_request

    def pause_s(self, attempt: int, resends: int) -> float | None:
        """Seconds to wait before a command whose connection was lost is sent again for the ``attempt``-th time; None
        = give up. ``resends`` is how often it is sent again if ``max_retries_per_request`` is not given."""
        if attempt > self.resends(resends):
            return None
        pause_ms = self.connect_retry_strategy(attempt) if self.connect_retry_strategy else 50.0 * attempt
        if pause_ms is None:
            return None
        if isinstance(pause_ms, bool) or not isinstance(pause_ms, (int, float)):
            raise ConfigurationError(
                f"redis: 'connect_retry_strategy' must give milliseconds or None, not {pause_ms!r}"
            )
        return max(pause_ms, 0) / 1000

    def arguments(self, read_timeout: float = 0.0) -> dict[str, Any]:
        """Arguments of a redis-py client; a command may take ``read_timeout`` seconds longer to answer."""
        arguments = {
            "username": self.username,
            "password": self.password,
            "socket_connect_timeout": self.connect_timeout / 1000,
            "socket_timeout": read_timeout + self.command_timeout / 1000,
            "socket_keepalive": True,
            "socket_keepalive_options": keepalive_options(self.command_timeout),
        }
        return {**arguments, "ssl": True, **self.tls_arguments()} if self.ssl else arguments

    def tls_arguments(self) -> dict[str, Any]:
        """The TLS arguments of redis-py."""
        if self.ssl is None:
            return {}
        return {
            "ssl_cert_reqs": "required" if self.ssl.verify else "none",
            "ssl_check_hostname": self.ssl.verify,
            "ssl_ca_certs": self.ssl.ca,
            "ssl_certfile": self.ssl.cert,
            "ssl_keyfile": self.ssl.key,
        }

    def place(self, host: str, port: int) -> dict[str, Any]:
        """Arguments of a redis-py client that say where a node is."""
        return {"unix_socket_path": host} if host.startswith("/") else {"host": host, "port": port}

    def sentinel_arguments(self) -> dict[str, Any]:
        """Arguments of the clients that ask the sentinels: a dead one must not delay us for long."""
        patience = min(self.connect_timeout, self.command_timeout) / 1000
        return {
            "password": self.sentinel_password,
            "socket_connect_timeout": min(patience, SENTINEL_TIMEOUT_S),
            "socket_timeout": min(patience, SENTINEL_TIMEOUT_S),
        }

    @property
    def address(self) -> str:
        """Host, port and database; the same server has the same address. Never a credential."""
        if self.cluster:
            return "cluster:" + ",".join(host_and_port(*node) for node in self.cluster)
        if self.sentinels:
            nodes = ",".join(sorted(host_and_port(*node) for node in self.sentinels))
            return f"sentinel:{self.name}@{nodes}/{self.db}"
        if self.is_local:
            return f"unix:{self.host}/{self.db}"
        host = "127.0.0.1" if self.host == "localhost" else self.host
        return f"{host_and_port(host, self.port)}/{self.db}"

    @property
    def is_local(self) -> bool:
        """Whether it is reached over a socket of the file system, whose path is the host."""
        return self.host.startswith("/")

    def __repr__(self) -> str:
        return f"RedisOptions({self.address})"

    @property
    def url(self) -> str:
        """The URL Kombu's transport takes, with credentials."""
        user = quote(self.username or "", safe="")
        password = f":{quote(self.password, safe='')}@" if self.password else ("@" if user else "")
        if self.sentinels:
            return ";".join(f"sentinel://{user}{password}{_quoted(*node)}/{self.db}" for node in self.sentinels)
        if self.is_local:
            return f"redis+socket://{user}{password}{quote(self.host)}?virtual_host={self.db}"
        return f"{'rediss' if self.ssl else 'redis'}://{user}{password}{_quoted(self.host, self.port)}/{self.db}"


def _quoted(host: str, port: int) -> str:
    return host_and_port(quote(host, safe=":"), port)  # an IPv6 address may name an interface, after a %


_INTEGERS = ("port", "db", "max_retries_per_request")
_NUMBERS = (*_INTEGERS, "connect_timeout", "command_timeout")
_TEXTS = ("host", "username", "password", "name", "sentinel_password", "connection_namespace")
_OF_NODES = {"sentinel": "sentinels", "redis+cluster": "cluster"}
"""Schemes of several nodes, and the options that list them."""
_BEFORE_QUERY = {"host", "port", "sentinels", "cluster"}
_NODE = re.compile(r"(?:.*@)?(\[[^\]]+\]|[^:/\[\]]+)(?::(\d*))?(?:/|\Z)")
"""A node as text, as in a URL: its host, and its port."""
_SWITCHES = ("auto_resend_unfulfilled_commands", "enable_ready_check", "enable_offline_queue")


def _typed(key: str, value: Any) -> Any:
    """Numbers and switches, also from text, as environment and URL give them."""
    if key in _NUMBERS:
        return _number(key, value)
    if key in _SWITCHES:
        return switch(value, f"redis: {key!r}")
    if key == "ssl":
        return TlsOptions.parse(value, "redis: 'ssl'")
    if key == "connect_retry_strategy" and not callable(value):
        raise ConfigurationError(f"redis: {key!r} must be a function of the attempt, giving milliseconds")
    if key == "connect_retry_strategy":
        check_plain(value, f"redis: {key!r}")
    if key in _TEXTS and not isinstance(value, str):
        raise ConfigurationError(f"redis: {key!r} must be a text, not {kind_of(value)}")
    return plain_host(value) if key == "host" else value


def _number(key: str, value: Any) -> float:
    try:
        if key in _INTEGERS:
            number: float = int(value)
        else:
            number = value.total_seconds() * 1000 if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError) as problem:
        raise ConfigurationError(f"redis: {key!r} must be a number, not {value!r}") from problem
    if not 0 <= number < 1e9:
        raise ConfigurationError(f"redis: {key!r} cannot be {value!r}")
    return number


def _names() -> set[str]:
    return {field.name for field in fields(RedisOptions)}


def _known(options: Mapping[str, Any], known: set[str], what: str) -> dict[str, Any]:
    named = {snake(str(key)): value for key, value in options.items()}
    for key in named:
        if key not in known:
            raise ConfigurationError(f"unknown {what} {key!r}{nearest_option(key, known)}")
    return named


def _node_options(options: Any, known: set[str]) -> dict[str, Any]:
    """What the document nests for a cluster: ``{"redis_options": {"password": ...}}``."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise ConfigurationError("redis: 'options' must be like {'redis_options': {'password': ...}}")
    inner = _known(options, {"redis_options"}, "option in redis 'options':").get("redis_options") or {}
    if not isinstance(inner, Mapping):
        raise ConfigurationError("redis: 'redis_options' must be a mapping of options such as 'password'")
    own = known - {"host", "port", "db", "sentinels", "name", "sentinel_password", "cluster"}
    return _known(inner, own, "option in redis 'redis_options':")


def _from_url(url: object) -> dict[str, Any]:
    if not isinstance(url, str) or "://" not in url:
        fault = ": this one has no '://'" if isinstance(url, str) else f", not {kind_of(url)}"
        raise ConfigurationError(f"redis: 'url' must be like redis://host:6379/0{fault}")
    scheme = url.partition("://")[0]
    default = 26379 if scheme == "sentinel" else 6379
    try:
        parts = [urlsplit(one if "://" in one else f"{scheme}://{one}") for one in url.split(";")]
        nodes = [(unquote(part.hostname or "localhost"), part.port or default) for part in parts]
    except ValueError:
        # From None: what stands where the port should be may be part of a password.
        raise ConfigurationError(
            f"redis: the port in 'url' is not a number from 0 to 65535; {QUOTE_IT}; "
            "an IPv6 address stands in brackets, as in [::1]:6379"
        ) from None
    if any(part.fragment for part in parts):
        raise ConfigurationError(f"redis: 'url' has a '#'; {QUOTE_IT}")
    values = _from_query("&".join(part.query for part in parts if part.query), scheme)
    for key in ("username", "password"):
        said = [unquote(getattr(part, key)) for part in parts if getattr(part, key)]
        values[key] = _once(key, [*said, values.get(key)])
    if scheme in SOCKETS:
        return {**values, "host": unquote(parts[0].path)}
    databases = [part.path.strip("/") for part in parts]
    if not all(database.isdigit() for database in databases if database):
        raise ConfigurationError(f"redis: the database in 'url' must be a number; {QUOTE_IT}")
    values["db"] = _once("db", [*databases, values.get("db")])
    if len(nodes) > 1 and scheme not in _OF_NODES:
        raise ConfigurationError("redis: 'url' has a ';', and only sentinel:// and redis+cluster:// have several nodes")
    if scheme in _OF_NODES:
        values[_OF_NODES[scheme]] = nodes
    elif scheme in ("redis", "rediss"):
        given = values.get("ssl")
        values["ssl"] = _once(
            "ssl", [scheme == "rediss" or None, None if given is None else switch(given, "redis: 'ssl'")]
        )
        values.update(host=nodes[0][0], port=nodes[0][1])
    else:
        raise ConfigurationError(f"redis: the scheme {scheme!r} of 'url' must be redis, rediss, sentinel or unix")
    return values


def _from_query(query: str, scheme: str) -> dict[str, Any]:
    """The options after the '?' of a URL, as text."""
    said = query_options(query, "redis: 'url'")
    if scheme in SOCKETS and "virtual_host" in said:  # Kombu's name of the database
        said["db"] = _once("db", [said.pop("virtual_host").strip("/") or "0", said.get("db")])
    for key in _BEFORE_QUERY & said.keys():
        raise ConfigurationError(f"redis: {key!r} is said by what stands before the '?' of 'url', not after it")
    known = _known(said, _names() - _BEFORE_QUERY, "option in the redis URL")
    for key in (key for key, value in known.items() if not value):
        raise ConfigurationError(f"redis: {key!r} in 'url' has no value")
    return known


def _once(key: str, said: Iterable[Any]) -> Any:
    """What a URL says of an option, in one place or in several; None: nothing."""
    values = {value for value in said if value not in (None, "")}
    if len(values) > 1:
        raise ConfigurationError(f"redis: 'url' says {key!r} more than once, and not the same")
    return values.pop() if values else None


def _nodes(key: str, nodes: Any) -> tuple[Node, ...]:
    if not isinstance(nodes, (list, tuple)):
        raise ConfigurationError(f"redis: {key!r} must be a list of nodes, not {kind_of(nodes)}")
    return tuple(_node(key, node) for node in nodes)


def _node(key: str, node: Any) -> Node:
    try:
        return _host_and_port(key, node)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"redis: {key!r} must list nodes like {{'host': ..., 'port': ...}} or 'host:port' ('[::1]:6379' with IPv6)"
        ) from None


def _host_and_port(key: str, node: Any) -> Node:
    if isinstance(node, Mapping) and "host" in node:
        return plain_host(str(node["host"])), int(node.get("port", 26379 if key == "sentinels" else 6379))
    if isinstance(node, str) and (found := _NODE.match(node)):
        return plain_host(found[1]), int(found[2] or (6379 if key == "cluster" else 26379))
    if isinstance(node, (tuple, list)) and len(node) == 2:
        return plain_host(str(node[0])), int(node[1])
    raise TypeError(node)
