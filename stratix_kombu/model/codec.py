"""JSON at the edge: strict on the way in (what is not JSON is refused), text in the store."""

from __future__ import annotations

import json
from typing import Any

from stratix_kombu.errors import PayloadNotSerializable, PayloadTooLarge

MAX_PAYLOAD_BYTES = 1024 * 1024
"""Default limit of one value. Data is kept in the store, so the transport's own limit does not matter."""

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_PLAIN = frozenset({str, int, float, bool, type(None)})


def encode(value: Any, what: str, limit: int = MAX_PAYLOAD_BYTES) -> str:
    """JSON text of ``value``.

    Raises PayloadNotSerializable (also for keys that are not strings, which ``json`` would turn into
    strings silently) and PayloadTooLarge; ``what`` names the value in the message.
    """
    try:
        text = _encoder.encode(value)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as problem:
        raise PayloadNotSerializable(what, str(problem)) from problem
    if size > limit:
        raise PayloadTooLarge(what, size, limit)
    _refuse_odd_keys(value, what)
    return text


def decode(text: str | bytes | None) -> Any:
    """The value of JSON text that the store holds; None for none."""
    return None if text is None else json.loads(text)


def _refuse_odd_keys(value: Any, what: str) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if type(item) in _PLAIN:
            continue
        if isinstance(item, dict):
            for key, inner in item.items():
                if not isinstance(key, str):
                    raise PayloadNotSerializable(what, f"the key {key!r} is not a string")
                if type(inner) not in _PLAIN:
                    pending.append(inner)
        elif isinstance(item, (list, tuple)):
            pending.extend(inner for inner in item if type(inner) not in _PLAIN)
