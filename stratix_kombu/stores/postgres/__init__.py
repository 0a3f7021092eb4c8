"""The PostgreSQL store: a namespace is a schema of a database. It needs no broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stratix_kombu.errors import MissingExtra

if TYPE_CHECKING:
    from stratix_kombu.stores.postgres.store import PostgresStore


def open_postgres_store(options: Mapping[str, Any], *, namespace: str) -> PostgresStore:
    """The store of ``postgresql://user:password@host/database``; connected to with its first use. Raises
    ConfigurationError, MissingExtra."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise MissingExtra("postgres", "psycopg", "the PostgreSQL store") from None
    from stratix_kombu.stores.postgres.options import read_options
    from stratix_kombu.stores.postgres.store import PostgresStore

    return PostgresStore(read_options(options, namespace))
