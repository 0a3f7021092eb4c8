"""Loads the Lua scripts of this folder and runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.redis.connect import Client

_INCLUDE = re.compile(r"^--- @include (\w+)$", re.MULTILINE)


@cache
def source(name: str) -> str:
    """The text of ``lua/<name>.lua`` with its fragments in place, each once."""
    folder = files(__package__) / "lua"

    there = set[str]()

    def fragment(match: re.Match[str]) -> str:
        if match[1] in there:
            return ""
        there.add(match[1])
        return _INCLUDE.sub(fragment, (folder / "includes" / f"{match[1]}.lua").read_text(encoding="utf-8"))

    return _INCLUDE.sub(fragment, (folder / f"{name}.lua").read_text(encoding="utf-8"))


@cache
def digest(name: str) -> str:
    """What the server knows the script by."""
    return sha1(source(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Runs scripts by their digest; a server that does not know one is given its text.

    A script names one key and reaches the others by their names. On a cluster whose slot is being moved, those may be
    on either node, and the script would take what has moved for missing. So there a second key is named: neither of
    the two ever exists, and a node does not run what names several keys that are not all there while their slot moves
    (TRYAGAIN). The script waits until the slot has arrived.
    """

    def __init__(self, client: Client, base: str, clustered: bool = False) -> None:
        self._client = client
        self._base = base
        self.address = client.address
        self._guard = (f"{base}:moving",) if clustered else ()

    def run(self, name: str, args: Sequence[Any], key: str | None = None, *, again: bool = False) -> Any:
        """The script's answer; ``key`` is the namespace's base key, if not said otherwise; ``again`` as ``Client.run``
        has it."""
        keys = (self._base if key is None else key, *self._guard)
        try:
            return self._client.run("EVALSHA", digest(name), len(keys), *keys, *args, again=again)
        except NoScriptError:
            return self._client.run("EVAL", source(name), len(keys), *keys, *args, again=again)

    def paged(self, name: str, *args: Any) -> Iterator[Any]:
        """The answers of a script that takes a cursor and a page after its arguments, and answers {cursor, page}. What
        is there all the while is in one of them at least, and perhaps in two."""
        cursor: Any = b"0"
        while True:
            cursor, page = self.run(name, (*args, cursor, PAGE), again=True)
            yield page
            if cursor == b"0":
                return

    def members(self, command: str, key: str) -> list[Any]:
        """What a set holds; ``key`` without the namespace."""
        return [one for page in self.paged("members", command, key) for one in page]


def pages(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Parts of at most that size."""
    return (items[start : start + size] for start in range(0, len(items), size))
