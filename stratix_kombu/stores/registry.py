"""Stores by URL scheme; others add themselves by the entry point group ``stratix_kombu.stores``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from stratix_kombu.config.redis_options import SERVERS
from stratix_kombu.errors import ConfigurationError, nearest
from stratix_kombu.model.names import check_queue_name
from stratix_kombu.stores.contract import Store

_BUILT_IN = {
    "memory": "stratix_kombu.stores.memory:open_memory_store",
    **dict.fromkeys((*SERVERS, "redis+cluster"), "stratix_kombu.stores.redis:open_redis_store"),
    **dict.fromkeys(("postgresql", "postgres"), "stratix_kombu.stores.postgres:open_postgres_store"),
    "sqlite": "stratix_kombu.stores.sqlite:open_sqlite_store",
}


class StoreFactory(Protocol):
    """Opens one namespace of a store; ``options`` always has ``url``."""

    def __call__(self, options: Mapping[str, Any], *, namespace: str) -> Store: ...


def open_store(where: str | Mapping[str, Any], *, namespace: str) -> Store:
    """Open the store at a URL, or at options with ``url`` (without one: those of a Redis server).

    Raises ConfigurationError for a scheme no store has, MissingExtra, StoreUnavailable.

    >>> open_store("memory://", namespace="shop").address
    'memory://'
    """
    options = {"url": where} if isinstance(where, str) else dict(where)
    url = options.get("url")
    scheme = "redis" if url is None else str(url).partition("://")[0]
    return _factory(scheme)(options, namespace=check_queue_name(namespace))


def _factory(scheme: str) -> StoreFactory:
    path = _BUILT_IN.get(scheme)
    if path is not None:
        module, _, name = path.partition(":")
        return cast(StoreFactory, getattr(import_module(module), name))
    known = {entry.name: entry for entry in entry_points(group="stratix_kombu.stores")}
    if scheme in known:
        return cast(StoreFactory, known[scheme].load())
    scheme = scheme.partition(":")[0]  # what follows may hold a password
    raise ConfigurationError(f"no store has the URL scheme {scheme!r}{nearest(scheme, [*_BUILT_IN, *known])}")
