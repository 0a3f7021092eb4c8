"""What a program of the project does with its tasks and results; prints what it has seen, as JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

from celery import Celery, chain, chord, group
from celery.result import AsyncResult, GroupResult, ResultSet, result_from_tuple

from tests.celery.results import got
from tests.celery.stranger.app import app, make
from tests.celery.stranger.shop.tasks import (
    add,
    again,
    annotated,
    asked,
    mail,
    price,
    sends_by_name,
    total,
    tree,
    unlucky,
    waits_for,
)

WAIT_S = 60
STEPS: list[Callable[[], Any]] = []


def step(function: Callable[[], Any]) -> Callable[[], Any]:
    STEPS.append(function)
    return function


def value(result: Any) -> Any:
    return got(result, WAIT_S)


def error(call: Callable[[], Any]) -> str:
    try:
        return f"returned {call()!r}"
    except Exception as problem:
        return f"{type(problem).__module__}.{type(problem).__name__}: {problem}"


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)


@step
def names() -> Any:
    return sorted(name for name in app.tasks if name.startswith("shop"))


@step
def by_name_from_a_process_without_tasks() -> Any:
    other = make(current=False)
    sent = other.send_task("shop.add", (2, 3), headers={"tenant": "other"})
    plain = other.send_task("shop.asked", (1,), {"two": 2}, time_limit=60, soft_time_limit=50)
    mailed = other.send_task("shop.mail", ("a@b.c",), compression="bzip2")
    found = [value(sent), value(plain), value(mailed), type(sent).__name__, sent.state]
    other.close()
    return found


@step
def serialized() -> Any:
    known = value(price.delay(Decimal("10.10")))
    meta = price.AsyncResult(price.apply_async((Decimal(1),), {"rate": Decimal("0.1")}).id)
    value(meta)
    return [
        str(known["gross"]),
        known["kind"],
        str(meta.args),
        str(meta.kwargs),
        re.sub("0x[0-9a-f]+", "", error(lambda: add.delay(object(), 1))),
        error(lambda: value(add.apply_async((1, 2), serializer="json"))),
        error(lambda: add.apply_async((1, 2), serializer="unheard")),
    ]


@step
def about() -> Any:
    result = asked.apply_async((1,), {"x": 2}, headers={"tenant": "shop"}, expires=600)
    seen = value(result)
    meta = app.backend.get_task_meta(result.id)
    return [
        seen,
        sorted(meta),
        [result.name, result.args, result.kwargs, result.retries, result.queue.rpartition(".")[2]],
        [bool(result.worker), type(result.date_done).__name__, result.traceback, result.children],
        value(annotated.delay()),
        value(mail.delay("me")),
        value(app.tasks["shop.order"].delay("tea", times=2)),
    ]


@step
def retried() -> Any:
    result = unlucky.delay()
    said = error(lambda: value(result))
    return [said, result.state, result.retries, repr(result.info), "no answer" in result.traceback]


@step
def repeated() -> Any:
    result = again.delay(2)
    first = value(result)
    second = value(AsyncResult(first, app=app))
    third = value(AsyncResult(second, app=app))
    return [first == f"{result.id}-2", second == f"{first}-1", third]


@step
def trees() -> Any:
    result = tree.delay(2)
    value(result)

    def whole() -> bool:
        found = list(result.iterdeps(intermediate=True))
        return len(found) == 10 and all(one.ready() for _, one in found)

    until(whole)
    graph = result.build_graph()
    return [
        sorted(str(got) for _, got in result.collect()),
        sorted(type(node).__name__ for node in graph),
        len(list(graph.edges())),
        result.get_leaf(),
        len(result.children[0]),
    ]


@step
def sets() -> Any:
    """(``join_native`` of a set that is no group does not return with stock Celery.)"""
    heard: list[Any] = []

    def made() -> ResultSet:
        return ResultSet([add.delay(number, number) for number in range(4)], app=app)

    def sent() -> Any:
        return group(add.s(number, number) for number in range(4)).apply_async()

    joined, all_ = made(), sent()
    found = [joined.join(timeout=WAIT_S), sent().join_native(timeout=WAIT_S), made().join(timeout=WAIT_S)]
    found += [all_.get(timeout=WAIT_S, callback=lambda task_id, got: heard.append(got)), sorted(heard)]
    found.append(sorted(got["result"] for _, got in sent().iter_native()))
    counts = [joined.completed_count(), joined.successful(), joined.failed(), joined.waiting(), joined.ready()]
    return [found, counts, joined.supports_native_join, len(joined), joined[0].get(), bool(joined.backend)]


@step
def groups() -> Any:
    result = group(add.s(number, 1) for number in range(3)).apply_async()
    result.save()
    restored: Any = GroupResult.restore(result.id, app=app)
    again_: Any = result_from_tuple(json.loads(json.dumps(result.as_tuple())), app)
    found = [restored.join(timeout=WAIT_S), value(again_), restored == result, type(restored).__name__]
    result.delete()
    return [*found, GroupResult.restore(result.id, app=app), len(result)]


@step
def revoked() -> Any:
    one = add.apply_async((1, 1), countdown=3600)
    several = group(add.s(1, 1), add.s(2, 2)).apply_async(countdown=3600)
    one.revoke()
    several.revoke()
    said = [error(partial(value, result)) for result in (one, *several)]
    return [said, one.state, sorted(result.state for result in several), one.successful(), one.failed()]


@step
def promised() -> Any:
    heard: list[Any] = []
    result = add.delay(1, 2)
    got = result.get(timeout=WAIT_S, callback=lambda task_id, got: heard.append([task_id == result.id, got]))
    return [got, heard, result.result, result.info, result.ready(), result.maybe_throw()]


@step
def forgotten() -> Any:
    result = add.delay(1, 2)
    value(result)
    result.forget()
    by_hand = AsyncResult("by-hand-" + result.id, app=app)
    app.backend.store_result(by_hand.id, {"own": Decimal(1)}, "SUCCESS")
    return [
        app.AsyncResult(result.id).state,
        app.backend.get_state(by_hand.id),
        str(app.backend.get_result(by_hand.id)),
        app.backend.get_traceback(by_hand.id),
        app.AsyncResult("never").state,
    ]


@step
def canvas() -> Any:
    sent = app.signature(json.loads(json.dumps(chain(add.s(1, 2), add.s(3)), default=str)))
    linked = add.apply_async((1, 1), link=add.s(10))
    value(linked)
    until(lambda: app.AsyncResult(linked.id).children)
    (child,) = app.AsyncResult(linked.id).children
    return [
        value(sent.apply_async()),
        value(chord([add.s(1, 1), add.s(2, 2)])(total.s())),
        value(add.starmap([(1, 1), (2, 2)]).apply_async()),
        value(add.chunks([(1, 1), (2, 2), (3, 3)], 2).apply_async()),
        value(child),
        value(waits_for.delay(4)),
        value(AsyncResult(value(sends_by_name.delay("shop.add", [5, 5])), app=app)),
        add.apply((1, 1)).get(),
        error(lambda: add.apply(("a", 1)).get()),
        value(add.si(1, 1).set(queue=app.conf.task_default_queue).apply_async()),
    ]


@step
def controlled() -> Any:
    replies = app.control.broadcast("ping", reply=True, timeout=WAIT_S, limit=1)
    return [
        [answer for one in replies for answer in one.values()],
        len(app.control.ping(timeout=WAIT_S, limit=1)),
        app.control.revoke("nobody") is None,
        isinstance(app.control.inspect(timeout=WAIT_S, limit=1).registered(), dict),
    ]


def main(project: Celery) -> None:
    found = {one.__name__: one() for one in STEPS}
    print(json.dumps(found, default=str))
    project.close()


if __name__ == "__main__":
    main(app)
