"""Whoever waits for a result learns of failed parents: all parents are looked at in one call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, chord, group

from tests.celery.conftest import project_on
from tests.celery.workers import Project

WAIT_S = 60


@pytest.fixture(scope="module")
def worked(request: pytest.FixtureRequest) -> Iterator[Project]:
    project = project_on("redis", request)
    with project.worker("own"):
        yield project
    project.close()


@pytest.fixture
def read(worked: Project, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the records that are read."""
    queries, ids = worked.app.stratix.queue.engine.store.queries, list[str]()
    get = type(queries).get

    def getting(self: Any, wanted: Any) -> Any:
        ids.extend(wanted)
        return get(self, wanted)

    monkeypatch.setattr(type(queries), "get", getting)
    return ids


def test_parents_that_have_not_failed_are_not_read(worked: Project, read: list[str]) -> None:
    add, total = worked.task("add"), worked.task("total")
    summed = chord([add.s(1, 1), group(add.s(2, 2), add.s(3, 3)), chain(add.s(4, 4), add.s(1))], total.s())()
    assert summed.get(timeout=WAIT_S) == 21
    last = chain(add.s(1, 1), *(add.s(1) for _ in range(9))).apply_async()
    assert last.get(timeout=WAIT_S) == 11
    assert set(read) == {summed.id, last.id}


def test_the_error_is_that_of_the_first_one_that_failed(worked: Project, read: list[str]) -> None:
    add, boom, total = worked.task("add"), worked.task("boom"), worked.task("total")
    last = chain(add.s(1, 1), boom.si(), add.s(1), add.s(2)).apply_async()
    with pytest.raises(ValueError, match="boom"):
        last.get(timeout=WAIT_S)
    assert last.parent.parent.state == "FAILURE"
    result = chord([add.s(1, 1), group(boom.s(), add.s(2, 2))], total.s())()
    with pytest.raises(ValueError, match="boom"):
        result.get(timeout=WAIT_S)
    assert last.parent.parent.parent.id not in read


def test_parents_whose_end_is_awaited_are_read(worked: Project) -> None:
    add, total = worked.task("add"), worked.task("total")
    told: list[str] = []
    last = chain(add.s(1, 1), add.s(1)).apply_async()
    last.parent.then(lambda result: told.append(result.id))
    assert last.get(timeout=WAIT_S) == 3
    last.get(timeout=WAIT_S)
    assert told == [last.parent.id]
    summed = chord([add.s(1, 1), add.s(2, 2)], total.s())()
    member = summed.parent.results[1]
    member.then(lambda result: told.append(result.id))
    assert summed.get(timeout=WAIT_S) == 6
    summed.get(timeout=WAIT_S)
    assert told == [last.parent.id, member.id]
