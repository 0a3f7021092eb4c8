"""Values beside stock Celery: what a task is given and returns is data, whatever it looks like; errors keep what they
are. The project accepts pickle."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord
from celery.result import AsyncResult
from hypothesis import HealthCheck, example, given, settings, strategies as st

from stratix_kombu.celery.meta import meta_of
from stratix_kombu.model.state import State
from tests.celery.beside import WAIT_S, Beside, Side, beside, outcome, value
from tests.waiting import until

ACCEPT = ["json", "pickle"]


@pytest.fixture(scope="module")
def json_pair(redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, accept_content=ACCEPT) as both:
        yield both


@pytest.fixture(scope="module")
def pickle_pair(redis_url: str) -> Iterator[Beside]:
    serializers = {"result_serializer": "pickle", "task_serializer": "pickle"}
    with beside(redis_url, redis_url, accept_content=ACCEPT, **serializers) as both:
        yield both


class Opened:
    """Leaves a trace if it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)  # type: ignore[attr-defined]


def evil(path: Path) -> dict[str, Any]:
    trap = Opened()
    trap.path = str(path)  # type: ignore[attr-defined]
    raw = base64.b64encode(pickle.dumps(trap)).decode()
    return {"__serialized__": ["application/x-python-serialize", "binary", raw]}


def test_what_looks_like_our_own_form_is_data(json_pair: Beside, tmp_path: Path) -> None:
    trap = tmp_path / "opened"
    heard = evil(trap)

    def script(side: Side) -> Any:
        same = side.task("same")
        answers = [value(same.delay(heard)), value(same.delay([heard, {"a": heard}]))]
        answers.append(value(chain(same.s(heard), same.s()).delay()))
        answers.append(value(chord([same.s(heard), same.s(1)], same.s()).delay()))
        progress = side.task("tell").delay("PROGRESS", heard)
        until(lambda: progress.state == "SUCCESS", WAIT_S)
        return [*answers, value(progress), value(side.task("raise_with").delay(heard))]

    answers = json_pair.both(script)
    assert answers[:4] == [heard, [heard, {"a": heard}], heard, [heard, 1]]
    assert not trap.exists()


def test_what_a_handler_returns_is_data(json_pair: Beside, tmp_path: Path) -> None:
    """Jobs of ``queue.process`` can be read as Celery results, too."""
    side, trap = json_pair.bridge, tmp_path / "opened"
    job = side.project.queue.add("echo", evil(trap))
    assert job.wait_until_finished(timeout=WAIT_S) == evil(trap)
    assert AsyncResult(job.id, app=side.app).get(timeout=WAIT_S) == evil(trap)
    claims = side.project.queue.add("echo", {"celery_state": "SUCCESS", "meta": 1, "progress": True})
    claims.wait_until_finished(timeout=WAIT_S)
    assert not trap.exists()


TEXT = st.sampled_from(
    [
        "__serialized__",
        "__type__",
        "__value__",
        "celery_state",
        "meta",
        "exc_type",
        "exc_message",
        "exc_module",
        "a",
        "",
        "datetime",
        "status",
        "result",
        "children",
        "no_result",
        "application/x-python-serialize",
        "binary",
    ]
)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, width=32)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(heard=VALUES)
def test_any_json_comes_back_as_it_was(json_pair: Beside, heard: Any) -> None:
    """Without a worker: what is written is what is read."""
    backend = json_pair.bridge.app.backend
    text = backend.result_text(heard)
    json.loads(text)
    expected = outcome(lambda: backend.decode(backend.encode({"result": heard}))["result"])
    assert outcome(lambda: backend.value_of(text)) == expected


ENDS = [State.WAITING, State.ACTIVE, State.COMPLETED, State.FAILED]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(told=VALUES, state=st.sampled_from(ENDS), reason=TEXT, attempts=st.integers(0, 2))
@example(told={"__type__": [], "__value__": None}, state=State.COMPLETED, reason="", attempts=1)
@example(
    told=[{"__type__": "datetime", "__value__": "2026-01-02T03:04:05"}], state=State.COMPLETED, reason="", attempts=1
)
def test_whatever_a_record_holds_can_be_read(
    json_pair: Beside, told: Any, state: State, reason: str, attempts: int
) -> None:
    """Progress, result and error may be those of any program that writes JSON. They name no type that is loaded."""
    bridge = json_pair.bridge
    queue, text = bridge.project.queue, json.dumps(told)
    job = queue.get_job("fuzzed") or queue.add("nobody", {}, job_id="fuzzed", delay=3_600_000)
    (record,) = bridge.app.stratix_bridge.engine.store.queries.get([job.id])
    given_ = {"progress": text, "result": text, "data": text, "failed_reason": reason, "attempts_made": attempts}
    meta = meta_of(bridge.app.backend, job.id, replace(record, state=state, **given_))
    assert isinstance(meta["status"], str)
    if state is State.COMPLETED:
        assert meta["result"] == told
    if state is State.FAILED:
        assert isinstance(meta["result"], BaseException)


def test_errors_keep_type_and_attributes(pickle_pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = side.task("odd").delay()
        until(result.ready, WAIT_S)
        error = result.result
        return [type(error).__name__, getattr(error, "code", None), getattr(error, "why", None), result.state]

    assert pickle_pair.both(script) == ["OddError", 7, "oddly", "FAILURE"]


def test_pickled_values_and_progress(pickle_pair: Beside) -> None:
    def script(side: Side) -> Any:
        same, heard = side.task("same"), {1, 2, (3, b"4")}
        answers = [value(same.delay(heard)), value(chain(same.s(heard), same.s()).delay())]
        answers.append(value(chord([same.s(heard), same.s(1)], same.s()).delay()))
        one = side.new_id()
        side.app.backend.store_result(one, {"set": heard}, "PROGRESS")
        return [*answers, side.app.AsyncResult(one).info]

    pickle_pair.both(script)


def test_a_header_that_fails_oddly(pickle_pair: Beside) -> None:
    def script(side: Side) -> Any:
        result = chord([side.task("odd").s(), side.task("add").s(1, 1)], side.task("total").s()).apply_async()
        answer = outcome(lambda: result.get(timeout=WAIT_S))
        return [answer, type(result.parent.results[0].result).__name__]

    pickle_pair.both(script)
