"""``async def`` tasks, in pools of Celery's worker and in our own one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from celery.exceptions import TaskRevokedError

from tests.celery.conftest import lines, project_on
from tests.celery.workers import Project
from tests.waiting import until

WAIT_S = 60


@pytest.fixture(scope="module", params=["threads", "prefork", "own"])
def worked(request: pytest.FixtureRequest) -> Iterator[Project]:
    project = project_on("redis", request)
    with project.worker(request.param, 2):
        yield project
    project.close()


def test_a_coroutine_has_its_request_and_retries(worked: Project, notes: str) -> None:
    result = worked.task("sleeps").delay(notes, fails=2)
    assert result.get(timeout=WAIT_S) == [result.id, 2]
    assert lines(notes) == ["began", "ended"]


def test_a_coroutine_is_part_of_a_canvas(worked: Project, notes: str) -> None:
    row = worked.task("sleeps").si(notes) | worked.task("same").s()
    first, retries = row.delay().get(timeout=WAIT_S)
    assert isinstance(first, str)
    assert retries == 0


@pytest.mark.parametrize("pool", ["threads", "own"])
def test_it_is_cancelled_when_it_is_terminated(on_redis: Project, notes: str, pool: str) -> None:
    """As it could not be on threads: with prefork its process is ended."""
    with on_redis.worker(pool, 2):
        result = on_redis.task("sleeps").delay(notes, 60)
        until(lambda: lines(notes), WAIT_S)
        result.revoke(terminate=True)
        with pytest.raises(TaskRevokedError):
            result.get(timeout=WAIT_S)
        until(lambda: lines(notes) == ["began", "ended"], WAIT_S)


def test_it_is_what_it_was_when_it_is_called(on_redis: Project, notes: str) -> None:
    assert asyncio.run(on_redis.task("sleeps")(notes)) == [None, 0]


def test_many_at_a_time(on_redis: Project, notes: str) -> None:
    """Each waits longer than all of them take together."""
    with on_redis.worker("own", 50):
        results = [on_redis.task("sleeps").delay(notes, 1) for _ in range(50)]
        until(lambda: lines(notes).count("ended") == 50, WAIT_S)
        assert lines(notes)[:25] == ["began"] * 25
        assert all(one.get(timeout=WAIT_S)[1] == 0 for one in results)
