"""What a producer without the bridge has published is not published again in a worker that has it: neither the
project's part in that, nor its signals, routes and serializers have another turn. Nor does one message stop others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.celery.beside import value
from tests.celery.conftest import broker_on, lines
from tests.celery.workers import Project
from tests.waiting import WAIT_S

KINDS = ["redis threads", "redis prefork", "redis own", "rabbitmq own", "sqs own"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(kind: str, request: pytest.FixtureRequest) -> Iterator[Project]:
    broker, store = broker_on(kind.split()[0], request), request.getfixturevalue("redis_url")
    project = Project(broker, store, conf={"accept_content": ["json", "pickle"], "routed": True})
    yield project
    project.close()


@pytest.fixture
def stock(project: Project, kind: str) -> Iterator[Celery]:
    """The project without the bridge, while a worker that has it takes what it sends."""
    app = project.make(bridge=False)
    app.backend.remove_pending_result = lambda result: result
    with project.worker(kind.split()[1]):
        assert value(app.tasks["proj.add"].delay(1, 1)) == 2  # it consumes, and its exchanges are there
        yield app


@pytest.mark.parametrize("name", ["once", "single", "heard"])
def test_its_own_way_of_publishing_is_taken_once(stock: Celery, name: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert value(stock.tasks[f"proj.{name}"].delay(str(path))) == "ran"
    assert lines(str(path)) == {"once": [], "heard": ["published"]}.get(name, [path.read_text()])


@pytest.mark.parametrize("options", [{}, {"countdown": 1}])
def test_arguments_are_what_was_sent(stock: Celery, options: dict[str, Any]) -> None:
    sent = {1: {2}, "a": (3,)}
    assert value(stock.tasks["proj.shown"].apply_async((sent,), serializer="pickle", **options)) == repr(sent)


@pytest.mark.parametrize("options", [{}, {"countdown": 1}])
def test_it_comes_by_another_exchange(stock: Celery, kind: str, options: dict[str, Any]) -> None:
    name = stock.conf.task_default_queue
    # On SQS the producer itself has to know what an exchange leads to.
    to = {"queue": f"{name}-routed"} if kind.startswith("sqs") else {"exchange": f"{name}-x", "routing_key": "key"}
    assert value(stock.send_task("proj.add", (1, 2), **to, **options)) == 3


def test_one_that_cannot_run_stops_no_other(stock: Celery, kind: str) -> None:
    def sent(*args: Any, body: Any = None, **headers: Any) -> Any:
        task_id = str(uuid.uuid4())
        made = stock.amqp.as_task_v2(task_id, "proj.add", args)
        with stock.connection_for_write() as connection:
            connection.Producer(auto_declare=False).publish(
                body or made.body,
                routing_key=stock.conf.task_default_queue,
                headers={**made.headers, **headers},
                serializer="json",
            )
        return stock.AsyncResult(task_id)

    with_too_few = sent()
    sent(1, 2, expires="soon")
    sent(body=[None, None, None])
    if "own" in kind:  # these end a worker of Celery
        sent(1, 2, timelimit="long")
        sent(1, 2, retries="none")
        sent(1, 2, group={}, root_id=[])
    assert value(sent(1, 2)) == 3
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        with_too_few.get(timeout=WAIT_S)
