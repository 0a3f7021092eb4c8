"""What our own worker answers to Celery's remote control, and does for it, beside Celery's with processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from celery import Celery

from tests.celery.beside import WAIT_S, Beside, Side, beside, value
from tests.celery.conftest import lines
from tests.waiting import until


@pytest.fixture(scope="module")
def pair(redis_url: str) -> Iterator[Beside]:
    with beside(redis_url, redis_url, "prefork", 2, bridged="own") as both:
        for side in (both.stock, both.bridge):
            until(partial(side.app.control.ping, [side.worker], timeout=1), WAIT_S)  # it may not listen yet
        yield both


@contextmanager
def running(side: Side, app: Celery | None = None, **stamps: Any) -> Iterator[Any]:
    """A task that runs until it is ended; sent by an application, if it is not the side's own."""
    notes = side.folder / side.new_id()
    signature = (app or side.app).tasks["proj.busy"].s(str(notes), catches=False)
    if stamps:
        signature.stamp(**stamps)
    result = signature.apply_async()
    until(lambda: notes.exists() and lines(str(notes))[:1] == ["began"], WAIT_S)
    try:
        yield result
    finally:
        side.app.control.revoke(result.id, terminate=True)
        until(lambda: lines(str(notes))[-1] != "began" or side.name == "stock", WAIT_S)


def asked(side: Side, command: str, **arguments: Any) -> Any:
    """What the side's worker answers."""
    options = {"destination": [side.worker], "reply": True, "timeout": WAIT_S, "limit": 1}
    (answer,) = side.app.control.broadcast(command, arguments=arguments, **options)
    return answer[side.worker]


def described(side: Side, task_id: str, one: Any) -> Any:
    """A description of a task, without what is different each time."""
    changing = {"time_start": float, "worker_pid": int, "hostname": str}
    assert one["id"] == task_id
    assert all(isinstance(one[key], kind) for key, kind in changing.items())
    own = {key: found for key, found in one.items() if key not in ("id", *changing)}
    return {**own, "args": len(one["args"]), "delivery_info": {**one["delivery_info"], "routing_key": "its queue"}}


def test_a_task_that_runs_is_described(pair: Beside) -> None:
    def script(side: Side) -> Any:
        with running(side) as result:
            (active,) = asked(side, "active")
            query = asked(side, "query_task", ids=[result.id, "nobody"])
            state, queried = query.pop(result.id)
            return described(side, result.id, active), state, described(side, result.id, queried), query

    active, state, queried, rest = pair.both(script)
    assert (active["args"], active["kwargs"], state, rest) == (1, {"catches": False}, "active", {})
    assert active == queried


def test_a_delayed_task_is_found_by_its_id(pair: Beside) -> None:
    def script(side: Side) -> Any:
        waits = side.task("add").apply_async((3, 4), countdown=60)
        found: dict[str, Any] = {}
        until(lambda: found.update(asked(side, "query_task", ids=waits.id)) or found, WAIT_S)
        waits.revoke()
        state, request = found[waits.id]
        return state, request["name"], list(request["args"]), request["kwargs"]

    assert pair.both(script) == ("scheduled", "proj.add", [3, 4], {})


def test_what_it_counts(pair: Beside) -> None:
    def script(side: Side) -> Any:
        found = asked(side, "stats")
        return sorted(found), sorted(found["broker"]), sorted(found["rusage"])

    pair.both(script)


def test_tasks_with_a_stamp_are_terminated(pair: Beside) -> None:
    def script(side: Side) -> Any:
        with running(side, tenant="one") as one, running(side, tenant=["two", "three"]) as two:
            control = {"destination": [side.worker], "reply": True, "timeout": WAIT_S, "limit": 1}
            answers = [
                side.app.control.revoke_by_stamped_headers({"tenant": told}, terminate=True, **control)
                for told in ("nobody", ["three", "one"])
            ]
            states = [(value(result), result.state) for result in (one, two)]
            return ["ok" in answer[0][side.worker] for answer in answers], states

    revoked = ("celery.exceptions.TaskRevokedError: terminated", "REVOKED")
    assert pair.both(script) == ([True, True], [revoked, revoked])


@pytest.mark.parametrize("way", ["revoke", "terminate"])
def test_who_does_not_have_the_bridge_terminates_a_task(pair: Beside, way: str) -> None:
    """The worker hears of it, and tells the result backend."""

    def script(side: Side) -> Any:
        plain = side.project.make(bridge=False)
        plain.backend.remove_pending_result = lambda result: result
        with running(side, plain) as result:
            told = {"terminate": True} if way == "revoke" else {}
            getattr(plain.control, way)(result.id, destination=[side.worker], **told)
            return value(result), result.state

    assert pair.both(script) == ("celery.exceptions.TaskRevokedError: terminated", "REVOKED")


def test_one_that_is_not_terminated_goes_on(pair: Beside) -> None:
    def script(side: Side) -> Any:
        with running(side) as result:
            side.app.control.revoke(result.id, destination=[side.worker], reply=True, timeout=WAIT_S, limit=1)
            return [one["id"] == result.id for one in asked(side, "active")], result.state

    assert pair.both(script) == ([True], "PENDING")
