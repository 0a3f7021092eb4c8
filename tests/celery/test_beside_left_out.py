"""Tasks that are left out of the bridge, and results that are stored in the project's own backend as well."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord
from celery.app.backends import by_url

from stratix_kombu import ConfigurationError
from stratix_kombu.celery import install
from tests.celery.beside import Beside, Side, beside, value
from tests.celery.conftest import lines
from tests.waiting import until


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, left_out=["proj.quiet", "*.tot?l"], results="also", result_extended=True) as both:
        yield both


def test_tasks_that_are_left_out_run_in_canvas_all_the_same(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        add, total, outside, same = (side.task(one) for one in ("add", "total", "outside", "same"))
        results = [
            total.delay([1, 2]),
            outside.s(3).apply_async(countdown=0.1),
            chord([add.s(1, 1), outside.s(2)], total.s())(),
            chain(add.s(1, 1), outside.s(), add.s(10)).apply_async(),
            chain(add.s(0, 1), outside.s()).apply_async(),
            chord([outside.s(1), chord([outside.s(2), add.s(1, 2)], same.s())], same.s()).apply_async(),
        ]
        return [value(one) for one in results]

    assert pair.both(script) == [3, 3, 4, 12, 1, [1, [2, 3]]]
    app = pair.bridge.app
    result = app.tasks["proj.outside"].delay(1)
    assert value(result) == 1
    job = pair.bridge.project.queue.get_job(result.id)
    assert job.name == "celery.result"


def test_a_task_with_a_strategy_of_its_own_is_collected(pair: Beside, tmp_path: Path) -> None:
    """As celery-batches does: the messages of several tasks are one call."""

    def script(side: Side) -> Any:
        path = tmp_path / side.name
        for number in range(3):
            side.task("batched").delay(str(path), number)
        until(lambda: path.exists() and len(lines(str(path))) == 1)
        return lines(str(path))

    assert pair.both(script) == ["3"]


def test_the_project_s_own_backend_knows_too(pair: Beside, tmp_path: Path, redis_url: str) -> None:
    def script(side: Side) -> Any:
        add, boom = side.task("add"), side.task("boom")
        good, bad, row = add.delay(1, 2), boom.delay(), (boom.s() | add.s(1)).apply_async()
        flaky, ignored = side.task("flaky").delay("x", 1), side.task("quiet").delay(1)
        group = chord([add.s(1, 1), add.s(1, 2)], side.task("same").s())()
        for one in (good, bad, row, flaky, group):
            value(one)
        cls, url = by_url(redis_url, side.app.loader)
        own = cls(app=side.app, url=url)
        found = []
        for one in (good, bad, row, row.parent, flaky, ignored, group):
            until(lambda one=one: one is ignored or own.get_state(one.id) in ("SUCCESS", "FAILURE"))  # type: ignore[misc]
            meta = own.get_task_meta(one.id)
            found.append((meta["status"], repr(meta["result"]), meta.get("args"), meta.get("name")))
        return found

    pair.both(script)


def test_what_cannot_be_meant_is_refused() -> None:
    for options in ({"exclude": "proj.*"}, {"results": "both"}):
        app = Celery(uuid.uuid4().hex, broker="memory://", set_as_current=False)
        with pytest.raises(ConfigurationError):
            install(app, **options)  # type: ignore[arg-type]
