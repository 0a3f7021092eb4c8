"""What the Lua scripts are made of: making a function takes the server longer than most commands."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files

import pytest

from stratix_kombu.stores.redis import scripts

FOLDER = files(scripts.__package__ or "") / "lua"
NAMES = sorted(one.name[:-4] for one in FOLDER.iterdir() if one.name.endswith(".lua"))
DEFINED = re.compile(r"^( *)local function (\w+)\(", re.MULTILINE)


def test_there_are_scripts() -> None:
    assert {"take", "add", "complete_and_take"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_is_called(name: str) -> None:
    text = scripts.source(name)
    words = Counter(re.findall(r"\w+", text))
    assert [
        one for one, times in Counter(found for _, found in DEFINED.findall(text)).items() if words[one] == times
    ] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_function_is_made_where_it_is_there_already(name: str) -> None:
    """Blocks may have fragments of their own; what a block is in has been made before it."""
    scopes: list[tuple[int, set[str]]] = [(0, set())]
    for line in scripts.source(name).splitlines():
        indentation = len(line) - len(line.lstrip())
        while line.strip() and scopes[-1][0] > indentation:
            scopes.pop()
        if defined := DEFINED.match(line):
            assert not any(defined[2] in names for _, names in scopes), defined[2]
            if scopes[-1][0] < indentation:
                scopes.append((indentation, set()))
            scopes[-1][1].add(defined[2])


def test_what_is_left_out_is_called_by_nothing_that_stays() -> None:
    text = scripts.source("take")
    assert "function expect(" in text  # of expect.lua
    assert "function bump(" not in text  # of base.lua, like the next one
    assert "function tell(" in text
    assert "--" not in text.replace("'--", "")
