"""celery-batches."""

from __future__ import annotations

from tests.companions.programs import both


def test_batches_run_once(redis_url: str) -> None:
    found = both("with_batches", redis_url)
    assert found == {"values": [0, 2, 4, 6, 2], "batches": [0, 1, 2, 3, 10, 11, 12]}
