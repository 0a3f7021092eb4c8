"""Celery's results beside stock Celery: what is asked of them before, while and after their tasks run. Each script
has a time of its own, so that one which never returns is an answer, too."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group, states
from celery.result import ResultSet, result_from_tuple

from tests.celery.beside import WAIT_S, Beside, Side, beside, outcome
from tests.celery.results import LOOK_S
from tests.waiting import until

LIMIT_S = 40
SHORT_S = 0.2
"""For what does not end by then."""


@pytest.fixture(scope="module", params=["threads", "own"])
def pair(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, bridged=request.param, result_extended=True) as both:
        yield both


def asked(script: Callable[[Side], Any], side: Side) -> Any:
    """What the script answers, within its time. The whole of it is run by one thread: stock Celery has a backend for
    each, and another one waits in vain for a group."""
    answers = list[Any]()
    asking = threading.Thread(target=lambda: answers.append(outcome(lambda: script(side))), daemon=True)
    asking.start()
    asking.join(LIMIT_S)
    return answers[0] if answers else "does not return"


def same(pair: Beside, script: Callable[[Side], Any]) -> Any:
    """What a script answers on both sides. Stock Celery may miss news on Redis (see ``got``): then it is asked anew."""
    answer = asked(script, pair.bridge)
    for _ in range(3):
        stock = asked(script, pair.stock)
        if stock == answer or not ("does not return" in repr(stock) or "TimeoutError" in repr(stock)):
            break
    assert answer == stock, f"with stock Celery: {stock!r}; with the bridge: {answer!r}"
    return answer


def told(value: Any) -> Any:
    """An answer that can be compared: errors, and whatever holds them, as text."""
    if isinstance(value, BaseException):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [told(one) for one in value]
    return value


def each(*calls: Callable[[], Any]) -> list[Any]:
    """What each of these calls answers."""
    return [told(outcome(call)) for call in calls]


def at(result: Any, state: str = "") -> Any:
    """The result, of which nothing is known here, once its task is in that state, or has ended."""

    def is_there(one: Any) -> bool:
        if isinstance(one, ResultSet):
            return all(map(is_there, one.results))
        found = one.app.backend.get_task_meta(one.id, cache=False)["status"]
        return bool(found == state or (not state and found in states.READY_STATES))

    until(lambda: is_there(result), WAIT_S)
    return result


def about(result: Any) -> list[Any]:
    return [
        *(result.state, told(result.info), type(result.traceback).__name__, result.ready(), result.failed()),
        *(result.name, result.args, result.kwargs, result.retries, type(result.date_done).__name__, result.exists()),
        *(len(result.children) if result.children is not None else None, result.parent and result.parent.state),
    ]


def three(side: Side) -> Any:
    return at(group(side.task("add").s(number, 1) for number in range(3)).delay())


def partly_failed(side: Side) -> Any:
    add = side.task("add")
    return at(group(add.s(1, 1), side.task("boom").si(), add.s(2, 2)).delay())


# -- one result ------------------------------------------------------------------------------------


def test_what_results_tell_of_their_tasks(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        gate = str(tmp_path / side.new_id())  # another one where the script is asked anew
        running = at(side.task("tracked").delay(gate), "STARTED")
        retried = at(side.task("fails_and_retries").delay(), "RETRY")
        answers = [sorted(running.info), about(retried), sorted(retried._get_task_meta())]
        retried.revoke()
        Path(gate).touch()
        ended = [
            side.task("add").delay(1, y=2),
            side.task("boom").delay(1),
            side.task("flaky").delay(5, 2),
            side.task("odd").delay(),
            side.task("no_json").delay(),
            side.task("parent_of").delay(False),
            side.app.send_task("proj.same", kwargs={"value": None}),
        ]
        answers += [about(at(one)) for one in ended]
        answers += [sorted(one._get_task_meta()) for one in ended]
        answers.append(about(side.app.AsyncResult(side.new_id())))
        return [answers[0], answers[1], *map(str, answers[2:])]

    same(pair, script)


def test_a_task_that_will_be_tried_again(pair: Beside) -> None:
    """Its metadata is that of the attempt which has ended."""

    def script(side: Side) -> Any:
        result = at(side.task("fails_and_retries").delay(), "RETRY")
        meta = side.app.backend.get_task_meta(result.id, cache=False)
        result.revoke()
        return [sorted(meta), meta["retries"], meta["date_done"], meta["children"] == [[[result.id, None], None]]]

    same(pair, script)


def test_a_task_that_is_revoked_before_it_runs(pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("add").apply_async((1, 2), countdown=2)
        result.revoke()
        at(result, "REVOKED")
        calls = each(result.get, lambda: result.get(propagate=False), result.maybe_throw)
        # Stock answers None or [], which is a matter of time.
        return [calls, result.children or None, result.traceback, result.failed(), result.exists()]

    same(pair, script)


def test_options_of_get(pair: Beside) -> None:
    def script(side: Side) -> Any:
        answers, heard = [], list[Any]()
        options: list[dict[str, Any]] = [
            {},
            {"propagate": False},
            {"interval": 0},
            {"no_ack": False},
            {"follow_parents": False},
            {"callback": lambda _, value: heard.append(told(value))},
            {"callback": lambda _, value: heard.append(told(value)), "propagate": False},
            {"on_message": heard.append},
            {"on_interval": lambda: heard.append("interval")},
            {"EXCEPTION_STATES": (), "PROPAGATE_STATES": ()},
            {"timeout": 0},
            {"timeout": "not a number"},
        ]
        for name in ("add", "boom"):
            for one in options:
                result = at(side.task(name).delay(1, 2))
                given = {"timeout": LOOK_S, **one}
                answers.append(each(partial(result.get, **given)))
        unknown = side.app.AsyncResult(side.new_id())
        answers += each(*(partial(unknown.get, timeout=seconds) for seconds in (0, -1, SHORT_S)))
        return [answers, heard]

    same(pair, script)


def test_a_result_is_waited_for(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        gate, heard = tmp_path / side.new_id(), list[Any]()
        result = side.task("steps").delay(str(gate))
        timed_out = each(lambda: result.get(timeout=SHORT_S))

        def opened() -> None:
            heard.append("interval")
            gate.touch()

        return [timed_out, each(lambda: result.get(timeout=LOOK_S, interval=0.01, on_interval=opened)), heard[:1]]

    same(pair, script)


def test_a_retry_is_heard_of_once(pair: Beside) -> None:
    def script(side: Side) -> Any:
        heard, result = list[Any](), side.task("flaky").delay(1, 1, 0.5)
        value = each(lambda: result.get(timeout=LOOK_S, on_message=lambda meta: heard.append(meta["status"])))
        long, again = side.task("fails_and_retries").delay(), list[Any]()
        value += each(lambda: long.get(timeout=2.5, on_message=lambda meta: again.append(told(meta["result"]))))
        long.revoke()
        return [value, heard, again]

    same(pair, script)


def test_copies_and_tuples(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, answers = side.task("add"), []
        results = [
            chain(add.s(1, 1), add.s(2)).delay(),
            group(add.s(1, 1), chain(add.s(1, 1), add.s(2))).delay(),
            chord([add.s(1, 1)] * 2, side.task("total").s()).delay(),
        ]
        for one in map(at, results):
            again = result_from_tuple(one.as_tuple(), side.app)
            answers.append([again == one, type(again).__name__, again.get(timeout=LOOK_S), hash(again) == hash(one.id)])
        one = results[0]
        other = copy.copy(one)
        answers.append([other == one, other.parent == one.parent, other.get(timeout=LOOK_S), len(one.as_list())])
        return answers

    same(pair, script)


# -- chains ----------------------------------------------------------------------------------------


def test_later_steps_of_a_chain_that_failed(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add = side.task("add")
        last = at(chain(add.s(1, 1), side.task("boom").s(), add.s(3), add.s(4)).delay())
        failed = last.parent.parent
        nested = at(chain(side.task("boom").si(), chord([add.s(1)], side.task("total").s()), add.s(1)).delay())
        return [
            [one.traceback == failed.traceback and "ValueError: boom" in one.traceback for one in (last.parent, last)],
            ["ValueError: boom" in (nested.traceback or "")],
            [len(one.children) for one in (last, last.parent, failed, failed.parent)],
            each(lambda: last.get(timeout=LOOK_S), lambda: last.get(timeout=LOOK_S, follow_parents=False)),
        ]

    same(pair, script)


def test_the_body_of_a_chord_that_failed(pair: Beside) -> None:
    def script(side: Side) -> Any:
        header = [side.task("add").s(1, 1), side.task("boom").si()]
        sent = at(chord(header, side.task("total").s()).delay())
        body = side.app.AsyncResult(sent.id)
        return [body.state, type(body.result).__name__, "ChordError: Dependency" in body.traceback, body.children]

    same(pair, script)


def test_errbacks_are_no_children_of_a_task_that_failed(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        notes = tmp_path / side.new_id()
        result = side.task("boom").apply_async(link_error=side.task("on_error_id").s(str(notes)))
        until(notes.exists, WAIT_S)
        return at(result).children

    assert same(pair, script) == []


def test_a_tree_of_results(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        add = side.task("add")
        last = at(chain(add.s(1, 1), group(add.s(1), add.s(2)), side.task("total").s()).delay())
        first = last.parent.parent
        gate = tmp_path / side.new_id()
        waits = chain(add.si(1, 1), side.task("tracked").si(str(gate))).delay()
        at(waits.parent)
        unready = each(
            lambda: list(waits.parent.collect(timeout=SHORT_S)),
            lambda: list(waits.parent.collect(intermediate=True, timeout=SHORT_S)),
            lambda: len(list(waits.parent.iterdeps(intermediate=True))),
            waits.parent.build_graph,
        )
        gate.touch()
        nodes = [type(node).__name__ for _, node in first.iterdeps()]
        collected = [value for _, value in first.collect(timeout=LOOK_S)]
        return [unready, nodes, collected, first.get_leaf(), len(list(first.graph)), last.get(timeout=LOOK_S)]

    same(pair, script)


# -- groups ----------------------------------------------------------------------------------------


def test_questions_of_a_group(pair: Beside) -> None:
    def script(side: Side) -> Any:
        answers = []
        for result in (three(side), partly_failed(side)):
            ways = result.get, result.join, result.join_native
            answers += each(*(partial(get, timeout=LOOK_S) for get in ways))
            answers += each(*(partial(get, timeout=LOOK_S, propagate=False) for get in ways))
            answers += [
                result.ready(),
                result.successful(),
                result.failed(),
                result.waiting(),
                result.completed_count(),
            ]
            answers += each(result.maybe_throw, partial(result.maybe_throw, propagate=False))
            metas = [meta for _, meta in result.iter_native(timeout=LOOK_S)]
            answers.append(sorted((meta["status"], str(meta["result"])) for meta in metas))
        return answers

    same(pair, script)


def test_a_group_hears_what_its_tasks_tell(pair: Beside, tmp_path: Path) -> None:
    """Whoever waits for it: the bar of a progress, for example. Both end while it waits: stock may miss what was told
    before."""

    def script(side: Side) -> Any:
        gate, heard = tmp_path / side.new_id(), list[Any]()
        tasks = (side.task("wait_for").s(str(gate), f"{gate}-ran"), side.task("steps").s(str(gate)))
        sent = group(tasks).delay()

        def hear(meta: Any) -> None:
            heard.append((meta["status"], str(meta["result"])))
            if meta["status"] == "PROGRESS":
                gate.touch()

        return [each(lambda: sent.get(timeout=WAIT_S, on_message=hear)), sorted(heard)]

    assert same(pair, script)[1] == [("PROGRESS", "{'step': 1}"), ("SUCCESS", "done"), ("SUCCESS", "done")]


def test_a_group_that_has_ended_tells_nothing(pair: Beside) -> None:
    def script(side: Side) -> Any:
        heard, result = list[Any](), three(side)
        answers = each(
            lambda: result.get(timeout=LOOK_S, on_message=heard.append),
            lambda: result.get(timeout=LOOK_S, on_message=heard.append),
            lambda: result.join(timeout=LOOK_S, on_message=heard.append),
        )
        return [answers, heard]

    same(pair, script)


def test_what_results_know_is_not_asked_for(pair: Beside) -> None:
    """Of tasks that ran in this process, and of those whose result has been removed since it was read."""

    def script(side: Side) -> Any:
        add = side.task("add")
        mixed = side.app.ResultSet([at(add.delay(3, 4)), add.apply((1, 2))])
        read = three(side)
        read.ready()
        for one in read:
            side.app.backend.forget(one.id)
        return each(
            lambda: mixed.join(timeout=WAIT_S), lambda: mixed.get(timeout=WAIT_S), lambda: read.get(timeout=WAIT_S)
        )

    assert same(pair, script) == [[7, 3], [7, 3], [1, 2, 3]]


def test_changing_and_saving_a_group(pair: Beside) -> None:
    def script(side: Side) -> Any:
        first, second, third = three(side)
        one = side.app.ResultSet([first])
        one.add(second)
        one.add(second)
        counts = [
            len(one),
            one.discard(third),
            len(one),
            *(text.partition(":")[0] for text in each(lambda: one.remove(third))),
        ]
        saved = three(side)
        saved.save()
        restored = side.app.backend.restore_group(saved.id, cache=False)
        answers = [restored == saved, restored.as_tuple() == saved.as_tuple(), restored.get(timeout=LOOK_S)]
        saved.delete()
        return [counts, one.get(timeout=LOOK_S), answers, side.app.GroupResult.restore(saved.id)]

    same(pair, script)


def test_then_and_forget(pair: Beside) -> None:
    def script(side: Side) -> Any:
        heard, one, many = list[Any](), at(side.task("add").delay(1, 2)), three(side)
        one.then(lambda result: heard.append(result.result))
        many.then(lambda result: heard.append(type(result).__name__))
        values = each(lambda: one.get(timeout=LOOK_S), lambda: many.get(timeout=LOOK_S))
        one.forget()
        many.forget()
        return [values, heard, one.state, one.exists(), [member.state for member in many]]

    same(pair, script)
