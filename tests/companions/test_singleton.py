"""celery-singleton."""

from __future__ import annotations

from tests.companions.programs import both


def test_the_same_task_is_the_same_one(redis_url: str) -> None:
    assert both("with_singleton", redis_url) == [True, False, 1, 1, 2]
