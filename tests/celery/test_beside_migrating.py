"""A project on its way to the bridge: its workers have it, and its producers do not, beside one without the bridge."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, chord, group

from tests.celery.beside import Beside, Side, beside, value
from tests.waiting import WAIT_S, until


@pytest.fixture(scope="module", params=["threads", "own"])
def pair(redis_url: str, request: pytest.FixtureRequest) -> Iterator[Beside]:
    """Both producers are without the bridge; there are tasks that are left out of it."""
    with beside(redis_url, redis_url, bridged=request.param, left_out=["*.tot?l"]) as both:
        project = both.bridge.project
        project.close()
        project.app = project.make(bridge=False)
        yield both


def values(canvases: list[Any]) -> list[Any]:
    """Of all of them; texts without the ids that they contain."""
    results = [one.apply_async() for one in canvases]
    return [re.sub(r"[0-9a-f-]{36}", "id", repr(value(one))) for one in results]


def test_headers_of_more_than_tasks_are_counted(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, boom, same, flaky = (side.task(one) for one in ("add", "boom", "same", "flaky"))
        return values(
            [
                chord([add.s(1, 1) | same.s(), add.s(1)], same.s()),
                chord([flaky.si(4, 2), add.s(1) | flaky.s(1)], same.s()),
                chord([add.s(1, 1), chord([add.s(2), add.s(1)], same.s())], same.s()),
                chord([boom.si() | same.s(), add.s(1)], same.s()),
            ]
        )

    pair.both(script)


def test_groups_at_the_end_of_chains_in_headers(pair: Beside) -> None:
    """Not beside stock Celery: there a body fails now and then, as ``get`` must not be called within a task."""
    add, same = pair.bridge.task("add"), pair.bridge.task("same")
    canvases = [
        chord([add.s(1, 1), add.s(1, 1) | group(add.s(1), add.s(2) | add.s(1))], same.s()),
        chord([add.s(1, 1), group(add.s(1, 1), add.s(2, 2) | group(add.s(1), add.s(2)))], same.s()),
        chain(add.s(1, 1), group(add.s(1) | group(add.s(1), add.s(2)) | same.s(), add.s(3)), same.s()),
    ]
    assert values(canvases) == ["[2, [3, 5]]", "[2, [5, 6], 2]", "[[4, 5], 5]"]


def test_headers_whose_tasks_are_replaced_and_enlarged(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, same, replace = (side.task(one) for one in ("add", "same", "replace"))
        shapes = ["task", "chain", "chord", "group", "failing"]
        found = values([chord([replace.si(shape), add.s(1)], same.s()) for shape in shapes])
        return found, sorted(value(chord([side.task("enlarge").si(4), add.s(1)], same.s()).apply_async()))

    assert pair.both(script)[1] == [1, 4, 5]


def test_the_body_of_a_header_that_fails(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, boom, same = (side.task(one) for one in ("add", "boom", "same"))
        return values(
            [
                chord([add.s(1, 1), boom.si()], same.s()),
                chord([add.s(1, 1), boom.si()], same.s()) | same.s(),
                chain(add.s(1, 1), group(add.s(1), boom.s()), same.s()),
            ]
        )

    pair.both(script)


def test_chords_after_one_whose_header_fails(pair: Beside) -> None:
    """They end, and so does what waits for them."""

    def script(side: Side) -> Any:
        add, boom, same = (side.task(one) for one in ("add", "boom", "same"))
        after = chord([same.s(), same.s()], same.s())
        return values(
            [
                chain(chord([add.s(1, 1), boom.si()], same.s()), after),
                chain(chord([add.s(1, 1), boom.si()], group(same.s(), same.s())), after),
                group(chain(chord([boom.si(), boom.si()], same.s()), after), add.s(1, 1)),
                chord([chain(chord([add.s(1, 1), boom.si()], same.s()), after), add.s(1, 1)], same.s()),
            ]
        )

    pair.both(script)


def test_tasks_that_are_left_out(pair: Beside) -> None:
    """By themselves, in chains and in chords; the stock producer sees what becomes of them, and of what follows."""

    def script(side: Side) -> Any:
        add, same, outside, total = (side.task(one) for one in ("add", "same", "outside", "total"))
        return values(
            [
                outside.si(1),
                add.s(1, 1) | outside.s() | add.s(3),
                outside.s(1) | add.s(1),
                outside.s(1) | group(add.s(1), outside.s()) | same.s(),
                chord([add.s(1, 1), outside.s(2)], same.s()),
                chord([outside.s(1), outside.s(2)], same.s()),
                chord([add.s(1, 1) | outside.s(), add.s(1)], same.s()),
                chord([outside.s(1) | add.s(1), add.s(1)], same.s()),
                chord([add.s(1, 1) | outside.s() | add.s(1), add.s(1)], total.s()) | add.s(1),
            ]
        )

    pair.both(script)


def test_states_that_tasks_store_themselves(pair: Beside) -> None:
    def script(side: Side) -> Any:
        results = [side.task("ignore").delay(state) for state in ("FAILURE", "SUCCESS", "OWN")]
        results.append(side.app.send_task("nobody.knows"))
        until(lambda: all(one.state != "PENDING" for one in results), WAIT_S)
        return [(one.state, repr(one.result)) for one in results]

    assert [state for state, _ in pair.both(script)] == ["FAILURE", "SUCCESS", "OWN", "FAILURE"]
