"""What the rules ask of a database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol


class Counters(NamedTuple):
    """What is numbered in a namespace: how often so far. And the largest instant that a step has seen."""

    numbers: int = 0
    events: int = 0
    sweeps: int = 0
    delays: int = 0
    moves: int = 0
    observed: int = 0
    clock_ms: int = 0


COUNTERS = Counters._fields


def padded(values: Sequence[Any]) -> list[Any]:
    """The values, the last one as often as to make few different numbers of them: each is a statement of its own."""
    count = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (count - len(values))]


def places(values: Sequence[Any]) -> str:
    """The parameters of ``padded`` values."""
    return ", ".join("?" * (1 << (len(values) - 1).bit_length()))


Read = tuple[str, tuple[Any, ...]]
"""A statement and its values, as they are asked."""


class Database(Protocol):
    """A connection within a transaction. Parameters are written as ``?``. Raises StoreUnavailable."""

    def counters(self) -> Counters:
        """As they are."""

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows that a statement answers."""

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first of them."""

    def run(self, sql: str, *values: Any) -> int:
        """How many rows a statement has changed."""

    def put(self, sql: str, *values: Any) -> None:
        """The same for a statement that may be sent later, but before the next one."""

    def era(self) -> int:
        """What is written often has the number of its era beside its key, and the newest version of a row has the
        highest: a database that keeps old versions finds it first. A number that grows now and then; 0 where that is
        not needed."""

    def many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """The same statement for each row of values."""


class Transactions(Database, Protocol):
    """A database that is written by transactions: as a context manager it is one. Within another one of the same thread
    it is a part of that. It informs the space when one begins, and when it is about to be committed."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *problem: Any) -> Any: ...

    def ahead(self, reads: Iterable[Read], unless_same: Iterable[Read] = ()) -> None:
        """What the next transaction of this thread asks first, where none is under way: it may be asked when that
        begins, all at once. ``unless_same``: this only where another process has written."""

    @property
    def presumes(self) -> bool:
        """Whether the step that is under way may take jobs to be new without asking: it is made again if not."""

    def count(self, counters: Counters) -> None:
        """Put the counters."""

    def reading(self) -> AbstractContextManager[Database]:
        """What is read within is of one instant."""

    def changes(self) -> int:
        """A number that is another one after each transaction that this process knows of."""

    def ring(self) -> None:
        """Have all who wait in this process look again."""

    def wait(self, seen: int, timeout: float) -> None:
        """Return when ``changes`` is another number than ``seen``, of any process, or after ``timeout`` seconds."""
