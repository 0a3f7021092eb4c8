"""JSON at the edge: strict on the way in (what is not JSON is refused), text in the store.

What is read may have been written by anybody who can reach the broker or the store. So only JSON is read, and what
cannot be read is InvalidPayload, whatever it is.
"""

from __future__ import annotations

import json
import math
from typing import Any

from stratix_kombu.errors import InvalidPayload, PayloadNotSerializable, PayloadTooLarge

MAX_PAYLOAD_BYTES = 1024 * 1024
"""Default limit of one value. Data is kept in the store, so the transport's own limit does not matter."""

MAX_DEPTH = 200
"""Deepest nesting of one value, far from where Python, Lua and other readers of JSON give up."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_PLAIN = frozenset({str, int, float, bool, type(None)})
_KEYS_OF_JSON = (str, int, float, type(None))
"""Keys that ``json`` writes."""


def encode(value: Any, what: str, limit: int = MAX_PAYLOAD_BYTES) -> str:
    """JSON text of ``value``.

    Raises PayloadNotSerializable (also for keys that are not strings, which ``json`` would turn into
    strings silently) and PayloadTooLarge; ``what`` names the value in the message.
    """
    try:
        text = _encoder.encode(value)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as problem:
        raise PayloadNotSerializable(what, _placed(value, str(problem), _KEYS_OF_JSON)) from problem
    if size > limit:
        raise PayloadTooLarge(what, size, limit)
    _refuse_what_reads_differently(value, what)
    return text


def read_json(text: str | bytes) -> Any:
    """The value of JSON text that a person has written. Raises ValueError, also for what Python reads and JSON does not
    have (NaN, Infinity), and for a number that is too large for it.

    >>> read_json("1e400")
    Traceback (most recent call last):
    ValueError: 1e400 is too large for a number
    """
    return json.loads(text, parse_constant=_no_constant, parse_float=_finite)


def decode(text: str | bytes | None) -> Any:
    """The value of JSON text that the store holds; None for none. Raises InvalidPayload for what is no JSON."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidPayload(f"a value in the store is no JSON: {type(problem).__name__}") from problem


def decode_mapping(text: str | bytes, what: str) -> dict[str, Any]:
    """The mapping that JSON text holds. Raises InvalidPayload, naming ``what``."""
    value = decode(text)
    if not isinstance(value, dict):
        raise InvalidPayload(f"{what} is not a mapping but {type(value).__name__}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _refuse_what_reads_differently(value: Any, what: str) -> None:
    level = [] if type(value) in _PLAIN else [value]
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                for key, inner in item.items():
                    if not isinstance(key, str):
                        problem = f"the key {key!r} is not a string"
                        raise PayloadNotSerializable(what, _placed(value, problem, (str,)))
                    if type(inner) not in _PLAIN:
                        inside.append(inner)
            elif isinstance(item, (list, tuple)):
                inside.extend(inner for inner in item if type(inner) not in _PLAIN)
        if not inside:
            return
        level = inside
    raise PayloadNotSerializable(what, f"it is nested more than {MAX_DEPTH} deep")


def _placed(value: Any, problem: str, keys: tuple[type, ...]) -> str:
    """The problem, and before it where in the value it is, as Python writes that: the first part that is no JSON, or
    that has a key of another kind.

    >>> _placed({"user": [{"when": 1j}]}, "it is complex", (str,))
    "['user'][0]['when']: it is complex"
    """
    left, seen = [(value, "")], set[int]()
    while left:
        item, path = left.pop()
        if isinstance(item, dict):
            inside = [(inner, f"{path}[{key!r}]") for key, inner in item.items()]
            found = any(not isinstance(key, keys) for key in item)
        elif isinstance(item, (list, tuple)):
            inside, found = [(inner, f"{path}[{at}]") for at, inner in enumerate(item)], False
        else:
            inside, found = [], not _is_written(item)
        if found:
            return f"{path}: {problem}" if path else problem
        if id(item) not in seen:
            seen.add(id(item))
            left += reversed(inside)
    return problem


def _is_written(item: Any) -> bool:
    """Whether a part that has no parts is JSON."""
    try:
        _encoder.encode(item).encode()
    except (TypeError, ValueError):
        return False
    return True
