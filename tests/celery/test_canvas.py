"""Every shape of Celery's canvas, as its documentation and integration tests describe them, on every host."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError
from celery.result import GroupResult

from tests.celery.conftest import lines
from tests.celery.workers import Project
from tests.waiting import until

WAIT_S = 60


def value(result: Any) -> Any:
    return result.get(timeout=WAIT_S)


def test_results(hosted: Project) -> None:
    add = hosted.task("add")
    result = add.delay(2, 3)
    assert value(result) == 5
    assert (result.state, result.successful(), result.ready()) == ("SUCCESS", True, True)
    assert value(add.apply_async(kwargs={"x": "a", "y": "b"})) == "ab"
    assert value(hosted.app.send_task("proj.add", (1, 2))) == 3
    assert value(add.s(1).apply_async((2,))) == 3
    with pytest.raises(ValueError, match="boom"):
        value(hosted.task("boom").delay())


def test_chains(hosted: Project) -> None:
    add = hosted.task("add")
    result = (add.s(1, 1) | add.s(10) | add.s(100)).apply_async()
    assert value(result) == 112
    assert [value(result.parent), value(result.parent.parent)] == [12, 2]
    assert value((add.s(1, 1) | add.si(5, 5)).apply_async()) == 10
    assert value(chain(chain(add.s(1, 1), add.s(1)), add.s(1)).apply_async()) == 4
    assert value(chain(add.s(0, 0), *(add.s(1) for _ in range(15))).apply_async()) == 15


def test_groups(hosted: Project) -> None:
    add = hosted.task("add")
    result = group(add.s(number, number) for number in range(20)).apply_async()
    assert value(result) == [number * 2 for number in range(20)]
    assert (result.successful(), result.completed_count()) == (True, 20)
    assert sorted(dict(result.iter_native(timeout=WAIT_S))) == sorted(one.id for one in result)
    assert value(group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3))).apply_async()) == [2, 4, 6]
    assert value(group([]).apply_async()) == []


def test_a_group_is_saved_restored_and_forgotten(hosted: Project) -> None:
    add = hosted.task("add")
    result = group(add.s(1, 1), add.s(2, 2)).apply_async()
    result.save()
    restored = hosted.app.GroupResult.restore(result.id)
    assert value(restored) == [2, 4]
    restored.delete()
    assert hosted.app.GroupResult.restore(result.id) is None
    result.forget()
    assert {one.state for one in result} == {"PENDING"}


def test_chords(hosted: Project) -> None:
    add, total = hosted.task("add"), hosted.task("total")
    assert value(chord(add.s(number, number) for number in range(30))(total.s())) == 870
    assert value(chord([add.s(1, 1)], total.s()).apply_async()) == 2
    assert value(chord([], total.s()).apply_async()) == 0
    assert value(chord([add.s(1), add.s(2)], total.s()).apply_async((10,))) == 23
    assert value((group(add.s(1, 1), add.s(2, 2)) | total.s()).apply_async()) == 6
    assert value((add.s(1, 1) | group(add.s(1), add.s(2)) | total.s()).apply_async()) == 7
    assert value((group(add.s(1, 1), add.s(2, 2)) | total.s() | add.s(4)).apply_async()) == 10


def test_nested_chords(hosted: Project) -> None:
    add, total = hosted.task("add"), hosted.task("total")
    inner = chord([add.s(1, 1), add.s(2, 2)], total.s())
    assert value(chord([inner, add.s(3, 3)], total.s()).apply_async()) == 12
    assert value(chord([add.s(3, 3), inner], total.s()).apply_async()) == 12
    assert value(chord([chain(add.s(1, 1), add.s(10), add.s(100)), add.s(3, 3)], total.s()).apply_async()) == 118
    assert value(chord([group(add.s(1, 1), add.s(2, 2)), add.s(3, 3)], total.s()).apply_async()) == 12
    assert value(chord([chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s()), inner], total.s())()) == 13
    deep = chord([chord([inner] * 2, total.s())] * 2, total.s())
    assert value(deep.apply_async()) == 24
    row = chain(group(add.s(1, 1), add.s(2, 2)), total.s(), group(add.s(1), add.s(2)), total.s())
    assert value(row.apply_async()) == 15


def test_a_group_as_body(hosted: Project) -> None:
    add, total = hosted.task("add"), hosted.task("total")
    result = chord([add.s(1, 1), add.s(2, 2)], group(total.s(), total.s())).apply_async()
    assert isinstance(result, GroupResult)
    assert value(result) == [6, 6]
    assert value((group(add.s(1, 1), add.s(2, 2)) | group(total.s(), total.s()) | total.s()).apply_async()) == 12


def test_maps_and_chunks(hosted: Project) -> None:
    add, same = hosted.task("add"), hosted.task("same")
    assert value(same.map([1, 2, 3]).delay()) == [1, 2, 3]
    assert value(add.starmap([(1, 1), (2, 2)]).delay()) == [2, 4]
    assert value(add.chunks(zip(range(6), range(6), strict=True), 2).group().apply_async()) == [[0, 2], [4, 6], [8, 10]]


def test_links(hosted: Project, notes: str) -> None:
    add, note = hosted.task("add"), hosted.task("note")
    assert value(add.apply_async((1, 1), link=note.si(notes, "one"))) == 2
    until(lambda: lines(notes) == ["one"], WAIT_S)
    assert value(add.apply_async((1, 1), link=[note.si(notes, "two"), group(note.si(notes, "three"))])) == 2
    until(lambda: sorted(lines(notes)) == ["one", "three", "two"], WAIT_S)
    linked = add.apply_async((2, 2), link=add.s(16))
    assert value(linked) == 4
    until(
        lambda: any(job.data == {"args": [4, 16], "kwargs": {}} for job in hosted.queue.get_jobs(["completed"])), WAIT_S
    )


def test_trails(hosted: Project) -> None:
    """``children``, ``collect`` and ``graph`` follow what a task has published."""
    add, same = hosted.task("add"), hosted.task("same")
    result = add.apply_async((1, 1), link=[add.s(2), same.s()])
    assert value(result) == 2
    assert sorted(value(one) for one in (result.children or [])[0]) == [2, 4]
    first = (add.s(1, 1) | add.s(2) | same.s()).apply_async().parent.parent
    assert [answer for _, answer in first.collect(timeout=WAIT_S)] == [2, 4, 4]
    assert len(list(first.graph)) == 3


def test_errbacks(hosted: Project, notes: str) -> None:
    boom = hosted.task("boom")
    errbacks = [hosted.task("on_error").s(path=notes), hosted.task("on_error_id").s(path=notes)]
    failed = boom.apply_async(link_error=errbacks)
    until(lambda: sorted(lines(notes)) == [f"{failed.id} ValueError", f"task {failed.id}"], WAIT_S)


def test_a_failing_chain_fails_what_follows(hosted: Project) -> None:
    add, boom = hosted.task("add"), hosted.task("boom")
    result = (add.s(1, 1) | boom.s() | add.s(1) | add.s(2)).apply_async()
    with pytest.raises(ValueError, match="boom"):
        value(result)
    assert (result.state, result.parent.state, result.parent.parent.state) == ("FAILURE", "FAILURE", "FAILURE")
    assert value(result.parent.parent.parent) == 2


def test_a_failing_header_fails_the_body(hosted: Project, notes: str) -> None:
    add, boom, total = hosted.task("add"), hosted.task("boom"), hosted.task("total")
    body = total.s().on_error(hosted.task("on_error").s(path=notes))
    result = chord([add.s(1, 1), boom.s()], body).apply_async()
    with pytest.raises((ChordError, ValueError)):
        value(result)
    until(lambda: result.state == "FAILURE", WAIT_S)
    assert isinstance(result.result, ChordError)
    assert "raised ValueError('boom')" in str(result.result)
    until(lambda: lines(notes) == [f"{result.id} ChordError"], WAIT_S)
    for header in ([chain(boom.si(), add.si(1, 1)), add.s(1, 1)], [chord([boom.s()], total.s()), add.s(1, 1)]):
        failed = chord(header, total.s()).apply_async()
        until(lambda failed=failed: failed.state == "FAILURE", WAIT_S)  # type: ignore[misc]
    row = (group(add.s(1, 1), boom.s()) | total.s() | add.s(3)).apply_async()
    until(lambda: row.state == "FAILURE", WAIT_S)
    bodies = chord([boom.s()], group(total.s(), total.s())).apply_async()
    until(lambda: [one.state for one in bodies] == ["FAILURE"] * 2, WAIT_S)


def test_replacing(hosted: Project) -> None:
    add, replace, total = hosted.task("add"), hosted.task("replace"), hosted.task("total")
    results = {"task": 11, "chain": 7, "chord": 6, "group": [2, 4]}
    for shape, expected in results.items():
        assert value(replace.delay(shape)) == expected, shape
    assert value((replace.si("chord") | add.s(1000)).apply_async()) == 1006
    header = [replace.s("chain"), replace.s("chord"), replace.s("task"), add.s(1, 1)]
    assert value(chord(header, total.s()).apply_async()) == 26
    with pytest.raises(ValueError, match="boom"):
        value(replace.delay("failing"))


def test_a_task_enlarges_its_chord(hosted: Project) -> None:
    add, enlarge, total = hosted.task("add"), hosted.task("enlarge"), hosted.task("total")
    assert value(chord([enlarge.s(5), add.s(1, 1)], total.s()).apply_async()) == 13


def test_retries_within_canvas(hosted: Project) -> None:
    flaky, same = hosted.task("flaky"), hosted.task("same")
    assert value((flaky.s(7, 2) | same.s()).apply_async()) == [7, 2]
    assert value(chord([flaky.s(5), flaky.s(6, 0)], same.s()).apply_async()) == [[5, 1], [6, 0]]


def test_a_canvas_is_added_as_a_flow(hosted: Project) -> None:
    add, total = hosted.task("add"), hosted.task("total")
    canvas = chain(add.s(1, 1), add.s(2), add.s(3))
    flow = hosted.app.stratix.queue.add_canvas(canvas)
    assert [job.name for job in flow] == ["proj.add"] * 3
    assert flow.root.wait_until_finished(timeout=WAIT_S) == 7
    flow = hosted.app.stratix.queue.add_canvas(chord([add.s(1, 1), chain(add.s(2, 2), add.s(3))], total.s()))
    assert flow.root.wait_until_finished(timeout=WAIT_S) == 9
    again = hosted.app.stratix.queue.get_flow(flow.root)
    assert again is not None
    assert set(again.states().values()) == {"completed"}
    assert value(flow.to_canvas().apply_async()) == 9


def test_a_flow_is_run_as_a_canvas(hosted: Project, notes: str) -> None:
    note, queue = hosted.task("note"), hosted.app.stratix.queue
    name = hosted.app.conf.task_default_queue
    nodes = [
        {"key": key, "name": note, "queue": name, "data": [notes, key], "dependencies": before}
        for key, before in {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}.items()
    ]
    flow = queue.add_flow(nodes)
    for root in flow.roots:
        root.wait_until_finished(timeout=WAIT_S)
    assert sorted(lines(notes)) == list("abcde")
    value(flow.to_canvas().apply_async())
    again = lines(notes)[5:]
    assert sorted(again) == list("abcde")
    assert again.index("a") < min(again.index("b"), again.index("c"))
    assert again.index("d") > max(again.index("b"), again.index("c"))
