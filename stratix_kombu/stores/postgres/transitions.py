"""Steps that another transaction was in the way of are done again."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from stratix_kombu.stores.contract import Transitions
from stratix_kombu.stores.postgres.database import InTheWay, PostgresDatabase
from stratix_kombu.stores.sql.space import SqlSpace
from stratix_kombu.stores.sql.transitions import SqlTransitions

TRIES = 3


class PostgresTransitions(SqlTransitions):
    """All steps, each as a whole up to three times."""

    def __init__(self, space: SqlSpace, database: PostgresDatabase) -> None:
        super().__init__(space)
        self._database = database


def _again(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def tried(self: PostgresTransitions, *args: Any, **kwargs: Any) -> Any:
        for left in range(TRIES - 1, -1, -1):
            try:
                return method(self, *args, **kwargs)
            except InTheWay:
                if not left or self._database.is_within:
                    raise
        raise AssertionError

    return tried


for _name in Transitions.__abstractmethods__:
    setattr(PostgresTransitions, _name, _again(getattr(SqlTransitions, _name)))
