"""The map of the code and the page on the tests: the files that they name are there, and no room is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE, TESTS = ROOT / "stratix_kombu" / "README.md", ROOT / "tests" / "README.md"
PAGES = (CODE, TESTS)
NAMED = re.compile(r"`((?:\.\./)?[\w./-]+(?:/|\.(?:py|lua|md|toml|cfg)))`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [*NAMED.findall(text), *re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"tests/[\w./]+\.py", text)]
    assert len(named) > 10
    places = (page.parent, ROOT)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_no_room_is_left_out() -> None:
    rooms = CODE.read_text(encoding="utf-8").partition("\n## The rooms\n")[2].partition("\n## ")[0]
    folders = {path.parent.name for path in (ROOT / "stratix_kombu").glob("*/__init__.py")}
    assert {name for name in folders if f"`{name}/`" not in rooms} == set()


def test_no_kind_of_test_is_left_out() -> None:
    kinds = TESTS.read_text(encoding="utf-8").partition("\n## Kinds\n")[2].partition("\n## ")[0]
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/__init__.py")}
    assert {name for name in folders if f"`tests/{name}/`" not in kinds} == set()


def test_the_recipes_are_those_that_are_needed() -> None:
    text = CODE.read_text(encoding="utf-8").partition("\n## Recipes\n")[2]
    recipes = [title.partition(":")[0] for title in re.findall(r"^### (.*)$", text, re.M)]
    assert recipes == ["A verb", "A field of a job", "An option", "A driver", "A store", "A command"]


def test_a_word_has_one_entry_in_the_glossary() -> None:
    glossary = CODE.read_text(encoding="utf-8").partition("\n## Glossary\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", glossary, re.M)[2:]
    words = [word for row in rows for word in row.split(", ")]
    assert len(words) > 40
    assert words == sorted(set(words))
