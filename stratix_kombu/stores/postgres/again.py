"""Steps of which it is known that they are undone are made again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import getmembers, isfunction
from typing import Any

from stratix_kombu.stores.postgres.database import PostgresDatabase
from stratix_kombu.stores.postgres.session import Undone

TRIES = 3


def make_again(part: object, database: PostgresDatabase) -> None:
    """Have each public method of this part of the store make its step up to three times, as a whole."""
    for name, _ in getmembers(type(part), isfunction):
        if not name.startswith("_"):
            setattr(part, name, _made_again(getattr(part, name), database))


def _made_again(method: Callable[..., Any], database: PostgresDatabase) -> Callable[..., Any]:
    @wraps(method)
    def tried(*args: Any, **kwargs: Any) -> Any:
        for left in range(TRIES - 1, -1, -1):
            try:
                return method(*args, **kwargs)
            except Undone:
                if not left or database.is_within:
                    raise
                database.this_thread.doubts = True
        raise AssertionError

    return tried
