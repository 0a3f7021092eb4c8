"""Loads the Lua scripts of this folder and runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from stratix_kombu.model.fields import WIRE
from stratix_kombu.model.names import new_request
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.fields import EVENT, IN_SCRIPTS

Item = TypeVar("Item")
_AGAIN = re.compile(r"^--- @again$", re.MULTILINE)
_LIST = re.compile(r"--\[\[@(\w+)\]\]")
_NAME = re.compile(r"\b([FE])\.(\w+)")
_NAMES = {"F": WIRE, "E": EVENT}
_INCLUDE = re.compile(r"^( *)--- @include (\w+)$", re.MULTILINE)


def _text(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


@cache
def is_once(name: str) -> bool:
    """Whether the script would change something each time it runs. One that says ``@again`` does not: it reads, or what
    it does is done already the second time."""
    return not _AGAIN.search(_text(name))


@cache
def source(name: str) -> str:
    """The text of ``lua/<name>.lua`` with its fragments; within ``includes/once.lua``, if it is to be made once. What
    stands before ``--- @once`` in it, if that is there, sees by itself whether it was made before.

    A fragment stands once in a script. One that is included within a block, which its indentation shows, belongs to
    that block: where the block is not reached, its functions are not made, and making them takes longer than most
    commands.

    ``F.<name>`` stands for what a field of a job is called in its hash, ``E.<name>`` for what one of an event is called
    in its entry, and ``--[[@NAME]]`` for that list of ``IN_SCRIPTS``. Raises KeyError if there is none.
    """
    text = _with_fragments(_text(name), set())
    if is_once(name):
        before, _, step = text.rpartition("--- @once\n")
        text = before + _text("includes/once").replace("--- @step\n", step)
    text = _LIST.sub(lambda match: IN_SCRIPTS[match[1]], text)
    return _NAME.sub(lambda match: f"'{_NAMES[match[1]][match[2]]}'", text)


def _with_fragments(text: str, there: set[str]) -> str:
    def fragment(match: re.Match[str]) -> str:
        indentation, name = match.groups()
        if name in there:
            return ""
        seen = set(there) if indentation else there
        seen.add(name)
        return _with_fragments(_text(f"includes/{name}"), seen)

    return _INCLUDE.sub(fragment, text)


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

    All scripts are sent again when their answer is lost. Where that would change something, the second key is that of
    the answer, which the script keeps for ``keep_ms``.
    """

    def __init__(self, client: Client, base: str, keep_ms: int, clustered: bool = False) -> None:
        self._client = client
        self._base = base
        self.address = client.address
        self.keep_ms = keep_ms
        self._asked = f"{base}:asked:{keep_ms}:"
        self._guard = (f"{base}:moving",) if clustered else ()

    def run(self, name: str, args: Sequence[Any], key: str | None = None) -> Any:
        """The script's answer; ``key`` is the namespace's base key, if not said otherwise."""
        second = (self._asked + new_request(),) if is_once(name) else self._guard
        keys = (self._base if key is None else key, *second)
        try:
            return self._client.run("EVALSHA", digest(name), len(keys), *keys, *args, again=True)
        except NoScriptError:
            return self._client.run("EVAL", source(name), len(keys), *keys, *args, again=True)

    def paged(self, name: str, *args: Any) -> Iterator[Any]:
        """The answers of a script that takes a cursor and a page after its arguments, and answers {cursor, page}. What
        is there all the while is in one of them at least, and perhaps in two."""
        cursor: Any = b"0"
        while True:
            cursor, page = self.run(name, (*args, cursor, PAGE))
            yield page
            if cursor == b"0":
                return

    def members(self, command: str, key: str) -> list[Any]:
        """What a set holds; ``key`` without the namespace."""
        return [one for page in self.paged("members", command, key) for one in page]


def pages(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Parts of at most that size."""
    return (items[start : start + size] for start in range(0, len(items), size))
