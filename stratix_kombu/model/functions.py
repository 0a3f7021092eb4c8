"""Whether two functions of the user's are one and the same."""

from __future__ import annotations

from functools import partial
from types import CellType, FunctionType
from typing import Any

Pairs = frozenset[tuple[int, int]]


def same_function(one: Any, other: Any, above: Pairs = frozenset()) -> bool:
    """Whether they are equal, or were made by the same line of code with the same values: a lambda or an inner function
    is another object each time its line runs. ``above`` are those that are being compared, for functions that hold
    themselves.

    >>> same_function(*[lambda job: job.id for _ in range(2)])
    True
    >>> same_function(*[lambda job, by=by: job.id * by for by in range(2)])
    False
    """
    if one is other or (id(one), id(other)) in above:
        return True
    above |= {(id(one), id(other))}
    if isinstance(one, partial) and isinstance(other, partial):
        return same_function(_bound(one), _bound(other), above)
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        same_line = one.__code__ is other.__code__ and one.__globals__ is other.__globals__
        return same_line and same_function(_values(one), _values(other), above)
    if isinstance(one, (list, tuple)) and type(one) is type(other) and len(one) == len(other):
        return all(same_function(*pair, above) for pair in zip(one, other, strict=True))
    try:
        return bool(one == other)
    except Exception:  # what cannot be compared is not the same
        return False


def _bound(function: partial[Any]) -> list[Any]:
    return [function.func, function.args, sorted(function.keywords), *(v for _, v in sorted(function.keywords.items()))]


def _values(function: FunctionType) -> list[Any]:
    """What the function brings along, besides its code."""
    return [function.__defaults__, function.__kwdefaults__, *map(_content, function.__closure__ or ())]


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return CellType
