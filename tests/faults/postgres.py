"""What the tests of the PostgreSQL store's faults do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg

from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.record import NewJob
from stratix_kombu.stores.postgres import open_postgres_store
from stratix_kombu.stores.postgres.store import PostgresStore
from tests.waiting import WAIT_S, until

if TYPE_CHECKING:
    from typing_extensions import LiteralString  # of 3.11's typing

LEASE_MS = 60_000
TIMEOUT_MS = 400
QUEUE = "mail"
NAMESPACE = "faults"
SCHEMA = "stratix_faults"


def opened(url: str, **options: Any) -> PostgresStore:
    return open_postgres_store({"url": f"{url}?migrate=auto", **options}, namespace=NAMESPACE)


def add(store: PostgresStore, *ids: str) -> None:
    store.transitions.add([NewJob(id=one, queue=QUEUE, name="n") for one in ids])


def there(store: PostgresStore, *ids: str) -> list[bool]:
    return [one is not None for one in store.queries.get(ids)]


def again(step: Callable[[], Any]) -> Any:
    """A step, until the store is available."""

    answers: list[Any] = []

    def is_done() -> bool:
        with suppress(StoreUnavailable):
            answers.append(step())
        return bool(answers)

    until(is_done, WAIT_S)
    return answers[0]


@contextmanager
def transaction(url: str) -> Iterator[psycopg.Connection]:
    """Of another program; it is undone."""
    with psycopg.connect(url) as connection:
        connection.execute(f"SET search_path = {SCHEMA}")  # type: ignore[call-overload]
        yield connection
        connection.rollback()


def execute(url: str, sql: LiteralString, *values: Any) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql, values)
