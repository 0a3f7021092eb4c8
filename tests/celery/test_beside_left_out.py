"""Tasks that are left out of the bridge, and results that are stored in the project's own backend as well."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.app.backends import by_url

from stratix_kombu import ConfigurationError
from stratix_kombu.celery import install
from tests.celery.beside import Beside, Side, beside, value
from tests.celery.conftest import lines
from tests.waiting import WAIT_S, until


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    left_out = ["proj.quiet", "*.tot?l", "proj.tracked", "proj.raise_with"]
    with beside(redis_url, redis_url, left_out=left_out, results="also", result_extended=True) as both:
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


def test_tasks_behind_one_that_is_left_out_are_pending_until_it_sends_them(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        add, tracked = side.task("add"), side.task("tracked")
        gate = tmp_path / side.name
        last = chain(add.s(1, 1), tracked.si(str(gate)), add.si(1, 2), add.s(3)).apply_async()
        between, held, first = last.parent, last.parent.parent, last.parent.parent.parent
        until(lambda: first.state == "SUCCESS" and held.state == "STARTED")
        states = [between.state, last.state]
        gate.touch()
        return [states, value(last), value(between), value(held)]

    assert pair.both(script) == [["PENDING", "PENDING"], 6, 3, "done"]


def test_headers_with_chains_of_tasks_that_are_left_out(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, outside, same = (side.task(one) for one in ("add", "outside", "same"))
        results = [
            chord([add.s(1, 1) | outside.s(), add.s(1, 2)], same.s()),
            chord([add.s(1, 1) | outside.s() | add.s(1) | add.s(2), add.s(1, 2)], same.s()),
            chord([outside.s(1) | add.s(1) | outside.s() | add.s(2)], same.s() | outside.s() | same.s() | same.s()),
            add.s(1, 1) | group(outside.s() | add.s(1) | add.s(1), add.s(1)) | same.s() | outside.s() | same.s(),
        ]
        return [value(one.apply_async()) for one in results]

    assert pair.both(script) == [[2, 3], [5, 3], [4], [4, 3]]


def test_chains_that_fail_before_at_and_behind_a_task_that_is_left_out(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, outside, fails, odd = (side.task(one) for one in ("add", "outside", "raise_with", "odd"))
        chains = [
            odd.s() | outside.s() | add.s(1),
            add.s(1, 1) | odd.s() | outside.s() | add.s(1) | add.s(1),
            add.s(1, 1) | fails.s() | add.s(1) | add.s(1),
            fails.s("at") | add.s(1) | add.s(1),
            outside.s(1) | odd.s() | add.s(1),
        ]
        alone = [one.clone().apply_async() for one in chains]
        headers = [chord([one.clone(), add.s(1, 1)], add.s([])).apply_async() for one in chains]
        return [value(one) for one in (*alone, *headers)]

    odd = "tests.celery.shapes.OddError: 7"
    heard = [odd, odd, "builtins.ValueError: 2", "builtins.ValueError: at", odd]
    assert pair.both(script) == heard * 2


def test_a_task_with_a_strategy_of_its_own_is_collected(pair: Beside, tmp_path: Path) -> None:
    """As celery-batches does: the messages of several tasks are one call."""

    def script(side: Side) -> Any:
        path = tmp_path / side.name
        for number in range(3):
            side.task("batched").delay(str(path), number)
        until(lambda: path.exists() and len(lines(str(path))) == 1, WAIT_S)
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
            until(lambda one=one: one is ignored or own.get_state(one.id) in ("SUCCESS", "FAILURE"), WAIT_S)  # type: ignore[misc]
            meta = own.get_task_meta(one.id)
            found.append((meta["status"], repr(meta["result"]), meta.get("args"), meta.get("name")))
        return found

    pair.both(script)


def test_the_project_s_own_backend_knows_what_is_stored_by_hand(pair: Beside, redis_url: str) -> None:
    """Also by a task that raises ``Ignore`` then; and what became of tasks that are left out, that never ran, or that
    nobody knows."""

    def script(side: Side) -> Any:
        app, add, boom, same = side.app, side.task("add"), side.task("boom"), side.task("same")
        cls, url = by_url(redis_url, app.loader)
        own = cls(app=app, url=url)
        done, failed, stored, wrong, revoked, started = (side.new_id() for _ in range(6))
        app.backend.mark_as_done(done, 5)
        app.backend.mark_as_failure(failed, ValueError("tea"))
        app.backend.store_result(stored, {"price": 3}, "SUCCESS")
        app.backend.store_result(wrong, KeyError("tea"), "FAILURE")
        app.backend.mark_as_revoked(revoked, "sold out")
        app.backend.mark_as_started(started, pid=1)
        ids = [done, failed, stored, wrong, revoked, started]
        states = [app.AsyncResult(one).state for one in ids]
        header = chord([boom.s(), add.s(1, 2)], same.s()) | same.s()
        sent = [side.task("ignore").delay(state) for state in ("FAILURE", "SUCCESS", "OWN")]
        sent += [side.task("outside").delay(1), app.send_task("nobody.knows"), header.apply_async()]
        ids += [one.id for one in sent]
        until(lambda: all(own.get_state(one) != "PENDING" for one in ids), WAIT_S)
        metas = [own.get_task_meta(one) for one in ids]
        return states, [(one["status"], re.sub(r"[0-9a-f-]{36}", "id", repr(one["result"]))) for one in metas]

    pair.both(script)


def test_tasks_that_are_left_out_wait_for_their_time(redis_url: str) -> None:
    """In our own worker: no store promotes them, and it does not keep them in memory as Celery's does."""

    def script(side: Side) -> Any:
        outside, retried = side.task("outside"), side.task("fails_and_retries").delay()
        sent, soon = time.monotonic(), outside.s(2).apply_async(countdown=1)
        found = [value(outside.delay(3)), value(soon)]
        waited = time.monotonic() - sent >= 1
        until(lambda: retried.state != "PENDING", WAIT_S)
        return found, waited, retried.state

    with beside(redis_url, redis_url, bridged="own", left_out=["proj.fails_and_retries"]) as both:
        assert both.both(script) == ([3, 2], True, "RETRY")


def test_what_cannot_be_meant_is_refused() -> None:
    for options in ({"exclude": "proj.*"}, {"results": "both"}):
        app = Celery(uuid.uuid4().hex, broker="memory://", set_as_current=False)
        with pytest.raises(ConfigurationError):
            install(app, **options)  # type: ignore[arg-type]
