"""What is called and sent when the process of a task is ended, by its hard time limit or otherwise. Of the pages on
tasks (https://docs.celeryq.dev/en/stable/userguide/tasks.html), calling, canvas, and workers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from celery import chain, chord, group

from tests.celery.beside import Side, value
from tests.celery.conftest import lines
from tests.celery.documented.conftest import Trial
from tests.celery.documented.statements import Page, Statement, kind
from tests.waiting import WAIT_S, until

PAGE = Page()
CONF: dict[str, Any] = {"worker_lost_wait": 0.2, "worker": {"lease_duration": 12_000}}
"""Seconds until the result of a process that has ended is given up; Celery's default is 10. It may notice only after
five seconds that one has ended: until then leases last, as by default."""
REDIS, PROCESSES = "redis", "prefork"


def noted(side: Side, path: Path, *kinds: str) -> list[str]:
    """What the errbacks have noted, without ids, once each of these kinds of notes is there."""

    def found() -> list[str]:
        return [re.sub("[0-9a-f]+-[0-9a-f-]+", "ID", line) for line in lines(str(path))] if path.exists() else []

    until(lambda: set(found()) >= set(kinds), 60)
    value(side.task("add").delay(1, 1))  # the worker has done all that it does for the first one
    if side.name == "bridge":
        assert sorted(found()) == sorted(kinds), "Celery alone calls and sends errbacks twice after a hard time limit"
    return sorted(set(found()))


def ended(result: Any) -> Any:
    """The result, once there is one."""
    until(result.ready, 60)
    return result


def heard(side: Side, path: Path) -> list[Any]:
    """Errbacks of both kinds: one is called where the task fails, one is sent as a task."""
    return [side.task("on_error").s(str(path)), side.task("names_task").s(str(path))]


LIMIT = ["ID", "ID TimeLimitExceeded"]
LOST = ["ID", "ID WorkerLostError"]
HANDLED = ["on_failure FAILURE TimeLimitExceeded ExceptionInfo", "after_return FAILURE FAILURE"]


@PAGE.says(
    "the worker process … is killed and replaced with a new process … TimeLimitExceeded",
    ["TimeLimitExceeded", *LIMIT],
    on=REDIS,
)
def errbacks(side: Side) -> Any:
    path = side.folder / "errbacks"
    result = side.task("hangs").apply_async(link_error=heard(side, path))
    return [kind(ended(result)), *noted(side, path, *LIMIT)]


@PAGE.says(
    "the errbacks of a chain are linked to each of its tasks", [["SUCCESS", "FAILURE", "FAILURE"], *LIMIT], on=REDIS
)
def errbacks_of_a_chain(side: Side) -> Any:
    path = side.folder / "chain"
    add, hangs = side.task("add"), side.task("hangs")
    steps = chain(add.s(1, 1), hangs.s(), add.s(1))
    for one in heard(side, path):
        steps.link_error(one)
    last = steps.apply_async()
    found = noted(side, path, *LIMIT)
    until(last.ready, WAIT_S)
    return [[last.parent.parent.state, last.parent.state, last.state], *found]


@PAGE.says("link_error of a group", [["TimeLimitExceeded", "SUCCESS"], *LIMIT], on=REDIS)
def errbacks_of_a_group(side: Side) -> Any:
    path = side.folder / "group"
    both = group(side.task("hangs").s(), side.task("add").s(1, 1))
    for one in heard(side, path):
        both.link_error(one)
    slow, quick = both.apply_async()
    found = noted(side, path, *LIMIT)
    return [[kind(ended(slow)), value(quick) == 2 and quick.state], *found]


@PAGE.says("link_error of a chord: a task of its header", ["TimeLimitExceeded", True, "ID", "ID ChordError"], on=REDIS)
def errbacks_of_a_chord(side: Side) -> Any:
    path = side.folder / "chord"
    body = side.task("total").s()
    for one in heard(side, path):
        body.link_error(one)
    result = chord([side.task("hangs").s(), side.task("add").s(1, 1)], body).apply_async()
    found = noted(side, path, "ID", "ID ChordError")
    return [kind(ended(result)), "raised TimeLimitExceeded(0.5)" in repr(result.result), *found]


@PAGE.says("link_error of a chord: its body", ["TimeLimitExceeded", *LIMIT], on=REDIS)
def errbacks_of_a_body(side: Side) -> Any:
    path = side.folder / "body"
    body = side.task("hangs").s()
    for one in heard(side, path):
        body.link_error(one)
    result = chord([side.task("add").s(2, 1), side.task("add").s(1, 1)], body).apply_async()
    found = noted(side, path, *LIMIT)
    return [kind(ended(result)), *found]


@PAGE.says("on_failure: run by the worker when the task fails", ["TimeLimitExceeded", HANDLED], on=REDIS)
def handlers(side: Side) -> Any:
    path = side.folder / "handlers"
    result = side.task("handled").apply_async((str(path), "waits"), time_limit=0.5)
    until(lambda: path.exists() and "after_return" in path.read_text(), 60)
    return [kind(ended(result)), [line for line in lines(str(path)) if "FAILURE" in line]]


@PAGE.says("acks_on_timeout: messages for this task will be acknowledged on timeout", ["SUCCESS", 2], on=PROCESSES)
def delivered_again_after_a_limit(side: Side) -> Any:
    path = side.folder / "again"
    result = side.task("hangs_once").delay(str(path))
    until(lambda: path.exists() and len(lines(str(path))) == 2, 60)
    until(lambda: side.app.AsyncResult(result.id).state == "SUCCESS", 60)
    return ["SUCCESS", len(lines(str(path)))]


@PAGE.says(
    "the worker will acknowledge the message even if … the process executing the task abruptly exits",
    ["WorkerLostError", *LOST],
    on="redis-prefork",
)
def errbacks_of_a_lost_process(side: Side) -> Any:
    path = side.folder / "lost"
    result = side.task("dies").apply_async((str(path),), link_error=heard(side, path))
    return [kind(ended(result)), *noted(side, path, *LOST)]


@PAGE.says("task_reject_on_worker_lost … to be re-queued instead", ["ran again", 2], on=PROCESSES)
def delivered_again_after_a_lost_process(side: Side) -> Any:
    path, notes = side.folder / "rejected", side.folder / "not called"
    result = side.task("dies_once").apply_async((str(path),), link_error=heard(side, notes))
    return [value(ended(result)), len(lines(str(path))), *(lines(str(notes)) if notes.exists() else [])]


@PAGE.says("a task whose worker process exits abruptly is sent again", ["ran again", 2], on="redis-prefork")
def retried_after_a_lost_process(side: Side) -> Any:
    path, notes = side.folder / "retried", side.folder / "not called either"
    result = side.task("dies_and_is_retried").apply_async((str(path),), link_error=heard(side, notes))
    return [value(ended(result)), len(lines(str(path))), *(lines(str(notes)) if notes.exists() else [])]


@PAGE.tried_on("redis-prefork", "redis-own", "rabbitmq-prefork")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)
