"""The README and the guide: their pages, and the snippets and commands in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "examples" / "guide"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *GUIDE.glob("*.md"))
}
"""The text of each page, by its path."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Snippet:
    """One fenced block of a page."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str:
        """The name of the file that it is, if its first line says one: ``# jobs.py``."""
        named = re.match(r"# (\w+\.(?:py|toml))\n", self.text)
        return named[1] if named else ""


def _snippets() -> list[Snippet]:
    return [
        Snippet(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for page, text in sorted(PAGES.items())
        for found in _FENCE.finditer(text)
    ]


SNIPPETS = _snippets()


@dataclass(frozen=True)
class Story:
    """Commands, and the files that they use: those that the page has shown before them."""

    commands: Snippet
    files: dict[str, str]

    def __str__(self) -> str:
        return str(self.commands)


def _stories() -> list[Story]:
    found = []
    for page in PAGES:
        files: dict[str, str] = {}
        for snippet in (one for one in SNIPPETS if one.page == page):
            if snippet.file:
                files[snippet.file] = snippet.text
            elif snippet.kind == "sh" and files and "tox" not in snippet.text:
                found.append(Story(snippet, dict(files)))
    return found


STORIES = _stories()


def snippets(kind: str, page: str = "") -> list[Snippet]:
    """Those of one kind (``python``, ``toml``, ``sh``, ``json``), of all pages or of one."""
    return [snippet for snippet in SNIPPETS if snippet.kind == kind and page in ("", snippet.page)]
