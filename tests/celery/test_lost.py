"""Tasks whose process of the pool was lost, and that are to run again: at once, and never twice at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from billiard.einfo import ExceptionInfo
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker import state as worker_state
from celery.worker.request import Request

from stratix_kombu.celery.bridge import Bridge
from stratix_kombu.celery.lost import begins_again_if_lost
from stratix_kombu.errors import StoreUnavailable
from stratix_kombu.model.record import Claim, JobRecord
from stratix_kombu.model.state import State
from stratix_kombu.model.tasks import TRACKED
from stratix_kombu.testing.stores import audit
from tests.celery.beside import Beside, Side, beside, value
from tests.celery.conftest import broker_on, lines
from tests.celery.test_mixed import producer
from tests.celery.workers import Project

NEVER_MS = 600_000
"""No lease ends by itself, and no message seems lost."""
PATIENT = {"lease_duration": NEVER_MS, "redelivery_grace": NEVER_MS}
FIRST, AGAIN = "retries 0, redelivered False", "retries 0, redelivered True"


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def pair(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Beside]:
    with beside(broker_on(request.param, request), redis_url, "prefork", 2, worker=PATIENT) as both:
        yield both


def record_of(bridge: Bridge, task_id: str) -> JobRecord:
    (record,) = bridge.engine.store.queries.get([task_id])
    assert record is not None
    return record


@pytest.mark.parametrize("name", ["lost", "lost_and_noted"])
def test_it_runs_again_at_once(pair: Beside, name: str) -> None:
    """Also where its requests have a class of the project's."""

    def script(side: Side) -> Any:
        path = side.folder / name
        result = side.task(name).delay(str(path), 1)
        return [value(result), *lines(str(path))]

    given_back = ["given back True"] if name == "lost_and_noted" else []
    assert pair.both(script) == ["ran", FIRST, *given_back, AGAIN]
    counts = pair.bridge.project.queue.get_job_counts()
    assert (counts["active"], counts["waiting"]) == (0, 0)


def test_a_task_that_ends_its_process_runs_again_at_once(pair: Beside) -> None:
    def script(side: Side) -> Any:
        path = side.folder / "leaves"
        result = side.task("leaves").delay(str(path))
        return [value(result), *lines(str(path))]

    assert pair.both(script) == ["ran", FIRST, AGAIN]


def test_it_counts_as_a_lease_that_has_ended(pair: Beside) -> None:
    """Celery alone has it run again and again; here ``max_stalled_count`` says how often."""
    side = pair.bridge
    once, always = side.folder / "once", side.folder / "always"
    result = side.task("lost").delay(str(once), 1)
    assert value(result) == "ran"
    record = record_of(side.app.stratix_bridge, result.id)
    assert (record.attempts_started, record.attempts_made, record.stalled_count) == (2, 1, 1)
    result = side.task("lost").delay(str(always), 9)
    assert "WorkerLostError" in value(result)
    assert lines(str(always)) == [FIRST, AGAIN]
    assert record_of(side.app.stratix_bridge, result.id).stalled_count == 2
    assert audit(side.app.stratix.queue.engine.store) == []


def test_one_of_a_producer_without_the_bridge(on_redis: Project, notes: str) -> None:
    with on_redis.worker("prefork", 2, worker=PATIENT):
        result = producer(on_redis).tasks["proj.lost"].delay(notes, 1)
        assert value(result) == "ran"
        assert lines(notes) == [FIRST, AGAIN]


# -- who must not lose a claim --------------------------------------------------------------------


@pytest.fixture
def claimed(on_redis: Project) -> Iterator[tuple[Bridge, Request, Mock, Mock]]:
    """A worker's request of a task whose job is claimed in its name; what acknowledges and rejects its message."""
    bridge = on_redis.app.stratix_bridge
    task, queue = on_redis.task("lost"), on_redis.queue.name
    result = task.delay("notes", 1)
    bridge.claims.name_worker("celery@here", 1)
    assert isinstance(bridge.claims.served(queue).claiming.ask(result.id, result.id), Claim)
    acknowledge, reject = Mock(), Mock()
    yield bridge, request_of(bridge, task, result.id, queue, acknowledge, reject), acknowledge, reject
    bridge.claims.stop()


def request_of(bridge: Bridge, task: Any, task_id: str, queue: str, acknowledge: Any, reject: Any) -> Request:
    message = Mock(
        headers={"id": task_id, "task": task.name, TRACKED: queue},
        body=b"[]",
        payload=(["notes", 1], {}, {}),
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={"exchange": "", "routing_key": queue},
        properties={},
    )
    made = begins_again_if_lost(bridge, Request)
    request: Request = made(message=message, app=task.app, task=task, on_ack=acknowledge, on_reject=reject)
    return request


def fails_with(request: Request, error: Exception) -> None:
    try:
        raise error
    except type(error):
        request.on_failure(ExceptionInfo(internal=True), send_failed_event=False)


def test_the_claim_of_a_lost_process_ends(claimed: tuple[Bridge, Request, Mock, Mock]) -> None:
    """The store sends the task again: its message is not given back as well. Other processes keep their claims."""
    bridge, request, acknowledge, reject = claimed
    queue, other = request.request_dict[TRACKED], request.task.delay("other notes", 1)
    assert isinstance(bridge.claims.served(queue).claiming.ask(other.id, other.id), Claim)
    fails_with(request, WorkerLostError("gone"))
    assert record_of(bridge, request.id).state is State.WAITING
    assert (acknowledge.call_count, reject.call_count) == (1, 0)
    assert request.acknowledged
    assert record_of(bridge, other.id).state is State.ACTIVE


@pytest.mark.parametrize("why", ["limit", "here again", "another worker", "stops cold", "no store"])
def test_a_claim_that_may_be_that_of_a_process_that_runs_stays(
    claimed: tuple[Bridge, Request, Mock, Mock], monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """At a hard time limit Celery tells before it ends the process; a message may have come twice. Then, too, Celery
    gives the message back as always."""
    bridge, request, acknowledge, reject = claimed
    queue = request.request_dict[TRACKED]
    copy = request_of(bridge, request.task, request.id, queue, Mock(), Mock())
    if why == "limit":
        request.task.acks_on_timeout = False
    elif why == "here again":
        worker_state.task_reserved(copy)
    elif why == "another worker":
        bridge.claims.name_worker("celery@here", 1)
    elif why == "stops cold":
        monkeypatch.setattr(worker_state, "should_terminate", 1)
    else:
        monkeypatch.setattr(type(bridge.engine.store.queries), "held", Mock(side_effect=StoreUnavailable("redis", "")))
    try:
        fails_with(request, TimeLimitExceeded(1) if why == "limit" else WorkerLostError("gone"))
        assert record_of(bridge, request.id).state is State.ACTIVE
        assert (acknowledge.call_count, reject.call_count) == (0, 1)
        assert reject.call_args.args[2] is True
    finally:
        worker_state.task_ready(copy)
