"""Text that is kept in bounds, and that every store can hold."""

from __future__ import annotations

import re

INVISIBLE = r"\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""For a class of a regular expression: what a terminal takes for a command, or what changes the order in which it shows
other characters. Those below a space are not in it."""
_CONTROL = re.compile(rf"[\x00-\x08\x0b-\x1f{INVISIBLE}]")


def bounded(text: str, most: int, mark: str = "") -> str:
    """The beginning of a text in at most ``most`` bytes of UTF-8, with ``mark`` after it if it was cut.

    No character is cut. A lone surrogate, which UTF-8 does not have, is written as its escape.

    >>> bounded("schön", 5)
    'schö'
    """
    raw = text.encode(errors="backslashreplace")
    return raw.decode() if len(raw) <= most else raw[:most].decode(errors="ignore") + mark


def printable(text: str) -> str:
    """The text without what a terminal would take for a command: what jobs say of themselves is not to be trusted.
    Tabs and newlines stay."""
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def host_and_port(host: str, port: object) -> str:
    """Both as in a URL, where an IPv6 address stands in brackets.

    >>> host_and_port("localhost", 6379), host_and_port("::1", 6379)
    ('localhost:6379', '[::1]:6379')
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def plain_host(host: str) -> str:
    """A host without the brackets in which a URL has an IPv6 address.

    >>> plain_host("[::1]"), plain_host("localhost")
    ('::1', 'localhost')
    """
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def kind_of(value: object) -> str:
    """What a value is, for a message that must not show it: it may hold a password.

    >>> kind_of(3), kind_of([])
    ('an int', 'a list')
    """
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
