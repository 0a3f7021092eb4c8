"""celery-once."""

from __future__ import annotations

from tests.companions.programs import both


def test_a_task_that_is_there_is_not_sent_again(redis_url: str) -> None:
    assert both("with_once", redis_url) == ["queued already", "REJECTED", False, 1, 1]
