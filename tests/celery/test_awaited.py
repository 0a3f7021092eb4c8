"""``adelay``, ``aapply_async`` and ``aget``, in programs of asyncio and in ``async def`` tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chord, group
from celery.exceptions import TimeoutError as ResultTimeout

from tests.celery.conftest import lines, project_on
from tests.celery.workers import Project
from tests.waiting import until

WAIT_S = 60


@pytest.fixture(scope="module")
def worked(request: pytest.FixtureRequest) -> Iterator[Project]:
    project = project_on("redis", request)
    with project.worker("own", 4):
        yield project
    project.close()


def test_results_are_awaited(worked: Project) -> None:
    add, boom, total = (worked.task(name) for name in ("add", "boom", "total"))

    async def main() -> list[Any]:
        one = await add.adelay(1, y=2)
        later = await add.aapply_async((2, 2), countdown=0.05)
        several = await group(add.s(number, 1) for number in range(3)).aapply_async()
        joined = await chord([add.s(1, 1), add.s(2, 2)], total.s()).adelay()
        failed = await boom.adelay()
        error = await failed.aget(WAIT_S, propagate=False)
        with pytest.raises(ValueError, match="boom"):
            await failed.aget(WAIT_S)
        values = [await result.aget(WAIT_S) for result in (one, later, several, joined)]
        return [*values, str(error)]

    assert asyncio.run(main()) == [3, 4, [1, 2, 3], 6, "boom"]


def test_who_waits_occupies_no_thread(worked: Project, notes: str, tmp_path: Path) -> None:
    """More wait than there are threads, while others send tasks and get results."""
    gate = tmp_path / "gate"

    async def main() -> tuple[list[Any], Any]:
        held = [await worked.task("wait_for").adelay(str(gate), notes) for _ in range(3)]
        waiting = [asyncio.create_task(one.aget(WAIT_S)) for one in held * 20]
        await asyncio.to_thread(until, lambda: len(lines(notes)) == 3, WAIT_S)
        with pytest.raises(ResultTimeout):
            await held[0].aget(0.05)
        meanwhile = await (await worked.task("add").adelay(1, 1)).aget(WAIT_S)
        gate.touch()
        return await asyncio.gather(*waiting), meanwhile

    assert asyncio.run(main()) == (["done"] * 60, 2)


def test_a_task_awaits_others(worked: Project) -> None:
    """They are its children, as those that it sends without awaiting."""
    result = worked.task("asks").delay(5)
    values, ids = result.get(timeout=WAIT_S)
    assert values == [1, 2, 3, 4, 5]
    assert sorted(child.id for child in result.children) == ids
