"""Flower."""

from __future__ import annotations

from tests.companions.programs import both


def test_what_its_api_tells(redis_url: str) -> None:
    found = both("with_flower", redis_url)
    assert found["scheduled"] is True
    assert found["heard"]["done"][:2] == ["SUCCESS", "proj.add"]
