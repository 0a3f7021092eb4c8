"""Which headings of the document the tests go through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Test = TypeVar("Test", bound=Callable[..., Any])

SHOWN: dict[str, list[str]] = {}
"""Per chapter, the headings that have a test."""


def heading(chapter: str, *headings: str) -> Callable[[Test], Test]:
    """The decorated test writes what stands under these headings."""

    def mark(test: Test) -> Test:
        SHOWN.setdefault(chapter, []).extend(one for one in headings if one not in SHOWN.get(chapter, []))
        return test

    return mark
