"""Canvas beside stock Celery: what a program sees of chains, groups and chords is the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import TimeoutError as NotInTime

from tests.celery.beside import WAIT_S, Beside, Side, beside, value
from tests.celery.conftest import lines
from tests.waiting import until

IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@pytest.fixture(scope="module", params=["threads", "own"])
def pair(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, bridged=request.param) as both:
        yield both


def held(result: Any) -> str:
    """What a failed result contains, for any later reader."""
    until(result.ready, WAIT_S)
    return IDS.sub("ID", repr(result.result))


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", [False, True])
def test_a_failed_chord_raises_the_error_of_its_header(pair: Beside, later: bool) -> None:
    def script(side: Side) -> Any:
        add, boom, total = side.task("add"), side.task("boom"), side.task("total")
        heard = []
        for _ in range(4):
            result = chord([add.s(1, 1), boom.s()], total.s()).apply_async()
            if later:
                until(result.ready, WAIT_S)
            heard.append((value(result), held(result)))
        return heard

    assert pair.both(script)[0] == (
        "builtins.ValueError: boom",
        "ChordError(\"Dependency ID raised ValueError('boom')\")",
    )


def test_tasks_of_a_group_as_body_hold_the_error_of_the_header(pair: Beside) -> None:
    def script(side: Side) -> Any:
        boom, total, add = side.task("boom"), side.task("total"), side.task("add")
        bodies = chord([boom.s(), add.s(1, 1)], group(total.s(), total.s())).apply_async()
        return [value(bodies), *(held(one) for one in bodies)]

    assert pair.both(script) == ["builtins.ValueError: boom"] + ["ValueError('boom')"] * 2


def test_errors_of_nested_headers(pair: Beside) -> None:
    def script(side: Side) -> Any:
        boom, total, add, same = (side.task(one) for one in ("boom", "total", "add", "same"))
        failing = [
            chord([chain(add.s(1, 1), boom.s()), add.s(1, 1)], total.s()),
            chord([chord([boom.s(), add.s(1, 1)], total.s()), add.s(1, 1)], total.s()),
            chain(group(add.s(1, 1), boom.s()), total.s(), add.s(1)),
            chain(add.s(1, 1), boom.s(), group(same.s(), same.s()), total.s()),
        ]
        return [IDS.sub("ID", str(value(one.apply_async()))) for one in failing]

    pair.both(script)


def test_an_errback_of_nested_chords_is_called_once(pair: Beside, tmp_path: Path) -> None:
    """Celery links it to each of them, and its own calls reach the innermost body only."""

    def script(side: Side) -> Any:
        same, boom, note = side.task("same"), side.task("boom"), side.task("note")
        path = tmp_path / f"nested-{side.name}"
        inner = chord([same.si(1), boom.si()], same.si(2))
        middle = chord([inner, same.si(3)], group(same.si(4), same.si(5)))
        outer = chord(group([same.si(6), middle]), same.si(7))
        outer.link_error(note.si(str(path), "errback"))
        outer.apply_async()
        until(lambda: path.exists() and lines(str(path)), WAIT_S)
        if side.name == "bridge":
            project = side.project
            until(lambda: not project.queue.get_jobs(["waiting", "active", "delayed", "blocked"]), WAIT_S)
        return lines(str(path))

    assert pair.both(script) == ["errback"]


def test_errbacks_that_are_called_find_the_failure_stored(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        path = str(tmp_path / side.name)
        side.task("boom").apply_async(link_error=side.task("whole_errback").s(path))
        side.task("boom").apply_async(link_error=[side.task("whole_errback").s(path), side.task("on_error_id").s(path)])
        until(lambda: Path(path).exists() and len(lines(path)) == 3, WAIT_S)
        return sorted(re.sub("task .*", "task", line) for line in lines(path))

    assert pair.both(script) == ["ValueError True FAILURE ValueError"] * 2 + ["task"]


# -- sent several times ----------------------------------------------------------------------------


def test_a_chain_is_sent_several_times(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        path = str(tmp_path / side.name)
        note = side.task("note")
        two = chain(note.si(path, "a"), note.si(path, "b"))
        partial = note.s("c") | note.si(path, "d")
        for _ in range(5):
            two.delay()
            partial.apply_async((path,))
        until(lambda: Path(path).exists() and len(lines(path)) == 20, WAIT_S)
        return sorted(lines(path))

    pair.both(script)


def test_a_chain_sent_again_gives_its_result_each_time(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add = side.task("add")
        wide = chain(add.si(0, 1), group(add.s(1), add.s(2)), side.task("total").s(), add.s(0))
        rows = [add.si(1, 1) | add.s(1), wide]
        return [[value(row.delay()) for _ in range(4)] for row in rows]

    assert pair.both(script) == [[3] * 4, [5] * 4]


def test_an_id_that_was_chosen_is_the_chain_s(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, chosen = side.task("add"), side.new_id()
        row = add.s(1, 1) | add.s(1)
        first = row.apply_async(task_id=chosen)
        answers = [first.id == chosen, value(first)]
        frozen = row.freeze()
        again = row.apply_async()
        return [*answers, again.id == frozen.id, value(again)]

    assert pair.both(script) == [True, 3, True, 3]


@pytest.mark.parametrize("shape", ["chain", "chord", "chain of chords", "chord of chords"])
def test_results_of_a_frozen_canvas_are_those_of_its_last_time(pair: Beside, tmp_path: Path, shape: str) -> None:
    side, path = pair.bridge, str(tmp_path / "count")
    count, add, total = side.task("count"), side.task("add"), side.task("total")
    canvas: Any = {
        "chain": chain(count.si(path), add.s(100), add.s(1000)),
        "chord": chord([count.si(path), add.si(0, 100)], total.s() | add.s(1000)),
        "chain of chords": chain(
            count.si(path), group(add.s(50), add.s(50)), total.s(), group(add.s(1000), add.s(0)), total.s()
        ),
        "chord of chords": chord([chord([count.si(path), add.si(0, 100)], total.s()), add.si(500, 500)], total.s()),
    }[shape]
    canvas.freeze()
    queue = side.project.queue
    factor, summand = (4, 1200) if shape == "chain of chords" else (1, 1100)
    for ran in (1, 2, 3):
        result = canvas.apply_async()
        side.app.backend._cache.clear()
        assert result.get(timeout=WAIT_S) == factor * ran + summand
        until(lambda: not queue.get_jobs(["waiting", "active", "delayed", "blocked"]), WAIT_S)


# -- who belongs to whom ---------------------------------------------------------------------------


def test_parents_and_roots_are_tasks_of_the_canvas(pair: Beside) -> None:
    def script(side: Side) -> Any:
        family, same = side.task("family"), side.task("same")
        result = chord([same.s(1), same.s(2)], family.s()).apply_async()
        own, parent, root = value(result)
        header = [one.id for one in result.parent]
        row = chain(same.s(0), group(family.s(), family.s()), family.s()).apply_async()
        body, body_parent, body_root = value(row)
        parts = [value(one) for one in row.parent]
        first = row.parent.parent.id
        return [
            own == result.id,
            parent in header,
            root in header or root == parent,
            body == row.id,
            body_parent in [one[0] for one in parts],
            body_root == first,
            [one[1:] == [first, first] for one in parts],
        ]

    assert pair.both(script) == [True] * 6 + [[True, True]]


def test_children_of_tasks_that_succeeded_and_failed(pair: Beside) -> None:
    def script(side: Side) -> Any:
        counts = []
        for fails in (False, True):
            result = side.task("parent_of").delay(fails)
            until(result.ready, WAIT_S)
            counts.append([value(one) for one in result.children or ()])
        return counts

    assert pair.both(script) == [[2], [2]]


def test_errbacks_of_a_failed_body_are_its_children(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        body = side.task("total").s().on_error(side.task("on_error_id").s(path=str(tmp_path / side.name)))
        result = chord([side.task("boom").s(), side.task("add").s(1, 1)], body).apply_async()
        until(lambda: result.children and result.children[0].children[0].ready(), WAIT_S)
        return [len(result.children), [one.state for one in result.children[0].children]]

    assert pair.both(script) == [1, ["SUCCESS"]]


# -- odd tasks in a canvas -------------------------------------------------------------------------


def test_a_chord_gets_what_its_header_does_not_keep(pair: Beside) -> None:
    def script(side: Side) -> Any:
        quiet, same = side.task("quiet"), side.task("same")
        result = chord([quiet.s(5), same.s(6), same.s(7).set(ignore_result=True)], same.s()).apply_async()
        return [value(result), [side.app.AsyncResult(one.id).state for one in result.parent]]

    assert pair.both(script) == [[5, 6, 7], ["PENDING", "SUCCESS", "PENDING"]]


@pytest.mark.parametrize("rest", [1, 3])
def test_a_task_that_drops_the_rest_of_its_chain(pair: Beside, rest: int) -> None:
    def script(side: Side) -> Any:
        result = chain(side.task("cut").s(1), *[side.task("add").s(1)] * rest).apply_async()
        results = [result]
        while results[-1].parent:
            results.append(results[-1].parent)
        answers = [value(results.pop())]
        with pytest.raises(NotInTime):
            result.get(timeout=0.2)
        return [*answers, [(one.state, one.info) for one in results]]

    assert pair.both(script) == [1, [("PENDING", None)] * rest]


# -- revoked before it runs ------------------------------------------------------------------------


def revoke(side: Side, ids: list[str]) -> None:
    """Until the worker has answered that it knows."""
    until(lambda: side.app.control.revoke(ids, destination=[side.worker], reply=True, timeout=2))


def test_what_is_revoked_before_it_is_sent_does_not_run(pair: Beside, tmp_path: Path) -> None:
    """Steps of a chain and bodies of chords whose turn has not come."""

    def script(side: Side) -> Any:
        wait_for, note = side.task("wait_for"), side.task("note")
        gate, began, path = (tmp_path / f"{name}-{side.name}" for name in ("gate", "began", "revoked"))
        first = wait_for.si(str(gate), str(began))
        row = chain(first, note.si(str(path), "step")).apply_async()
        body = chord([first, side.task("same").si(1)], note.si(str(path), "body")).apply_async()
        revoke(side, [row.id, body.id])
        gate.touch()
        until(lambda: row.parent.ready() and body.parent.ready())
        if side.name == "bridge":  # where they are revoked at once: their turn must have come, too
            queue = side.project.queue
            until(lambda: not queue.get_jobs(["waiting", "active", "delayed", "blocked"]))
        until(lambda: [side.app.AsyncResult(one.id).state for one in (row, body)] == ["REVOKED"] * 2)
        return [path.exists(), held(row), held(body)]

    assert pair.both(script) == [False, "TaskRevokedError('revoked')", "TaskRevokedError('revoked')"]


def test_what_is_revoked_before_anything_is_known_of_it_does_not_run(pair: Beside) -> None:
    """By its id, or by a stamp; also a task that is no job."""

    def script(side: Side) -> Any:
        ids, batch, control = [side.new_id(), side.new_id()], side.new_id(), side.app.control
        revoke(side, ids)
        stamps = {"batch": [batch]}
        until(lambda: control.revoke_by_stamped_headers(stamps, destination=[side.worker], reply=True, timeout=2))
        stamped = [side.task("same").s(1), side.task("same").s(2)]
        stamped[0].stamp(batch=batch)
        stamped[1].stamp(batch="another")
        sent = [
            side.task(name).apply_async((1,), task_id=one) for name, one in zip(("same", "outside"), ids, strict=True)
        ]
        sent += [one.apply_async() for one in stamped]
        until(lambda: all(one.ready() for one in sent))
        return [one.state for one in sent]

    assert pair.both(script) == ["REVOKED"] * 3 + ["SUCCESS"]


# -- what a program sees of a chord beside its tasks -----------------------------------------------


def test_children_of_a_task_that_sends_a_chord(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, total = side.task("add"), side.task("total")
        sender = side.task("sends_chord").delay()
        body = side.app.AsyncResult(value(sender))
        until(lambda: sender.ready() and body.ready())
        children = side.app.AsyncResult(sender.id).children
        row = chain(add.s(1, 1), add.s(1), group(add.s(1), add.s(2)), total.s()).apply_async()
        first = row.parent.parent.parent
        until(lambda: all(one.ready() for one in (row, row.parent, row.parent.parent, first)))
        return [
            [type(one).__name__ for one in children],
            [value(one) for one in children],
            sorted(str(found) for _, found in side.app.AsyncResult(first.id).collect(timeout=WAIT_S)),
        ]

    assert pair.both(script) == [["GroupResult"], [[2, 4]], ["2", "3", "4", "5", "[4, 5]"]]


def test_a_body_that_does_not_take_what_it_is_given(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        same, path = side.task("same"), tmp_path / side.name
        body = side.task("add").s(1, 2).on_error(side.task("on_error").s(path=str(path)))
        result = chord([same.s(1), same.s(2)], body).apply_async()
        until(lambda: path.exists() and lines(str(path)))
        return [value(result), held(result), lines(str(path)) == [f"{result.id} ChordError"]]

    answers = pair.both(script)
    assert answers[0].startswith("celery.exceptions.ChordError: Callback error: TypeError(")
    assert answers[2] is True


def test_groups_that_a_generator_makes_are_unrolled_in_a_header(pair: Beside) -> None:
    """As those of a list are."""

    def script(side: Side) -> Any:
        add = side.task("add")
        made = chord((group(add.s(number, 0), add.s(number, 10)) for number in range(2)), side.task("same").s())
        return sorted(value(made.apply_async()))

    assert pair.both(script) == [0, 1, 10, 11]


def test_who_waits_for_a_group_by_then_is_called(pair: Beside) -> None:
    """Once its results have been read."""
    add = pair.bridge.task("add")
    result, heard = group(add.s(1, 1), add.s(2, 2)).apply_async(), list[Any]()
    result.then(lambda ready: heard.append(ready.id))
    assert (value(result), heard) == ([2, 4], [result.id])
