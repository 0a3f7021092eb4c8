"""The URL of a database, and its options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.model.given import milliseconds, query_options
from stratix_kombu.model.names import snake
from stratix_kombu.model.text import host_and_port

TIMEOUT_MS = 5_000
POOL_SIZE = 8
KNOWN = ("migrate", "pool_size", "prepare", "schema", "timeout")
DEFAULT_NAMESPACE = "stratix"
IDENTIFIER_BYTES = 63
DEAD_AFTER_S = 30
"""A peer that says nothing any more is given up after that time."""
_LIBPQ = {
    "application_name": "stratix_kombu",
    "client_encoding": "utf8",
    "target_session_attrs": "read-write",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": str(DEAD_AFTER_S * 1000),
}


@dataclass(frozen=True, slots=True)
class PostgresOptions:
    """Where the database is, and how it is used."""

    connect: Mapping[str, Any] = field(repr=False)
    """What libpq is given."""
    address: str
    namespace: str
    schema: str
    """The tables of the namespace are in it, and of no other one."""
    timeout_ms: int = TIMEOUT_MS
    """How long a step may take, and wait for those of others."""
    pool_size: int = POOL_SIZE
    """Connections of this process; one more listens."""
    migrate: bool = False
    """Whether the tables are made when they are needed."""
    prepare: bool | None = None
    """Whether statements are prepared; None: unless there is a pooler between."""

    @property
    def quoted_schema(self) -> str:
        return quoted(self.schema)

    @property
    def channel(self) -> str:
        """What is notified, and listened to."""
        return self.schema

    def without_password(self, said: str) -> str:
        password = str(self.connect.get("password") or "")
        return said.replace(password, "***") if password else said


def quoted(name: str) -> str:
    """As an identifier."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def schema_of(namespace: str) -> str:
    """The schema of a namespace."""
    name = namespace if namespace == DEFAULT_NAMESPACE else f"{DEFAULT_NAMESPACE}_{namespace}"
    if len(name) <= IDENTIFIER_BYTES:
        return name
    digest = sha256(name.encode()).hexdigest()[:12]
    return f"{name[: IDENTIFIER_BYTES - 13]}_{digest}"


def read_options(given: Mapping[str, Any], namespace: str) -> PostgresOptions:
    """The options of ``postgresql://user:password@host:5432/database?migrate=auto``; what is not ours is libpq's.
    Raises ConfigurationError."""
    url, _, query = str(given["url"]).partition("?")
    more = {key: given[key] for key in given if key != "url"}
    said = {**query_options(query, "the URL of the PostgreSQL store"), **more}
    ours = {snake(key): value for key, value in said.items() if snake(key) in KNOWN}
    theirs = {key: value for key, value in said.items() if snake(key) not in KNOWN}
    for key in more:
        if snake(key) not in KNOWN:
            raise ConfigurationError(f"unknown option {key!r} of the PostgreSQL store{nearest(key, KNOWN)}")
    try:
        found = conninfo_to_dict(f"{url}?{urlencode(theirs)}" if theirs else url)
    except psycopg.Error as problem:
        hint = "".join(nearest(key, KNOWN) for key in theirs)
        reason = str(problem).strip() if theirs else "it cannot be read"
        raise ConfigurationError(f"the URL of the PostgreSQL store: {_without(url, reason)}{hint}") from None
    timeout_ms = _milliseconds(ours.get("timeout", TIMEOUT_MS))
    connect: dict[str, Any] = {**_LIBPQ, "connect_timeout": max(timeout_ms // 1000, 2), **found}
    return PostgresOptions(
        connect=connect,
        address=_address(found),
        namespace=namespace,
        schema=str(ours.get("schema") or schema_of(namespace)),
        timeout_ms=timeout_ms,
        pool_size=_size(ours.get("pool_size", POOL_SIZE)),
        migrate=_one_of("migrate", ours.get("migrate", "never"), ("never", "auto")) == "auto",
        prepare=_one_of("prepare", ours["prepare"], ("on", "off")) == "on" if "prepare" in ours else None,
    )


def _without(url: str, reason: str) -> str:
    """The reason without the credentials of the URL."""
    credentials = re.search(r"//([^/@]*)@", url)
    return reason.replace(credentials[1], "***") if credentials else reason


def _address(found: Mapping[str, Any]) -> str:
    hosts = str(found.get("host") or found.get("hostaddr") or "localhost").split(",")
    ports = str(found.get("port") or "5432").split(",")
    ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
    where = ",".join(host_and_port(host, port) for host, port in zip(hosts, ports, strict=True))
    return f"postgresql://{where}/{found.get('dbname') or ''}"


def _milliseconds(value: Any) -> int:
    value = float(value) if isinstance(value, str) and re.fullmatch(r"[0-9.]+", value) else value
    return max(milliseconds(value, "the PostgreSQL store: 'timeout'"), 1)


def _size(value: Any) -> int:
    if not str(value).isdigit() or int(value) < 2:
        raise ConfigurationError(f"the PostgreSQL store: 'pool_size' must be a number of 2 or more, not {value!r}")
    return int(value)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    said = {True: allowed[-1], False: allowed[0]}.get(value, str(value).lower()) if name == "migrate" else str(value)
    if said not in allowed:
        raise ConfigurationError(f"the PostgreSQL store: {name!r} must be {' or '.join(allowed)}, not {value!r}")
    return said
