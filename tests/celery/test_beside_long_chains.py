"""Long chains beside stock Celery. With the bridge, what is behind a task is handed on unread: nobody notices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import chain, group
from kombu.utils import json as kombu_json

from stratix_kombu.drivers.rest import LONG
from stratix_kombu.model.names import task_job_id
from stratix_kombu.model.state import State
from tests.celery.beside import WAIT_S, Beside, Side, beside, value
from tests.celery.conftest import broker_on, lines, project_on
from tests.celery.project import sqs_broker
from tests.celery.results import got
from tests.celery.workers import Project
from tests.waiting import until

LENGTH = 2 * LONG
ODD = ['"chain": [\n{"task": "no\n], "chord": ', 'a\\"b\\\\', "\x7f\x00é\u2028\\n", "],\n{"]
"""Text that looks like what marks the rest of a chain, or like JSON."""


@pytest.fixture(
    scope="module", params=["redis threads", "redis own", "redis prefork", "rabbitmq threads", "rabbitmq own"]
)
def pair(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Beside]:
    broker, bridged = request.param.split()
    conf = {"accept_content": ["json", "pickle"], "result_accept_content": ["json"]}
    with beside(broker_on(broker, request), redis_url, bridged=bridged, **conf) as both:
        yield both


def results(last: Any) -> list[Any]:
    """Of all tasks of a chain, the last one first."""
    found = [last]
    while found[-1].parent is not None:
        found.append(found[-1].parent)
    return found


def values(last: Any) -> list[Any]:
    """The same, once they are there."""
    return [value(one) for one in results(last)]


def test_each_task_gets_what_the_one_before_it_returns(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add = side.task("add")
        return values(chain(add.s(0, 1), *(add.s(number) for number in range(LENGTH))).apply_async())

    assert pair.both(script)[0] == 1 + sum(range(LENGTH))


def test_arguments_may_look_like_marks_of_the_rest(pair: Beside) -> None:
    def script(side: Side) -> Any:
        same = side.task("same")
        steps = [same.s(odd=odd, among=[odd, {odd: [odd]}]) for odd in ODD * (LENGTH // 4)]
        return values(chain(same.s(ODD), *steps).apply_async())

    assert pair.both(script) == [ODD] * (LENGTH + 1)


def test_options_of_each_task_count(pair: Beside, tmp_path: Path) -> None:
    """A callback, an errback, headers, an id that was chosen; and another serializer, with which it goes on."""

    def script(side: Side) -> Any:
        same, note, told = side.task("same"), side.task("note"), str(tmp_path / side.name)
        steps = [same.s() for _ in range(LENGTH)]
        steps[3].set(link=note.si(told, "third"), headers={"own": ODD[0]})
        steps[5].set(serializer="pickle", task_id=side.new_id())
        steps[8].set(compression="gzip", expires=300)
        answer = values(chain(same.s(1), *steps).apply_async())
        until(lambda: lines(told) == ["third"], WAIT_S)
        return answer

    assert pair.both(script) == [1] * (LENGTH + 1)


def test_who_looks_at_the_chain_finds_a_list(pair: Beside) -> None:
    def script(side: Side) -> Any:
        same, behind = side.task("same"), side.task("behind")
        result = chain(same.s(1), behind.s(), *(same.s(number=number) for number in range(LENGTH))).apply_async()
        return value(result)

    is_list, length, is_there, shown, is_the_same = pair.both(script)
    assert (is_list, length, is_there, is_the_same) == (True, LENGTH, True, True)
    assert shown[-1] == ["proj.same", [], {"number": 0}, None]  # the next one is the last


@pytest.mark.parametrize("left", [0, 1, LONG, LENGTH - 1])
def test_a_task_shortens_the_chain(pair: Beside, left: int) -> None:
    """The last ones are left: they follow."""

    def script(side: Side) -> Any:
        add = side.task("add")
        result = chain(side.task("shorten").s(1, left), *(add.s(1) for _ in range(LENGTH))).apply_async()
        return value(result if left else results(result)[-1])

    assert pair.both(script) == 1 + left


@pytest.mark.parametrize("how", ["retry", "task", "chain", "chord"])
def test_a_task_goes_on_as_another_one(pair: Beside, how: str) -> None:
    """A retry, or a replacement, in the middle: the rest follows."""

    def script(side: Side) -> Any:
        some = [side.task("same").s() for _ in range(LENGTH)]
        middle = side.task("flaky").s() if how == "retry" else side.task("replace").si(how)
        return value(chain(side.task("same").s(1), *some, middle, *some)())

    assert pair.both(script) == {"retry": [1, 1], "task": 11, "chain": 7, "chord": 6}[how]


@pytest.mark.parametrize("at", [0, 2, LENGTH - 2, LENGTH])
def test_a_task_fails(pair: Beside, at: int) -> None:
    """Those before it have succeeded, those behind it never run."""

    def script(side: Side) -> Any:
        same = side.task("same")
        steps = [same.s() for _ in range(LENGTH)]
        steps.insert(at, side.task("boom").s())
        return [value(one) for one in results(chain(same.s(1), *steps).apply_async())[LENGTH - at :]]

    assert pair.both(script)[1:] == [1] * (at + 1)


def test_chords_and_groups_are_among_them(pair: Beside) -> None:
    def script(side: Side) -> Any:
        add, total = side.task("add"), side.task("total")
        some = [add.s(1) for _ in range(LONG)]
        return value(chain(add.s(1, 1), *some, group(add.s(1), add.s(2)), total.s(), *some, *some)())

    assert pair.both(script) == 2 * (2 + LONG) + 3 + 2 * LONG


def test_one_that_is_left_out_is_among_them(redis_url: str) -> None:
    """It is no job of the store, and goes on as Celery does it."""
    with beside(redis_url, redis_url, left_out=["proj.same"]) as both:

        def script(side: Side) -> Any:
            add = [side.task("add").s(1) for _ in range(LONG)]
            return value(chain(side.task("add").s(1, 1), *add, side.task("same").s(), *add)())

        assert both.both(script) == 2 + 2 * LONG


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_worker_without_the_bridge_reads_it(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    project, path = project_on(kind, request), str(tmp_path / "notes")
    expected = [str(number) for number in range(LENGTH)]
    chain(*(project.task("note").si(path, line) for line in expected)).apply_async()
    with project.worker(bridge=False):
        until(lambda: Path(path).exists() and lines(path) == expected, WAIT_S)
    project.close()


def test_a_worker_that_ends_gives_back_the_whole_message(redis_url: str, tmp_path: Path) -> None:
    """One that it has taken, and keeps until its rate limit allows it to begin."""
    project, path = Project(redis_url, redis_url), str(tmp_path / "notes")
    server, queue = redis.Redis.from_url(redis_url), f"{project.prefix}q"
    note, control = project.task("note"), project.app.control
    with project.worker() as worker:
        until(lambda: control.rate_limit("proj.note", "1/h", destination=[worker.name], reply=True), WAIT_S)
        note.delay(path).get(timeout=WAIT_S)
        chain(*(note.si(path) for _ in range(LENGTH))).apply_async()
        until(lambda: server.llen(queue) == 0, WAIT_S)
    (message,) = server.lrange(queue, 0, -1)
    _, _, embed = json.loads(kombu_json.loads(message)["body"])
    assert [step["task"] for step in embed["chain"]] == ["proj.note"] * (LENGTH - 1)
    project.close()


def test_on_sqs(sqs_url: str, redis_url: str) -> None:
    project = Project(sqs_broker(sqs_url), redis_url)
    for pool in ("own", "threads"):
        with project.worker(pool):
            add = project.task("add")
            assert value(chain(add.s(0, 1), *(add.s(1) for _ in range(LENGTH))).apply_async()) == 1 + LENGTH
    project.close()


# -- what is kept of it ------------------------------------------------------------------------------


def _records(side: Side, result: Any) -> list[Any]:
    """Of its tasks, the first one first."""
    ids = [task_job_id(one.id) for one in reversed(results(result))]
    return list(side.app.stratix.queue.engine.store.queries.get(ids))


def test_what_has_ended_keeps_no_chain(pair: Beside) -> None:
    """Else each task would keep what all those behind it have in common."""
    side, length = pair.bridge, 8 * LONG
    result = chain(side.task("add").s(0, 1), *(side.task("add").s(1) for _ in range(length))).apply_async()
    assert got(result, WAIT_S) == length + 1
    records = _records(side, result)
    assert max(len(record.message) for record in records) < 8_000
    for number, record in enumerate(records[:-LONG]):
        message = json.loads(record.message)
        args, kwargs, embed = json.loads(message["body"])
        assert (args, kwargs) == ([number, 1], {})
        assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        assert (message["headers"]["id"], message["headers"]["task"]) == (record.id, "proj.add")
        assert message["properties"]["correlation_id"] == record.id


def test_what_has_failed_keeps_its_chain(pair: Beside, tmp_path: Path) -> None:
    """Once it is tried again and succeeds, the rest follows."""
    side, path = pair.bridge, str(tmp_path / "once")
    same, once = side.task("same"), side.task("boom_once")
    result = chain(same.s(1), once.si(path), *(same.s() for _ in range(LENGTH))).apply_async()
    assert "once" in str(value(result))
    failed = next(record for record in _records(side, result) if record.message and record.state is State.FAILED)
    until(lambda: Path(path).exists(), WAIT_S)
    side.project.queue.get_job(failed.id).retry()
    until(lambda: side.app.AsyncResult(result.id).state == "SUCCESS", WAIT_S)
    assert side.app.AsyncResult(result.id).result == "fine"
