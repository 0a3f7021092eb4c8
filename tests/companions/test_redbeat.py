"""redbeat."""

from __future__ import annotations

from tests.companions.programs import both


def test_entries_are_fired(redis_url: str) -> None:
    assert both("with_redbeat", redis_url) == [["fixed", "later"], True]
