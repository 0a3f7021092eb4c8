"""Extensions and bootsteps: https://docs.celeryq.dev/en/stable/userguide/extending.html
(and "writing your own remote control commands" of the page on workers)."""

from __future__ import annotations

from typing import Any

from tests.celery.beside import Side, value
from tests.celery.documented.conftest import Trial
from tests.celery.documented.extensions import own_queue
from tests.celery.documented.statements import Page, Statement
from tests.waiting import WAIT_S, until

PAGE = Page()
CONF = {"documented": "extensions"}


def logged(side: Side, text: str) -> bool:
    until(lambda: text in side.log(), WAIT_S)
    return True


@PAGE.says("You may want to embed custom Kombu consumers to manually process your messages", True)
def consumers(side: Side) -> Any:
    queue = own_queue(side.project.prefix)
    with side.app.producer_or_acquire() as producer:
        producer.publish(
            {"hello": side.worker},
            serializer="json",
            exchange=queue.exchange,
            routing_key="routing_key",
            declare=[queue],
            retry=True,
        )
    return logged(side, f"extension received {{'hello': '{side.worker}'}}")


@PAGE.says("Called when the WorkController instance is constructed … Called when the worker is started", True)
def worker_steps(side: Side) -> Any:
    return logged(side, "extension made with Worker False") and logged(side, "extension started")


@PAGE.says("Another example could use the timer to wake up at regular intervals", True)
def timers(side: Side) -> Any:
    return logged(side, "extension ticked True")


@PAGE.says("Every registered task type has an entry in this mapping", True)
def strategies(side: Side) -> Any:
    return logged(side, "extension sees True True")


@PAGE.says("These messages can be customized by overriding the LOG_<TYPE> format strings", True)
def texts_of_logs(side: Side) -> Any:
    result = side.task("mul").delay(2, 3)
    value(result)
    return logged(side, f"extension: proj.mul[{result.id}] went well: 6")


@PAGE.says("Here's an example control command", [{"ok": "prefetch count incremented"}], on="redis|rabbitmq")
def control_commands(side: Side) -> Any:
    replies = side.app.control.broadcast(
        "increase_prefetch_count", arguments={"n": 1}, reply=True, destination=[side.worker], timeout=WAIT_S, limit=1
    )
    return [reply[side.worker] for reply in replies]


@PAGE.says("Inspect command: Does not have side effects", [True, True], on="redis|rabbitmq")
def inspect_commands(side: Side) -> Any:
    replies = side.app.control.broadcast(
        "current_prefetch_count", reply=True, destination=[side.worker], timeout=WAIT_S, limit=1
    )
    answer = replies[0][side.worker]
    return [answer["prefetch_count"], answer["named"] == side.worker]


@PAGE.tried_on("redis-threads", "rabbitmq-prefork")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)
