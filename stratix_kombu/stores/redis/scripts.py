"""Loads the Lua scripts of this folder and runs them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, TypeVar

from redis.exceptions import NoScriptError

from stratix_kombu.model.fields import WIRE
from stratix_kombu.model.names import new_request
from stratix_kombu.stores.contract import PAGE
from stratix_kombu.stores.redis.connect import Client
from stratix_kombu.stores.redis.fields import EVENT, IN_SCRIPTS, READY

Item = TypeVar("Item")
_AGAIN = re.compile(r"^--- @again$", re.MULTILINE)
_LIST = re.compile(r"--\[\[@(\w+)\]\]")
_NAME = re.compile(r"\b([FER])\.(\w+)")
_NAMES: dict[str, Mapping[str, object]] = {"F": WIRE, "E": EVENT, "R": {**READY, "parts": len(READY)}}
_INCLUDE = re.compile(r"^( *)--- @include (\w+)$", re.MULTILINE)
_FUNCTION = re.compile(r"( *)local function (\w+)\(")
_COMMENT = re.compile(r"^ *--(?!- @(?:include|once|step)).*$\n*|(?<=[^'\"]) +-- .*$", re.MULTILINE)
_WORD = re.compile(r"\w+")


def _text(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")


@cache
def _code(name: str) -> str:
    return _COMMENT.sub("", _text(name))


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

    Neither comments nor functions that the script does not call are part of it.

    ``F.<name>`` stands for what a field of a job is called in its hash, ``E.<name>`` for what one of an event is called
    in its entry, ``R.<name>`` for the place of a part of a message to be sent, ``R.parts`` for how many it has, and
    ``--[[@NAME]]`` for that list of ``IN_SCRIPTS``. Raises KeyError if there is none.
    """
    text = _with_what_is_called(_with_fragments(_code(name), set()))
    if is_once(name):
        before, _, step = text.rpartition("--- @once\n")
        text = before + _code("includes/once").replace("--- @step\n", step)
    text = _LIST.sub(lambda match: IN_SCRIPTS[match[1]], text)
    return _NAME.sub(lambda match: repr(_NAMES[match[1]][match[2]]), text)


def _with_fragments(text: str, there: set[str]) -> str:
    def fragment(match: re.Match[str]) -> str:
        indentation, name = match.groups()
        if name in there:
            return ""
        seen = set(there) if indentation else there
        seen.add(name)
        return indentation + _with_fragments(_code(f"includes/{name}"), seen).replace("\n", f"\n{indentation}")

    return _INCLUDE.sub(fragment, text)


def _with_what_is_called(text: str) -> str:
    lines = text.splitlines(keepends=True)
    functions = _functions(lines)
    words = Counter(_WORD.findall("".join(lines)))
    while True:
        defined = Counter(name for name, _, _ in functions)
        uncalled = [one for one in functions if words[one[0]] == defined[one[0]]]
        if not uncalled:
            return "".join(lines)
        for _, first, end in uncalled:
            words.subtract(_WORD.findall("".join(lines[first:end])))
            lines[first:end] = [""] * (end - first)
        functions = [one for one in functions if lines[one[1]]]


def _functions(lines: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name, first line and the line after the last of each function, which begin and end equally indented."""
    found, begun = list[tuple[str, int, int]](), dict[str, tuple[str, int]]()
    for at, line in enumerate(lines):
        if match := _FUNCTION.match(line):
            begun[match[1]] = match[2], at
        elif (indentation := line[: -len("end\n")]) in begun and line == f"{indentation}end\n":
            found.append((*begun.pop(indentation), at + 1))
    return found


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

    def run(
        self, name: str, args: Sequence[Any], key: str | None = None, meanwhile: Callable[[], object] | None = None
    ) -> Any:
        """The script's answer; ``key`` is the namespace's base key, if not said otherwise; ``meanwhile`` as for
        ``Client.run``."""
        second = (self._asked + new_request(),) if is_once(name) else self._guard
        keys = (self._base if key is None else key, *second)
        try:
            return self._client.run("EVALSHA", digest(name), len(keys), *keys, *args, again=True, meanwhile=meanwhile)
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
