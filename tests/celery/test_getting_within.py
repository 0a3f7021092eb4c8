"""Tasks that get results, which Celery refuses unless they allow it to themselves: one of many in threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.celery.workers import Project
from tests.waiting import WAIT_S


@pytest.mark.parametrize("pool", ["threads", "own"])
def test_each_task_allows_it_to_itself(on_redis: Project, pool: str, tmp_path: Path) -> None:
    """Stock Celery has one flag for all threads: there the second one is refused. (celery issue 3189)"""
    within = on_redis.task("gets_within")
    with on_redis.worker(pool, 4):
        found = [within.delay(str(tmp_path), first) for first in (True, False)]
        assert [one.get(timeout=WAIT_S) for one in found] == ["RuntimeError", 3]
