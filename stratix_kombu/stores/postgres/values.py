"""Values as the protocol has them: text.

PostgreSQL's text has no NUL, and the texts of users may: it is written as two other characters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Decoder = Callable[[bytes], Any]

_ESCAPE, _NUL, _ITSELF = "\x1a", "\x1a0", "\x1a1"
_ESCAPED = b"\x1a"


def encoded(values: Sequence[Any]) -> list[bytes | None]:
    """Parameters of a statement. A bool is a number: the columns of such are."""
    return [
        None
        if value is None
        else b"%d" % value
        if isinstance(value, int)
        else text(value)
        if isinstance(value, str)
        else repr(value).encode()
        for value in values
    ]


def text(value: str) -> bytes:
    if "\0" in value or _ESCAPE in value:
        value = value.replace(_ESCAPE, _ITSELF).replace("\0", _NUL)
    return value.encode()


def _text_of(raw: bytes) -> str:
    if _ESCAPED in raw:
        return raw.decode().replace(_NUL, "\0").replace(_ITSELF, _ESCAPE)
    return raw.decode()


def _bool_of(raw: bytes) -> bool:
    return raw == b"t"


_DECODERS: dict[int, Decoder] = {16: _bool_of, 20: int, 21: int, 23: int, 700: float, 701: float, 1700: int}
"""By the number of their type; all others are texts."""


def decoder_of(kind: int) -> Decoder:
    return _DECODERS.get(kind, _text_of)
