"""Canvas: https://docs.celeryq.dev/en/stable/userguide/canvas.html"""

from __future__ import annotations

import time
import warnings
from typing import Any

from celery import Signature, chain, chord, group, signature
from celery.canvas import StampingVisitor
from celery.result import IncompleteStream

from tests.celery.beside import WAIT_S, Side, value
from tests.celery.conftest import lines
from tests.celery.documented.conftest import Trial
from tests.celery.documented.statements import Page, Statement, kind
from tests.celery.results import got
from tests.waiting import until

PAGE = Page()
CONF = {"result_extended": True}


def family(result: Any) -> list[Any]:
    """The values of a result and of its parents."""
    found = []
    while result is not None:
        found.append(value(result))
        result = result.parent
    return found


# -- Signatures -----------------------------------------------------------------------------------


@PAGE.says("supports the Calling API of delay, apply_async, etc., including being called directly", [4, 4, 4, 4])
def signatures(side: Side) -> Any:
    add = side.task("add")
    named = signature("proj.add", args=(2, 2), app=side.app)
    return [value(named.delay()), add.s(2, 2)(), value(add.signature((2, 2)).apply_async()), ~add.s(2, 2)]


@PAGE.says("it can be … serialized and sent across the wire", [4, 10])
def signatures_as_arguments(side: Side) -> Any:
    add = side.task("add")
    sent = Signature.from_dict(dict(add.s(2, 2)), app=side.app)
    passed = value(side.task("applies").delay(add.s(4), 6))
    return [value(sent.delay()), value(side.app.AsyncResult(passed))]


@PAGE.says("Additional args passed to delay/apply_async are prepended to the signature args", [20, 20])
def partials(side: Side) -> Any:
    partial = side.task("subtract").s(10)
    return [value(partial.delay(30)), value(partial.apply_async((30,)))]


@PAGE.says("with the new keyword arguments taking precedence", [100, 100, 1])
def keyword_partials(side: Side) -> Any:
    partial = side.task("subtract").s(2, 1, debug=False)
    results = [partial.delay(debug=True), partial.apply_async(kwargs={"debug": True}), partial.clone().delay()]
    return [value(one) for one in results]


@PAGE.says("with the new options taking precedence", 4)
def options(side: Side) -> Any:
    return value(side.task("add").signature((2, 2), countdown=3600).apply_async(countdown=0.01))


@PAGE.says("It's not possible to call the signature with partial args/kwargs", [4, 4])
def immutable(side: Side) -> Any:
    add = side.task("add")
    result = add.apply_async((1, 1), link=add.si(2, 2))
    value(result)
    until(lambda: side.app.AsyncResult(result.id).children, WAIT_S)
    return [value(add.si(2, 2).delay(100)), value(side.app.AsyncResult(result.id).children[0])]


# -- Chains ---------------------------------------------------------------------------------------


@PAGE.says("2 + 2 + 4 + 8", [16, 16, 352])
def chains(side: Side) -> Any:
    add, mul = side.task("add"), side.task("mul")
    shapes = [
        chain(add.s(2, 2), add.s(4), add.s(8)),
        add.s(2, 2) | add.s(4) | add.s(8),
        add.s(4, 16) | mul.s(2) | (add.s(4) | mul.s(8)),
    ]
    return [value(one()) for one in shapes]


@PAGE.says("It also sets parent attributes so that you can work your way up the chain", [[640, 64, 8], [16, 8, 4]])
def parents(side: Side) -> Any:
    add, mul = side.task("add"), side.task("mul")
    shapes = [chain(add.s(4, 4), mul.s(8), mul.s(10)), add.si(2, 2) | add.si(4, 4) | add.si(8, 8)]
    return [family(one()) for one in shapes]


@PAGE.says("The results will keep track of any subtasks called by the original task", [4, [64], [4, 64]])
def children(side: Side) -> Any:
    result = side.task("add").apply_async((2, 2), link=side.task("mul").s(16))
    answer = value(result)
    until(lambda: side.app.AsyncResult(result.id).children, WAIT_S)
    found = side.app.AsyncResult(result.id)
    nested = [value(one) for one in found.children]
    return [answer, nested, [one for _, one in found.collect()]]


@PAGE.says("By default collect will raise an IncompleteStream exception", True)
def incomplete(side: Side) -> Any:
    result = side.task("add").apply_async((1, 1), countdown=3600)
    try:
        list(result.iterdeps())
    except IncompleteStream:
        return True
    finally:
        result.revoke()


@PAGE.says("A chain will inherit the task id of the last task in the chain", True)
def ids_of_chains(side: Side) -> Any:
    add, own = side.task("add"), side.new_id()
    result = chain(add.s(1, 1), add.s(1).set(task_id=own)).apply_async()
    return result.id == own and value(result) == 3


