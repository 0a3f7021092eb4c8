"""Functions of the user's: whether two are one and the same, and whether one takes what it is called with."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import partial
from types import CellType, FunctionType
from typing import Any

from stratix_kombu.errors import ConfigurationError

Pairs = frozenset[tuple[int, int]]
NOT_GIVEN: Any = object()
"""Instead of a handler, where one may be given later; None is a mistake, such as a name that a mapping lacks."""


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


def check_takes(function: Any, arguments: Sequence[str], what: str) -> None:
    """Raise ConfigurationError if the function surely cannot be called with these arguments, which are said by name.

    >>> check_takes(lambda job: job.id, ["job"], "a handler")
    >>> check_takes(print, [], "a hook")
    """
    if hasattr(function, "__signature__"):  # it says something else than what it takes, as decorators have it
        return
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # functions of C may have none
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        called = f"called with {' and '.join(arguments)}" if arguments else "called without arguments"
        name = getattr(function, "__name__", repr(function))
        raise ConfigurationError(f"{what} is {called}, which {name}{signature} does not take") from None
