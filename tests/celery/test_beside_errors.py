"""Errors beside stock Celery: those that cannot be pickled, and those of errbacks."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group

from tests.celery.beside import WAIT_S, Beside, Side, beside, outcome, value
from tests.celery.conftest import lines
from tests.waiting import until

KINDS = ["two arguments", "base", "local", "lock", "plain"]
CHANGING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+")
POOLS = [("threads", "", "json"), ("threads", "own", "json"), ("prefork", "", "json"), ("threads", "own", "pickle")]


@pytest.fixture(scope="module", params=POOLS, ids=["-".join(filter(None, one)) for one in POOLS])
def pair(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Beside]:
    pool, bridged, serializer = request.param
    conf = {"result_serializer": serializer, "accept_content": ["json", "pickle"]}
    with beside(redis_url, redis_url, pool, bridged=bridged, **conf) as both:
        yield both


def same(pair: Beside, script: Callable[[Side], Any], wanted: Any) -> None:
    """What a script answers. Stock Celery soon replaces the error of the task: whoever looks late sees another one."""
    assert script(pair.bridge) == wanted
    stock = script(pair.stock)
    assert wanted in (stock, script(pair.stock)), f"with stock Celery: {stock!r}"


def told(error: Any) -> str:
    """An error that can be compared."""
    return CHANGING.sub("#", f"{type(error).__module__} {error!r} {error}")


def noted(path: str) -> list[str]:
    return lines(path) if Path(path).exists() else []


def last_line(result: Any) -> str:
    return CHANGING.sub("#", str(result.traceback).strip().splitlines()[-1])


# -- errors that cannot be pickled -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_that_cannot_be_pickled(pair: Beside, tmp_path: Path, kind: str) -> None:
    def script(side: Side) -> Any:
        path = str(tmp_path / side.name)
        refuses, add = side.task("refuses"), side.task("add")
        result = refuses.apply_async((kind,), link_error=side.task("notes_error").s(path=path))
        value(result)
        until(Path(path).exists, WAIT_S)
        following = chain(refuses.si(kind), add.si(1, 1)).delay()
        until(following.ready, WAIT_S)
        return [told(result.result), last_line(result), told(following.result), CHANGING.sub("#", *lines(path))]

    pair.both(script)


@pytest.mark.parametrize("kind", ["two arguments", "lock"])
def test_a_chord_tells_of_an_error_that_cannot_be_pickled(pair: Beside, kind: str) -> None:
    def script(side: Side) -> Any:
        body = chord([side.task("refuses").si(kind), side.task("add").si(1, 1)], side.task("total").s()).delay()
        until(body.ready, WAIT_S)
        return told(body.result)

    pair.both(script)


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_of_a_task_that_will_be_tried_again(pair: Beside, kind: str) -> None:
    def script(side: Side) -> Any:
        result = side.task("refuses_again").delay(kind)
        until(lambda: result.state == "RETRY", WAIT_S)
        heard = [told(result.info), last_line(result)]
        result.revoke()
        return heard

    pair.both(script)


def test_what_was_tried_again_has_a_value_in_the_end(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("flaky").delay("fine", 2)
        return [value(result), result.state, result.traceback, result.children]

    pair.both(script)


@pytest.mark.parametrize("error", ["", "later"])
def test_a_task_that_says_itself_that_it_will_be_tried_again(pair: Beside, error: str) -> None:
    """It sends nothing, and that stays its state."""

    def script(side: Side) -> Any:
        result = chain(side.task("says_retry").si(error), side.task("add").si(1, 1)).delay()
        first = result.parent
        until(lambda: first.state == "RETRY", WAIT_S)
        value(side.task("add").delay(1, 1))
        return [told(first.info), last_line(first), first.ready(), first.children, first.state, result.state]

    pair.both(script)


@pytest.mark.parametrize("kind", ["", "plain"])
def test_a_task_that_rejects_its_message_for_good(pair: Beside, kind: str) -> None:
    """What it rejects it for is not the error of the task itself."""

    def script(side: Side) -> Any:
        result = side.task("rejects_for").delay(kind)
        until(result.ready, WAIT_S)
        return [result.state, told(result.result)]

    pair.both(script)


def test_a_result_that_cannot_be_read(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("looks_typed").delay()
        value(side.task("add").delay(1, 1))
        return [outcome(lambda: side.app.AsyncResult(result.id).get(timeout=WAIT_S)), outcome(lambda: result.state)]

    pair.both(script)


@pytest.mark.parametrize("countdown", ["0.3", [1], timedelta(seconds=1)])
def test_a_countdown_is_a_number(pair: Beside, countdown: Any) -> None:
    pair.both(lambda side: outcome(lambda: side.task("add").apply_async((1, 1), countdown=countdown)))


# -- errbacks that cannot be sent ------------------------------------------------------------------


def unsendable(side: Side, kind: str, path: str) -> Any:
    if kind == "arguments":
        return side.task("pid").s()  # it takes none, and is given an id
    if kind == "serializer":
        return side.task("on_error_id").s(path).set(serializer="unknown")
    if kind == "expires":
        return side.task("on_error_id").s(path).set(expires="soon")
    return group(side.task("on_error").s(path=path))  # a group is sent, and this task is to be called


@pytest.mark.parametrize(
    ("kind", "place"),
    [("arguments", "task"), ("expires", "task"), ("serializer", "end of a chain"), ("group", "body of a chord")],
)
def test_an_errback_that_cannot_be_sent(pair: Beside, tmp_path: Path, kind: str, place: str) -> None:
    """The task has failed with its own error; the errbacks before that one run, and those that are called."""

    def script(side: Side) -> Any:
        sent, behind, called, gate = (tmp_path / side.new_id() for _ in range(4))
        add, on_error_id, task = side.task("add"), side.task("on_error_id"), side.task("boom_later")
        task = task.si(str(called), str(gate))
        if place == "end of a chain":
            task = chain(add.si(1, 1), task)
        elif place == "body of a chord":
            task = chord([add.si(1, 1)], task)
        errbacks = [on_error_id.s(str(sent)), unsendable(side, kind, str(behind)), on_error_id.s(str(behind))]
        threading.Timer(0.3, gate.touch).start()
        heard = value(task.apply_async(link_error=[*errbacks, side.task("note").si(str(called), "called")]))
        until(lambda: sent.exists() and "called" in noted(str(called)), WAIT_S)
        value(add.delay(1, 1))
        return [heard, noted(str(called))[:2], behind.exists()]

    same(pair, script, ["builtins.ValueError: late", ["stale", "called"], False])


def test_who_is_told_of_an_errback_that_cannot_be_sent(pair: Beside, tmp_path: Path) -> None:
    """Stock Celery calls no handler of the task, and sends and calls errbacks several times, at last with the error of
    the one that cannot be sent, with which the task has then failed."""

    def script(side: Side) -> Any:
        path = str(tmp_path / side.name)
        sent, not_sent = side.task("on_error_id").s(path), side.task("pid").s()
        errbacks = [side.task("notes_error").s(path=path), sent, not_sent]
        result = side.task("hooked").apply_async((path,), link_error=errbacks)
        until(lambda: {"internal", "task"} <= {line.split()[0] for line in noted(path)}, WAIT_S)
        return result, noted(path)

    result, _ = script(pair.bridge)
    path = str(tmp_path / "bridge")
    until(lambda: any(line.startswith("on_failure") for line in noted(path)), WAIT_S)
    heard = sorted(noted(path))
    kinds = [line.split("(")[0] for line in heard]
    assert kinds == ["ValueError", "internal TypeError", "on_failure ValueError", f"task {result.id}"]
    assert repr(pair.bridge.app.AsyncResult(result.id).result) == "ValueError('boom')"
    until(lambda: f"an errback of task {result.id} cannot be sent" in pair.bridge.log(), WAIT_S)
    result, stock = script(pair.stock)
    assert {heard[1], f"task {result.id}"} <= set(stock)


@pytest.mark.parametrize("bridged", ["", "own"])
def test_an_errback_of_a_task_that_is_ended_cannot_be_sent(redis_url: str, tmp_path: Path, bridged: str) -> None:
    """By who ends it at its hard time limit: the main process of the pool, or our own worker."""

    def script(side: Side) -> Any:
        path = str(tmp_path / side.new_id())
        errbacks = [side.task("on_error_id").s(path), side.task("pid").s()]
        result = side.task("slow").apply_async((path,), link_error=errbacks)
        until(lambda: result.ready() and f"task {result.id}" in noted(path), WAIT_S)
        return type(result.result).__name__

    with beside(redis_url, redis_url, "prefork", 2, bridged=bridged) as both:
        same(both, script, "TimeLimitExceeded")
