"""Groups and headers that a generator makes, beside stock Celery: they run while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chord, group

from tests.celery.beside import Beside, Side, beside, outcome, value
from tests.celery.conftest import lines
from tests.waiting import WAIT_S, until


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url) as both:
        yield both


def test_a_large_group_begins_while_it_is_still_being_made(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        path, note, same = tmp_path / side.name, side.task("note"), side.task("same")

        def tasks() -> Iterator[Any]:
            yield note.s(str(path), "first")
            for number in range(600):
                yield same.s(number)
            until(path.exists, WAIT_S)
            yield note.s(str(path), "last")

        result = group(tasks()).apply_async()
        return [value(result)[-2:], lines(str(path))]

    assert pair.both(script) == [[599, "last"], ["first", "last"]]


def test_a_header_begins_while_it_is_still_being_made(pair: Beside, tmp_path: Path) -> None:
    """What its tasks give is kept until the body is there, also of those that keep no result."""

    def script(side: Side) -> Any:
        path, note, same, quiet = (
            tmp_path / f"header-{side.name}",
            side.task("note"),
            side.task("same"),
            side.task("quiet"),
        )

        def tasks() -> Iterator[Any]:
            yield quiet.s("unseen")
            yield note.s(str(path), "first")
            yield side.task("add").s(1, 1) | side.task("add").s(2)
            for number in range(5):  # Celery looks ahead
                yield same.s(number)
            until(path.exists, WAIT_S)
            yield note.s(str(path), "last")

        result = chord(tasks(), same.s()).apply_async()
        return [value(result), lines(str(path))]

    assert pair.both(script)[0][1:] == ["first", 4, 0, 1, 2, 3, 4, "last"]


def test_a_header_that_has_failed_before_it_is_whole(pair: Beside, tmp_path: Path) -> None:
    def script(side: Side) -> Any:
        failed, after = side.new_id(), []

        def tasks() -> Iterator[Any]:
            yield side.task("boom").s().set(task_id=failed)
            yield side.task("same").s(1)
            until(lambda: side.app.AsyncResult(failed).state == "FAILURE", WAIT_S)
            yield side.task("same").s(2)
            after.append("made")

        result = chord(tasks(), side.task("same").s()).apply_async()
        return [value(result).replace(failed, "it"), after]

    assert "ValueError" in pair.both(script)[0]


def test_a_generator_that_is_empty_or_fails(pair: Beside) -> None:
    def broken(side: Side) -> Iterator[Any]:
        yield side.task("same").s(1)
        yield side.task("same").s(2)
        raise LookupError("no more")

    def script(side: Side) -> Any:
        same = side.task("same")
        return [
            value(chord(iter([]), same.s()).apply_async()),
            outcome(lambda: chord(broken(side), same.s()).apply_async()),
            value(chord((same.s(number) for number in range(3)), same.s()).apply_async()),
        ]

    assert pair.both(script) == [[], "builtins.LookupError: no more", [0, 1, 2]]
