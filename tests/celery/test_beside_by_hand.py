"""Results and states that a program stores itself, beside stock Celery: with a backend's own methods, in any order,
from within tasks and of ids that never were a task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
from celery import states

from stratix_kombu.lifecycle.one_job import set_progress
from stratix_kombu.lifecycle.outcomes import fail
from stratix_kombu.model.record import Failure
from tests.celery.beside import WAIT_S, Beside, Side, beside, outcome, value
from tests.celery.test_beside_routes import both
from tests.celery.workers import Project
from tests.waiting import until


def _from_the_stack(backend: Any, one: str) -> None:
    try:
        raise KeyError("k")
    except KeyError:
        backend.fail_from_current_stack(one)


CALLS: dict[str, Callable[[Any, str], Any]] = {
    "started": lambda backend, one: backend.mark_as_started(one, pid=7, hostname="h"),
    "done": lambda backend, one: backend.mark_as_done(one, {"a": 1}),
    "done, not to be stored": lambda backend, one: backend.mark_as_done(one, 3, store_result=False),
    "failed": lambda backend, one: backend.mark_as_failure(one, ValueError("v"), traceback="Lines: v"),
    "failed, not to be stored": lambda backend, one: backend.mark_as_failure(one, ValueError("n"), store_result=False),
    "failed from the stack": _from_the_stack,
    "retried": lambda backend, one: backend.mark_as_retry(one, ValueError("r"), traceback="Lines: r"),
    "progress": lambda backend, one: backend.store_result(one, {"p": 1}, "PROGRESS"),
    "success": lambda backend, one: backend.store_result(one, [2], "SUCCESS"),
    "failure": lambda backend, one: backend.store_result(one, KeyError("x"), "FAILURE", traceback="Lines: x"),
    "pending": lambda backend, one: backend.store_result(one, None, "PENDING"),
    "forgotten": lambda backend, one: backend.forget(one),
}
FIRST: dict[str, Callable[[Any, str], Any]] = {
    "unreadable": lambda backend, one: backend.store_result(one, object(), "PROGRESS"),
    "revoked": lambda backend, one: backend.mark_as_revoked(one, "why"),
    "revoked, not to be stored": lambda backend, one: backend.mark_as_revoked(one, "n", store_result=False),
}
"""Workers mark as revoked what they do not know to run: with the bridge that does not change how a task has ended."""


def _seen(app: Any, one: str) -> list[Any]:
    meta = app.backend.get_task_meta(one, cache=False)
    trace = (meta.get("traceback") or "").strip().splitlines()[-1:]
    children = meta.get("children")
    count = None if children is None else len(children)
    return [meta["status"], repr(meta["result"]), trace, count, bool(meta.get("date_done"))]


def test_what_is_stored_by_hand_in_any_order(redis_url: str) -> None:
    differ = []
    with both(redis_url) as apps:
        for first, second in product({**CALLS, **FIRST}, CALLS):
            said = []
            for name, (app, _) in apps.items():
                one = f"{name}-{first}-{second}"
                calls = [{**CALLS, **FIRST}[first], CALLS[second]]
                said.append([(outcome(lambda: call(app.backend, one)), _seen(app, one)) for call in calls])  # noqa: B023
            if said[0] != said[1]:
                differ.append((first, second, *said))
    assert not differ


@pytest.fixture(scope="module", params=["threads", "prefork", "own"])
def pair(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Beside]:
    pool = "threads" if request.param == "own" else request.param
    with beside(redis_url, redis_url, pool, bridged=request.param) as both_sides:
        yield both_sides


ENDS = [
    (["success"], ""),
    (["success"], "raise"),
    (["success", "progress"], "ignore"),
    (["failure"], ""),
    (["failure"], "ignore"),
    (["failure", "progress"], "ignore"),
    (["progress"], "raise"),
    (["progress"], "ignore"),
    (["child", "progress"], "ignore"),
    (["done"], "ignore"),
    (["done by id"], ""),
    (["failed by id"], "ignore"),
    (["started"], "ignore"),
    (["retry"], "ignore"),
    (["revoked"], "ignore"),
    (["unreadable"], ""),
]


def test_what_a_task_stores_itself(pair: Beside) -> None:
    def script(side: Side) -> Any:
        app, sent = side.app, []
        for steps, end in ENDS:
            sent.append(side.task("store").apply_async((steps, end), task_id=side.new_id()))
        for one in sent:  # an ignored one has no result to wait for
            until(lambda: f"[{one.id}]" in side.log() or one.state != "PENDING", WAIT_S)  # noqa: B023
        last = side.task("add").delay(1, 1)
        assert value(last) == 2
        for (steps, end), one in zip(ENDS, sent, strict=True):
            # Of a task that goes on after it has stored a failure, the success is waited for.
            ends = ("SUCCESS",) if not end and steps != ["unreadable"] else states.READY_STATES
            more = ("PROGRESS", "STARTED", "RETRY") if end == "ignore" else ()
            # Asked anew: a result that has seen an end does not look again.
            until(lambda: app.AsyncResult(one.id).state in (*ends, *more), WAIT_S)  # noqa: B023
        return [(*how, _seen(app, one.id)) for how, one in zip(ENDS, sent, strict=True)]

    pair.both(script)


def test_a_success_that_a_task_has_stored_stands_while_its_failure_is_stored(on_redis: Project) -> None:
    """It raises an error after that: between the steps that store this, nobody sees it."""
    bridge, backend = on_redis.app.stratix_bridge, on_redis.app.backend
    result = on_redis.task("store").delay(["success"], "raise")
    claim = bridge.claims.claim(on_redis.queue.name, result.id)
    set_progress(bridge.engine, result.id, json.dumps(backend.progress_of("SUCCESS", 1)))
    fail(bridge.engine, [Failure(result.id, claim.token, "ValueError: v")])
    assert (on_redis.queue.get_job(result.id).state, _seen(on_redis.app, result.id)[:2]) == ("failed", ["SUCCESS", "1"])


def test_what_handlers_store_is_the_last_word(pair: Beside) -> None:
    """Except for a task that has succeeded, whose result nothing replaces."""
    ends = [("raise", one) for one in ("failure", "progress", "done by id", "success", "started")]
    ends += [("retry", "progress"), ("", "progress"), ("", "failure")]
    expected = {"failure": "KeyError('mine')", "progress": "1", "done by id": "{'x': 2}", "success": "1"}

    def script(side: Side) -> Any:
        sent = [side.task("tidy").apply_async(kwargs={"end": end, "then": then}) for end, then in ends]
        for (end, then), one in zip(ends, sent, strict=True):
            known = "2" if not end else expected.get(then, "{'x': 1}")
            until(lambda: repr(side.app.AsyncResult(one.id).result) == known, WAIT_S)  # noqa: B023
        return [(*how, _seen(side.app, one.id)[:3]) for how, one in zip(ends, sent, strict=True)]

    pair.both(script)


def test_a_chain_goes_on_behind_a_task_that_stores_its_result(pair: Beside) -> None:
    def script(side: Side) -> Any:
        return value((side.task("store").s(["done by id"]) | side.task("add").s(5)).delay())

    assert pair.both(script) == 7


def test_a_result_that_cannot_be_written_is_an_encode_error(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("no_json").delay()
        until(result.ready, WAIT_S)
        return [type(result.result).__name__, type(result.result).__module__]

    assert pair.both(script) == ["EncodeError", "kombu.exceptions"]
