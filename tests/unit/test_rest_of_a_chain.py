"""The rest of a chain as text: what it says is what Kombu would have written, and a list for whoever looks at it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chain
from celery.app.task import Context
from hypothesis import given, strategies as st
from kombu.serialization import dumps, loads, registry

from stratix_kombu.celery.requests import without_chain
from stratix_kombu.drivers import rest
from stratix_kombu.drivers.rest import JSON, LONG, Rest, named_in, next_of, parted, text_of, with_rest, written

ODD = st.text() | st.sampled_from(
    ['"chain": [\n', '\n], "chord": ', ",\n", '\n{"task": "no", "options": {"task_id": "no"', "\x7f", '\\"', "\\n"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | ODD,
    lambda inner: st.lists(inner) | st.dictionaries(ODD, inner),
    max_leaves=8,
)
app = Celery("rest", set_as_current=False)


@app.task(name="same", shared=False)
def same(*args: Any, **kwargs: Any) -> None:
    """Only its signatures are needed."""


def body(*steps: Any, args: Any = (1,)) -> tuple[Any, ...]:
    """Of the first task of a chain of these, frozen as it is when it is sent."""
    whole = chain(same.s(), *steps)
    whole.freeze()
    return args, {}, {"callbacks": None, "errbacks": None, "chain": list(reversed(whole.tasks[1:])), "chord": None}


def rest_of(text: Any) -> Any:
    return loads(with_rest(text), *JSON)[2]["chain"]


@given(st.lists(VALUES, min_size=LONG, max_size=LONG + 5), VALUES)
def test_it_says_what_kombu_would_have_written(values: list[Any], first: Any) -> None:
    given_ = body(*(same.s(value, x={"y": value}) for value in values), args=[first, {"chain": [first]}])
    content_type, encoding, text = written(given_, "json")
    assert (content_type, encoding) == JSON
    assert json.loads(text) == json.loads(dumps(given_, "json")[2])
    expected = json.loads(text)[2]["chain"]
    for one in (text, text.encode()):
        assert loads(with_rest(one), *JSON) == json.loads(text)
        left: Any = rest_of(one)
        for number in range(len(values), 0, -1):
            names = [(step["task"], step["options"]["task_id"]) for step in expected[:number]]
            assert named_in(left) in (names, None)
            step, left = next_of(left)
            assert (step, list(copy.copy(left))) == (expected[number - 1], expected[: number - 1])
            again = written(([], {}, {"chain": left}), "json")[2]
            assert json.loads(again) == [[], {}, {"chain": expected[: number - 1]}]
        assert left == []


@pytest.fixture
def text() -> str:
    return str(written(body(*(same.s(number) for number in range(20))), "json")[2])


def test_whoever_looks_finds_a_list(text: str) -> None:
    """Each on a rest that nobody has read: built-in functions look into lists in several ways."""
    expected = json.loads(text)[2]["chain"]

    def rest() -> Any:
        found = rest_of(text)
        assert type(found) is Rest
        assert text_of(found) is not None
        return found

    assert isinstance(rest(), list)
    assert len(rest()) == 20
    assert rest()
    for one in (rest(), list(rest()), [*rest()], copy.copy(rest()), copy.deepcopy(rest()), rest()[:], rest() * 1):
        assert one == expected
        assert expected == one
    assert tuple(rest()) == tuple(expected) == (lambda *args: args)(*rest())
    assert json.dumps(rest()) == json.dumps(expected)
    assert repr(rest()) == repr(expected)
    assert [1, *rest()] == [1] + rest() == [1, *expected]  # noqa: RUF005
    assert rest() + [1] == [*expected, 1]  # noqa: RUF005
    assert list(reversed(rest())) == expected[::-1]
    assert rest()[-1] == rest().pop() == expected[-1]
    assert expected[3] in rest()
    assert rest().index(expected[3]) == 3
    assert sorted(rest(), key=str) == sorted(expected, key=str)
    assert type(pickle.loads(pickle.dumps(rest()))) is list
    assert pickle.loads(pickle.dumps(rest())) == expected


def test_whoever_changes_it_has_a_list(text: str) -> None:
    expected = json.loads(text)[2]["chain"]
    changes: list[Callable[[Any], Any]] = [
        lambda one: one.append(1),
        lambda one: one.extend([1, 2]),
        lambda one: one.insert(0, 1),
        lambda one: one.remove(expected[5]),
        lambda one: one.reverse(),
        lambda one: one.clear(),
        lambda one: one.sort(key=str),
        lambda one: one.__setitem__(0, 1),
        lambda one: one.__delitem__(slice(2, 4)),
        lambda one: one.__iadd__([1]),
    ]
    for change in changes:
        changed, as_usual = rest_of(text), list(expected)
        change(changed)
        change(as_usual)
        assert changed == as_usual
        assert text_of(changed) is None
        assert json.loads(written(([], {}, {"chain": changed}), "json")[2])[2]["chain"] == as_usual


def test_other_serializers_write_a_list(text: str) -> None:
    content_type, encoding, data = written(([], {}, {"chain": rest_of(text)}), "pickle")
    (_, _, embed) = loads(data, content_type, encoding, accept=[content_type])
    assert type(embed["chain"]) is list
    assert embed["chain"] == rest_of(text)


def test_it_is_read_where_json_has_to_be_named(text: str) -> None:
    """As after ``setup_security``, of a worker whose ``accept_content`` names it."""
    rest._is_read.cache_clear()
    registry.disable("json")
    try:
        assert type(loads(with_rest(text), *JSON, accept=[JSON[0]])[2]["chain"]) is Rest
    finally:
        registry.enable("json")


def test_it_is_a_list_where_json_is_read_in_another_way(text: str) -> None:
    kept = registry._decoders[JSON[0]]
    rest._is_read.cache_clear()
    registry.register("json", None, json.loads, *JSON)
    try:
        assert with_rest(text) is text
    finally:
        registry._decoders[JSON[0]] = kept
        rest._is_read.cache_clear()


@pytest.mark.parametrize(
    "other",
    [
        "",
        "[[], {}, {}]",
        '[[],\n {},\n {"chain": [{}]}]',
        '[[], {}, {"chain": [\n]}]',
        '[[], {}, {"chain": [\n\n]}]',
        '[[{"xchain": [\n1\n]}], {}, {}]',
        '{"chain": [\n 1\n}]',
        b'[["\xff"], {}, {"chain": [\n1\n]}]',
        memoryview(b'[[], {}, {"chain": [\n1\n]}]'),
        None,
    ],
)
def test_other_texts_are_left_alone(other: Any) -> None:
    assert parted(other) is None
    assert with_rest(other) is other


def test_what_cannot_be_told_apart_is_written_as_kombu_does() -> None:
    short = body(*(same.s() for _ in range(LONG - 1)))
    with_group = body(*(same.s() for _ in range(LONG)), chain(same.s(), same.s()).set(task_id="x") | same.s())
    named = body(*(same.s().set(task_id=f"é{number}") for number in range(LONG)))
    nothing: tuple[Any, ...] = ([], {}, None)
    for one in (short, named, nothing):
        assert written(one, "json") == dumps(one, "json")
    assert json.loads(written(with_group, "json")[2]) == json.loads(dumps(with_group, "json")[2])


def test_a_completed_task_keeps_its_message_without_its_chain_alone() -> None:
    others = {"callbacks": [same.s(1)], "errbacks": [same.s(2)], "chain": None, "chord": same.s(3)}
    request = Context(id="a", task="same", args=[4], kwargs={"b": 5}, retries=6, **{**others, "chain": [same.s()]})
    message = json.loads(without_chain(request, "q"))
    assert message["body"] == dumps(([4], {"b": 5}, others), "json")[2]
    assert {**message["headers"], "retries": 6, "task": "same"} == message["headers"]
