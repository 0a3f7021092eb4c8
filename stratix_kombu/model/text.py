"""Text that is kept in bounds, and that every store can hold."""

from __future__ import annotations


def bounded(text: str, most: int, mark: str = "") -> str:
    """The beginning of a text in at most ``most`` bytes of UTF-8, with ``mark`` after it if it was cut.

    No character is cut. A lone surrogate, which UTF-8 does not have, is written as its escape.

    >>> bounded("schön", 5)
    'schö'
    """
    raw = text.encode(errors="backslashreplace")
    return raw.decode() if len(raw) <= most else raw[:most].decode(errors="ignore") + mark
