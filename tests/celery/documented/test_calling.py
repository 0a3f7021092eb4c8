"""Calling tasks: https://docs.celeryq.dev/en/stable/userguide/calling.html"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from celery import group

from tests.celery.beside import WAIT_S, Side, value
from tests.celery.conftest import lines
from tests.celery.documented.conftest import Trial
from tests.celery.documented.statements import Page, Statement, kind
from tests.celery.results import got
from tests.waiting import until

PAGE = Page()
CONF = {"accept_content": ["json", "pickle"]}


@PAGE.says("delay … Star arguments shortcut to .apply_async", [[1, 2], [1, 2], [1, 2]])
def three_ways(side: Side) -> Any:
    two = side.task("two")
    return [value(two.delay(1, y=2)), value(two.apply_async((1,), {"y": 2})), value(two.s(1, 2).apply_async())]


@PAGE.says("the task will not be executed by a worker, but in the current process instead", [[1, 2], [1, 2]])
def called_here(side: Side) -> Any:
    two = side.task("two")
    return [two(1, 2), two.s(1, 2)()]


@PAGE.says("sets the id of the task to my_own_task_id", [True, 3])
def own_id(side: Side) -> Any:
    own = side.new_id()
    result = side.task("add").apply_async((1, 2), task_id=own)
    return [result.id == own, value(side.app.AsyncResult(own))]


@PAGE.says("you can use send_task to call the task by name instead", 3)
def by_name(side: Side) -> Any:
    return value(side.app.send_task("proj.add", (1, 2)))


@PAGE.says("the callback task will be applied with the result of the parent task as a partial argument", [4, 20])
def linked(side: Side) -> Any:
    add = side.task("add")
    result = add.apply_async((2, 2), link=add.s(16))
    answer = value(result)
    until(lambda: side.app.AsyncResult(result.id).children, WAIT_S)
    return [answer, value(side.app.AsyncResult(result.id).children[0])]


@PAGE.says("call the errback function directly so that the raw request, exception and traceback", ["ValueError True"])
def errbacks(side: Side) -> Any:
    path = side.folder / "errbacks"
    side.task("boom").apply_async(link_error=side.task("log_error").s(path=str(path)))
    until(lambda: path.exists() and lines(str(path)), WAIT_S)
    return lines(str(path))


@PAGE.says("passing the failed task's id as the only argument", ["ValueError('boom')"])
def errbacks_by_id(side: Side) -> Any:
    path = side.folder / "errbacks by id"
    side.app.send_task("proj.boom", link_error=side.task("on_error_of").s(path=str(path)))
    until(lambda: path.exists() and lines(str(path)), WAIT_S)
    return lines(str(path))


@PAGE.says("both the link and link_error options can be expressed as a list", [[4, [20, None], "4 linked"]])
def lists_of_callbacks(side: Side) -> Any:
    add, path = side.task("add"), side.folder / "linked"
    result = add.apply_async((2, 2), link=[add.s(16), side.task("linked_note").s(str(path))])
    answer = value(result)
    until(lambda: path.exists() and lines(str(path)), WAIT_S)
    first = side.app.AsyncResult(result.id).children[0]
    return [[answer, value(first), *lines(str(path))]]


SEEN = [("PROGRESS", {"progress": 50}), ("PROGRESS", {"progress": 90}), ("SUCCESS", "hello world: 2")]


@PAGE.says("catching all states changes by setting on_message callback", ["hello world: 2", SEEN])
def on_message(side: Side) -> Any:
    seen: list[Any] = []  # stock Celery may begin with one that is empty
    result = side.task("hello").apply_async((1, 1))
    answer = result.get(
        on_message=lambda body: seen.append((body["status"], body["result"])), propagate=False, timeout=WAIT_S
    )
    return [answer, seen[-3:]]


@PAGE.says("this takes at least 3 seconds to return", [4, True])
def countdown(side: Side) -> Any:
    begun = time.monotonic()
    answer = value(side.task("add").apply_async((2, 2), countdown=0.5))
    return [answer, time.monotonic() - begun > 0.4]


@PAGE.says("eta must be a datetime object … and timezone information", [4, 4])
def eta(side: Side) -> Any:
    add, soon = side.task("add"), timedelta(seconds=0.3)
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    times = [datetime.now(timezone.utc) + soon, datetime.now(elsewhere) + soon]
    return [value(add.apply_async((2, 2), eta=one)) for one in times]


@PAGE.says("When a worker receives an expired task it will mark the task as REVOKED", ["TaskRevokedError", "REVOKED"])
def expired(side: Side) -> Any:
    past = datetime.now(timezone.utc) - timedelta(seconds=10)
    result = side.task("add").apply_async((1, 1), expires=past)
    return [kind(result), result.state]


@PAGE.says("Task expires after one minute from now", [3, 3])
def not_expired(side: Side) -> Any:
    add = side.task("add")
    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    return [value(add.apply_async((1, 2), expires=60)), value(add.apply_async((1, 2), expires=tomorrow))]


@PAGE.says("add.apply_async((2, 2), retry=True, retry_policy={…})", [4, 4])
def retry_policies(side: Side) -> Any:
    add = side.task("add")
    policy = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 1, "retry_errors": None}
    results = [add.apply_async((2, 2), retry=True, retry_policy=policy), add.apply_async((2, 2), retry=False)]
    return [value(one) for one in results]


@PAGE.says("an OperationalError error will be raised", True)
def no_connection(side: Side) -> Any:
    app = side.app
    with app.connection_for_write(url="amqp://guest@127.0.0.1:1//", connect_timeout=1) as nobody:
        try:
            side.task("add").apply_async((2, 2), connection=nobody, retry=False)
        except side.task("add").OperationalError:
            return True
    return False


@PAGE.says("The serializer execution option", [4, {1, 2}])
def serializers(side: Side) -> Any:
    odd = side.task("spread").apply_async(({1, 2},), serializer="pickle")
    return [value(side.task("add").apply_async((2, 2), serializer="json")), set(value(odd))]


@PAGE.says("add.apply_async((2, 2), compression='zlib')", [4, 4, 4])
def compressed(side: Side) -> Any:
    schemes = ("zlib", "gzip", "bzip2")
    return [value(side.task("add").apply_async((2, 2), compression=one)) for one in schemes]


@PAGE.says("You can handle the connection manually by creating a publisher", [4, 8, 16, 32])
def publishers(side: Side) -> Any:
    add, results = side.task("add"), []
    with add.app.pool.acquire(block=True) as connection, add.app.amqp.Producer(connection) as publisher:
        results = [add.apply_async((i, i), producer=publisher) for i in (2, 4, 8, 16)]
    return [value(one) for one in results]


@PAGE.says("this particular example is much better expressed as a group", [4, 8, 16, 32])
def groups(side: Side) -> Any:
    add = side.task("add")
    return got(group(add.s(i, i) for i in (2, 4, 8, 16)).apply_async(), WAIT_S)


@PAGE.says("Do not ignore result", [None, 3, "PENDING", 3])
def ignored(side: Side) -> Any:
    add, quiet = side.task("add"), side.task("quiet")
    without = add.apply_async((1, 2), ignore_result=True)
    kept = quiet.apply_async((3,), ignore_result=False)
    by_name = side.app.send_task("proj.quiet", (3,))
    value(add.delay(1, 1))
    with_result = add.apply_async((1, 2), ignore_result=False)
    return [value(without), value(with_result), by_name.state, value(kept)]


@PAGE.says("headers={…} … task context is usually not present unless you add it explicitly", "daily")
def headers(side: Side) -> Any:
    return value(side.task("seen").apply_async(headers={"periodic_task_name": "daily"}))["headers"][
        "periodic_task_name"
    ]


@PAGE.says("priority - A number between 0 and 255", [9, 0], on="redis|rabbitmq")
def priorities(side: Side) -> Any:
    about = side.task("about")
    return [value(about.apply_async(priority=one))["priority"] for one in (9, 0)]


@PAGE.says("shadow: Override task name used in logs/history", True)
def shadowed(side: Side) -> Any:
    result = side.task("add").apply_async((1, 1), shadow="named otherwise")
    value(result)
    until(lambda: f"named otherwise[{result.id}]" in side.log(), WAIT_S)
    return f"named otherwise[{result.id}]" in side.log()


@PAGE.tried_on("redis-threads", "rabbitmq-prefork", "sqs-solo")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)