@PAGE.says("you can work with the result graph as a DependencyGraph", [3, True])
def graphs(side: Side) -> Any:
    add, mul = side.task("add"), side.task("mul")
    result = chain(add.s(4, 4), mul.s(8), mul.s(10))()
    value(result)
    until(
        lambda: result.parent.ready() and result.parent.parent.ready(), WAIT_S
    )  # they are stored after the next one is sent
    graph = result.parent.parent.graph
    order = [one.id for one in graph.topsort()]
    return [len(order), order.index(result.id) < order.index(result.parent.parent.id)]


@PAGE.says("using the on_error method", ["ValueError True"])
def errors_of_signatures(side: Side) -> Any:
    path = side.folder / "on_error"
    side.task("boom").s().on_error(side.task("log_error").s(path=str(path))).delay()
    until(lambda: path.exists() and lines(str(path)), WAIT_S)
    return lines(str(path))


# -- Groups ---------------------------------------------------------------------------------------


@PAGE.says("a GroupResult instance is returned that can be used to keep track", [[4, 8], True, True, False, False, 2])
def groups(side: Side) -> Any:
    add = side.task("add")
    result = group(add.s(2, 2), add.s(4, 4))()
    answer = got(result, WAIT_S)
    found = [result.ready(), result.successful(), result.failed(), result.waiting(), result.completed_count()]
    return [answer, *found]


@PAGE.says("Return True if any of the subtasks failed", [True, True, False, 1])
def failed_groups(side: Side) -> Any:
    result = group(side.task("add").s(2, 2), side.task("boom").s())()
    until(result.ready, WAIT_S)
    return [result.failed(), result.ready(), result.successful(), result.completed_count()]


@PAGE.says("the return value of the previous task is forwarded to all tasks in the group", [[5, 6], [[3, 3], 8]])
def groups_in_chains(side: Side) -> Any:
    add = side.task("add")
    forwarded = (add.s(2, 2) | group(add.s(1), add.s(2)))()
    fixed = (add.s(4, 4) | group(add.si(1, 2), add.si(1, 2)))()
    return [got(forwarded, WAIT_S), [got(fixed, WAIT_S), value(fixed.parent)]]


@PAGE.says("it can be expected to invoke the log_error() signature once for each failing task", 2)
def errbacks_of_groups(side: Side) -> Any:
    path, boom = side.folder / "group errbacks", side.task("boom")
    failing = group(boom.s(), boom.s())
    failing.link_error(side.task("log_error").s(path=str(path)))
    failing()
    until(lambda: path.exists() and len(lines(str(path))) == 2, WAIT_S)
    return len(lines(str(path)))


@PAGE.says("the return values of a group are not collected to be passed to a linked callback", [[4, 8], ["ran"]])
def links_of_groups(side: Side) -> Any:
    """Celery links an immutable one to the first task."""
    add, path = side.task("add"), side.folder / "group links"
    linked = group(add.s(2, 2), add.s(4, 4))
    linked.link(side.task("note").s(str(path)))
    answer = got(linked(), WAIT_S)
    until(lambda: path.exists() and lines(str(path)), WAIT_S)
    return [answer, lines(str(path))]


@PAGE.says("A group with a single signature will be unrolled to a single signature when chained", [6, 6])
def unrolled_groups(side: Side) -> Any:
    add = side.task("add")
    shapes = [chain(add.s(2, 2), group(add.s(1)), add.s(1)), chain(group(add.s(2, 2)), add.s(2))]
    return [value(one()) for one in shapes]


@PAGE.says("GroupResult.revoke … Revoke all of the subtasks", ["TaskRevokedError", "TaskRevokedError"], "redis|rabbit")
def revoked_groups(side: Side) -> Any:
    add = side.task("add")
    result = group(add.s(1, 1), add.s(2, 2)).apply_async(countdown=3600)
    until(lambda: side.log().count("received") >= 2, WAIT_S)
    result.revoke()
    return [kind(one) for one in result.results]


@PAGE.says("GroupResult.save / restore", [2, 4])
def saved_groups(side: Side) -> Any:
    add = side.task("add")
    result = group(add.s(1, 1), add.s(2, 2))()
    result.save()
    return got(side.app.GroupResult.restore(result.id), WAIT_S)


# -- Chords ---------------------------------------------------------------------------------------


@PAGE.says("chord((add.s(i, i) for i in range(100)), tsum.s())", [90, 90, 90])
def chords(side: Side) -> Any:
    add, total = side.task("add"), side.task("total")
    shapes = [
        chord(add.s(i, i) for i in range(10))(total.s()),
        chord([add.s(i, i) for i in range(10)], total.s())(),
        (group(add.s(i, i) for i in range(10)) | total.s())(),
    ]
    return [value(one) for one in shapes]


@PAGE.says("The body of a chord can also be immutable", "fixed")
def immutable_bodies(side: Side) -> Any:
    add = side.task("add")
    return value(chord([add.s(1, 1), add.s(2, 2)], side.task("same").si("fixed"))())


