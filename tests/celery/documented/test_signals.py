"""Signals: https://docs.celeryq.dev/en/stable/userguide/signals.html"""

from __future__ import annotations

from typing import Any

from celery import signals

from tests.celery.beside import Side, beside, value
from tests.celery.documented.conftest import Trial
from tests.celery.documented.signals import ARGUMENTS, told
from tests.celery.documented.statements import Page, Statement
from tests.waiting import WAIT_S, until

PAGE = Page()
CONF = {"documented": "signals"}


def heard(side: Side, *lines: str) -> bool:
    """Whether the worker has noted all of them."""
    until(lambda: all(line in side.log() for line in lines), WAIT_S)
    return True


def of(name: str, sender: str) -> str:
    """The line of a signal with all of its arguments."""
    return told(name, sender, ARGUMENTS[name])


@PAGE.says("Dispatched before a task is published. Note that this is executed in the process sending the task", [True])
def published(side: Side) -> Any:
    seen: list[Any] = []

    def before(sender: Any = None, headers: Any = None, body: Any = None, **given: Any) -> None:
        headers["mine"] = "changed"
        seen.append([sender, headers["id"], sorted(given)])

    def after(sender: Any = None, headers: Any = None, **given: Any) -> None:
        seen.append([sender, headers["id"], headers["mine"]])

    own = side.new_id()
    signals.before_task_publish.connect(before, sender="proj.seen", weak=False)
    signals.after_task_publish.connect(after, sender="proj.seen", weak=False)
    try:
        answer = value(side.task("seen").apply_async(task_id=own))
    finally:
        signals.before_task_publish.disconnect(before, sender="proj.seen")
        signals.after_task_publish.disconnect(after, sender="proj.seen")
    mine = [one for one in seen if one[1] == own]
    given = ["declare", "exchange", "properties", "retry_policy", "routing_key", "signal"]
    return [
        mine == [["proj.seen", own, given], ["proj.seen", own, "changed"]] and answer["headers"]["mine"] == "changed"
    ]


@PAGE.says("Dispatched before a task is executed … after … when a task succeeds … received", True)
def succeeded(side: Side) -> Any:
    value(side.task("mul").delay(1, 2))
    names = ("task_prerun", "task_postrun", "task_success")
    return heard(side, *(of(name, "proj.mul") for name in names), of("task_received", "Consumer"))


@PAGE.says("Dispatched when a task fails", True)
def failed(side: Side) -> Any:
    value(side.task("boom").delay())
    return heard(side, of("task_failure", "proj.boom"))


@PAGE.says("Dispatched when a task will be retried", True)
def retried(side: Side) -> Any:
    value(side.task("flaky").delay(1, 1, 0.01))
    return heard(side, of("task_retry", "proj.flaky"))


@PAGE.says("Set to True if the task expired", True)
def expired(side: Side) -> Any:
    value(side.task("two").apply_async((1, 2), expires=-1))
    return heard(side, of("task_revoked", "proj.two"))


@PAGE.says("Dispatched when a worker receives a message for a task that's not registered", True)
def unknown(side: Side) -> Any:
    side.app.send_task("proj.nobody_knows")
    return heard(side, of("task_unknown", "Consumer"))


@PAGE.says("Dispatched when a worker receives an unknown type of message to one of its task queues", True)
def not_a_task(side: Side) -> Any:
    queue = side.app.conf.task_default_queue
    with side.app.producer_or_acquire() as producer:
        producer.publish({"hello": "world"}, routing_key=queue, exchange="", serializer="json")
    return heard(side, of("task_rejected", "Consumer"))


@PAGE.says("in the process that sent the task … (a task may send others)", True)
def published_by_tasks(side: Side) -> Any:
    value(side.task("parent_of").delay(False))
    return heard(side, of("before_task_publish", "proj.add"), of("after_task_publish", "proj.add"))


@PAGE.says("This is the first signal sent when celery worker starts up", True)
def started(side: Side) -> Any:
    own = side.worker
    once = [of("celeryd_init", own), of("celeryd_after_setup", own), "signal worker_init of", "signal worker_ready of"]
    return heard(side, *once, "signal import_modules of")


@PAGE.says("Dispatched in each pool process when it starts … The sender is the host name", True, on="prefork|solo")
def processes(side: Side) -> Any:
    return heard(side, of("worker_process_init", side.worker))


@PAGE.tried_on("redis-prefork", "rabbitmq-threads", "sqs-solo")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)


def test_signals_of_the_end(redis_url: str) -> None:
    """Each is sent on both sides as often: worker_shutting_down, worker_process_shutdown, worker_shutdown."""
    with beside(redis_url, redis_url, "prefork", 2, documented="signals") as pair:
        ended = []
        for side, worker in zip((pair.stock, pair.bridge), pair.workers, strict=True):
            worker.stop()
            worker.process.wait(WAIT_S)
            names = [line.split()[1] for line in side.log().splitlines() if line.startswith("signal worker_")]
            ended.append({name: names.count(name) for name in names})
        assert ended[0] == ended[1]
        assert {"worker_shutting_down", "worker_process_shutdown", "worker_shutdown"} <= ended[0].keys()
