"""The methods for asyncio have the signatures of the plain ones, types and defaults too."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from stratix_kombu import Application, Flow, Job, Queue, QueueManager
from stratix_kombu.aio import AsyncFlow, AsyncJob, AsyncQueue, AsyncQueueManager

MIRRORS: dict[type, type] = {AsyncQueue: Queue, AsyncJob: Job, AsyncQueueManager: QueueManager, AsyncFlow: Flow}
ASKS_NO_SERVER = {
    Queue: {"process", "on", "once", "off"},
    Job: {"check_cancelled"},
    QueueManager: {"create_queue", "get_queue", "get_all_queues", "describe", "on", "once", "off"},
    Flow: {"to_canvas", "states"},
}
FOR_THE_PACKAGE: dict[type, set[str]] = {
    Queue: {
        *{"add_by", "added", "after_fork", "attempts", "end", "handle", "new_job", "new_jobs"},
        *{"reopen", "start", "stop", "to_add"},
    },
    QueueManager: {
        "after_fork",
        "check_may_close",
        "close",
        "finish",
        "hurry",
        "known",
        "name_worker",
        "reach",
        "reopen",
        "start",
        "surround",
        "tell_settings",
    },
}


def _methods(cls: type) -> dict[str, Any]:
    return {name: one for name, one in inspect.getmembers(cls, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("mirror", MIRRORS, ids=lambda cls: cls.__name__)
def test_signatures(mirror: type) -> None:
    plain = _methods(MIRRORS[mirror])
    for name, method in _methods(mirror).items():
        if inspect.isasyncgenfunction(method):
            continue  # see below
        assert inspect.iscoroutinefunction(method), name
        assert inspect.signature(method) == inspect.signature(plain[name]), name


@pytest.mark.parametrize("mirror", MIRRORS, ids=lambda cls: cls.__name__)
def test_what_asks_a_server_is_there(mirror: type) -> None:
    cls = MIRRORS[mirror]
    left_out = ASKS_NO_SERVER[cls] | FOR_THE_PACKAGE.get(cls, set())
    mirrored = {name for name, method in _methods(mirror).items() if not inspect.isasyncgenfunction(method)}
    assert sorted(_methods(cls).keys() - left_out) == sorted(mirrored)


def test_async_iterators_have_no_plain_counterpart() -> None:
    found = {
        f"{mirror.__name__}.{name}"
        for mirror in MIRRORS
        for name, method in _methods(mirror).items()
        if inspect.isasyncgenfunction(method)
    }
    assert found == {"AsyncQueue.events"}


@pytest.mark.parametrize(("name", "plain"), [("astart", "start"), ("aclose", "close")])
def test_applications(name: str, plain: str) -> None:
    method = getattr(Application, name)
    assert inspect.iscoroutinefunction(method)
    assert inspect.signature(method) == inspect.signature(getattr(Application, plain))