@PAGE.says("The chord callback result will transition to the failure state … ChordError", ["ValueError", True, 16])
def failed_chords(side: Side) -> Any:
    add = side.task("add")
    result = chord([add.s(4, 4), side.task("boom").s(), add.s(8, 8)], side.task("total").s())()
    answer = kind(result)
    until(lambda: side.app.AsyncResult(result.id).ready(), WAIT_S)
    text = str(side.app.AsyncResult(result.id).result)
    failed = result.parent.results[1].id
    return [answer, text.startswith(f"Dependency {failed} raised ValueError"), value(result.parent.results[2])]


@PAGE.says("attach an errback to the chord callback … receives the id of the failed chord callback", [True, True])
def errbacks_of_chords(side: Side) -> Any:
    found = []
    for number, name in enumerate(("log_error", "names_task")):
        path = side.folder / f"chord errbacks {number}"
        body = side.task("total").s().on_error(side.task(name).s(path=str(path)))
        result = (group(side.task("boom").s(), side.task("add").s(1, 1)) | body).delay()
        until(lambda path=path: path.exists() and lines(str(path)), WAIT_S)  # type: ignore[misc]
        found.append(lines(str(path))[0].split()[0] in ("ChordError", result.id))
    return found


@PAGE.says("link the provided signature to the chord's body", [[6], [16]])
def links_of_chords(side: Side) -> Any:
    add = side.task("add")
    linked = chord([add.s(1, 1), add.s(2, 2)], side.task("total").s())
    linked.link(add.s(10))
    result = linked()
    answer = value(result)
    until(lambda: side.app.AsyncResult(result.id).children, WAIT_S)
    return [[answer], [value(one) for one in side.app.AsyncResult(result.id).children]]


@PAGE.says("You can also pass link and link_error to chord.apply_async()", [6, 16])
def links_of_applied_chords(side: Side) -> Any:
    add = side.task("add")
    result = chord([add.s(1, 1), add.s(2, 2)], side.task("total").s()).apply_async(link=add.s(10))
    answer = value(result)
    until(lambda: side.app.AsyncResult(result.id).children, WAIT_S)
    return [answer, value(side.app.AsyncResult(result.id).children[0])]


@PAGE.says("countdown and eta passed to apply_async … delay the header tasks", [6, True])
def delayed_chords(side: Side) -> Any:
    add, begun = side.task("add"), time.monotonic()
    result = chord([add.s(1, 1), add.s(2, 2)], side.task("total").s()).apply_async(countdown=0.5)
    return [value(result), time.monotonic() - begun > 0.4]


# -- Map, chunks and stamps -----------------------------------------------------------------------


@PAGE.says("only one task message is sent. the operation is sequential", [[45, 4950], [0, 2, 4], [[0, 2], [4]]])
def maps(side: Side) -> Any:
    add, total = side.task("add"), side.task("total")
    pairs = list(zip(range(3), range(3), strict=True))
    chunked = add.chunks(pairs, 2)()
    shapes = [total.map([list(range(10)), list(range(100))]), add.starmap(pairs)]
    return [*(value(one.apply_async()) for one in shapes), got(chunked, WAIT_S)]


@PAGE.says("You can also convert chunks to a group … skew the countdown of each task", [[0, 2], [4, 6]])
def skewed(side: Side) -> Any:
    chunked = side.task("add").chunks([(i, i) for i in range(4)], 2).group()
    return got(chunked.skew(start=0.1, step=0.1)(), WAIT_S)


@PAGE.says("sig1_res._get_task_meta()['stamp']", [[4, 6], "your_custom_stamp"], on="redis|rabbitmq")
def stamps(side: Side) -> Any:
    add = side.task("add")
    first = add.si(2, 2)
    frozen = first.freeze()
    stamped = group(first, add.si(3, 3))
    stamped.stamp(stamp="your_custom_stamp")
    return [got(stamped.apply_async(), WAIT_S), frozen._get_task_meta()["stamp"]]


class Visitor(StampingVisitor):
    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"header": "value"}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        return {"on_callback": True}


@PAGE.says("This custom stamping visitor will stamp the signature, callbacks, and errbacks", ["value", True])
def visitors(side: Side) -> Any:
    add = side.task("add")
    stamped = chord([side.task("stamps").s(), add.s(2, 2)], side.task("same").s())
    stamped.link(side.task("stamps").s())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stamped.stamp(visitor=Visitor())
    result = stamped.apply_async()
    header = value(result)[0]
    until(lambda: side.app.AsyncResult(result.id).children, WAIT_S)
    callback = value(side.app.AsyncResult(result.id).children[0])
    return [header["header"], callback["on_callback"]]


@PAGE.says("chain tasks are replaced", [3, [4, 6], 6])
def replaced(side: Side) -> Any:
    shapes = ["task", "group", "chord"]
    results = [side.task("replaced_by").delay(one) for one in shapes]
    return [value(one) for one in results]


@PAGE.tried_on("redis-threads", "rabbitmq-prefork", "sqs-solo")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)
