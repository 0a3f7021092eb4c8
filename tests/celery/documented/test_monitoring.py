"""Monitoring and management: https://docs.celeryq.dev/en/stable/userguide/monitoring.html"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Thread
from types import ModuleType
from typing import Any

from celery.bin.celery import celery
from celery.events.snapshot import Polaroid
from click.testing import CliRunner

from tests.celery.beside import WAIT_S, Side, outcome, value
from tests.celery.documented.conftest import Trial
from tests.celery.documented.statements import Page, Statement
from tests.waiting import until

PAGE = Page()
CONF = {"worker_send_task_events": True, "task_send_sent_event": True}
REMOTE = "redis|rabbitmq"
ONE_AT_A_TIME = Lock()
"""Where a command prints is the same for the whole process."""


def command(side: Side, *arguments: str) -> tuple[int, str]:
    """``celery -A … arguments``, in this process: its exit code, and what it prints."""
    name = f"documented_{side.name}"
    module = ModuleType(name)
    module.app = side.app  # type: ignore[attr-defined]
    sys.modules[name] = module
    with ONE_AT_A_TIME:
        done = CliRunner().invoke(celery, ["-A", f"{name}:app", "--skip-checks", *arguments])
    return done.exit_code, done.output


@PAGE.says("status: List active nodes in this cluster", [0, True], on=REMOTE)
def status(side: Side) -> Any:
    code, text = command(side, "status", "-d", side.worker, "-t", "60")
    return [code, f"{side.worker}: OK" in text]


@PAGE.says("result: Show the result of a task", [[0, True], [0, True]])
def result_of_a_task(side: Side) -> Any:
    done, fails = side.task("add").delay(40, 2), side.task("boom").delay()
    value(done), value(fails)
    shown = [command(side, "result", done.id), command(side, "result", "--traceback", fails.id)]
    return [[shown[0][0], "42" in shown[0][1]], [shown[1][0], "ValueError: boom" in shown[1][1]]]


@PAGE.says("call: Call a task by name", [0, 7])
def call(side: Side) -> Any:
    code, text = command(side, "call", "proj.add", "-a", "[3, 4]")
    return [code, value(side.app.AsyncResult(text.strip().splitlines()[-1]))]


@PAGE.says("inspect registered: List registered tasks", [0, True], on=REMOTE)
def registered(side: Side) -> Any:
    code, text = command(side, "inspect", "-d", side.worker, "-t", "60", "registered")
    return [code, "proj.add" in text]


@PAGE.says("inspect stats: Show worker statistics", [0, True], on=REMOTE)
def stats(side: Side) -> Any:
    code, text = command(side, "inspect", "-d", side.worker, "-t", "60", "--json", "stats")
    return [code, "max-concurrency" in text]


@PAGE.says("All inspect and control commands supports … destination", [0, True], on=REMOTE)
def control(side: Side) -> Any:
    code, text = command(side, "control", "-d", side.worker, "-t", "60", "enable_events")
    return [code, "task events" in text]


# On SQS Celery counts the messages once for each of its priorities.
@PAGE.says(
    "You can also specify the queues to purge using the -Q option", [0, "Purged 2 messages"], on="redis|rabbitmq"
)
def purge(side: Side) -> Any:
    name = f"{side.project.prefix}purged"
    for _ in range(2):
        side.app.send_task("proj.add", (1, 1), queue=name)
    code, text = command(side, "purge", "-f", "-Q", name)
    return [code, text.strip().partition(" from")[0]]


@PAGE.says("report: Shows information useful to include in bug-reports", 0)
def report(side: Side) -> Any:
    return command(side, "report")[0]


# -- Events ---------------------------------------------------------------------------------------


@contextmanager
def heard(side: Side, own: str) -> Iterator[dict[str, Any]]:
    """The events of a task, by their type, as long as this runs, and the state of the cluster."""
    found: dict[str, Any] = {}
    state = side.app.events.State()

    def hear(event: Any) -> None:
        state.event(dict(event))
        if event.get("uuid") == own:
            found[event["type"]] = event
        found["listens"] = True

    with side.app.connection_for_read() as connection:
        receiver = side.app.events.Receiver(connection, handlers={"*": hear})
        thread = Thread(target=lambda: outcome(lambda: receiver.capture(limit=None, timeout=WAIT_S, wakeup=True)))
        thread.start()

        def listens() -> bool:
            side.task("same").delay()
            return "listens" in found

        try:
            until(listens, WAIT_S)
            found["state"] = state
            yield found
        finally:
            receiver.should_stop = True
            side.task("same").delay()
            thread.join(WAIT_S)


FIELDS = {
    "task-sent": {
        "uuid",
        "name",
        "args",
        "kwargs",
        "retries",
        "eta",
        "expires",
        "queue",
        "exchange",
        "routing_key",
        "root_id",
        "parent_id",
    },
    "task-received": {
        "uuid",
        "name",
        "args",
        "kwargs",
        "retries",
        "eta",
        "hostname",
        "timestamp",
        "root_id",
        "parent_id",
    },
    "task-started": {"uuid", "hostname", "timestamp", "pid"},
    "task-succeeded": {"uuid", "result", "runtime", "hostname", "timestamp"},
    "task-failed": {"uuid", "exception", "traceback", "hostname", "timestamp"},
    "task-retried": {"uuid", "exception", "traceback", "hostname", "timestamp"},
    "task-revoked": {"uuid", "terminated", "signum", "expired"},
}


def fields(side: Side, task: str, *args: Any, wanted: tuple[str, ...], **options: Any) -> list[str]:
    """The events of one task that have all of their fields."""
    own = side.new_id()
    with heard(side, own) as found:
        side.task(task).apply_async(args, task_id=own, **options)
        until(lambda: set(wanted) <= found.keys(), WAIT_S)
        known = found["state"].tasks[own]
        until(lambda: known.name is not None, WAIT_S)  # by another event, which may come later
        seen = known.name
    return [one for one in wanted if found[one].keys() >= FIELDS[one]] + [str(seen)]


COURSE = ("task-sent", "task-received", "task-started")


@PAGE.says(
    "task-succeeded(uuid, result, runtime, hostname, timestamp)", [*COURSE, "task-succeeded", "proj.add"], REMOTE
)
def events_of_success(side: Side) -> Any:
    return fields(side, "add", 1, 2, wanted=(*COURSE, "task-succeeded"))


@PAGE.says(
    "task-failed(uuid, exception, traceback, hostname, timestamp)", [*COURSE, "task-failed", "proj.boom"], REMOTE
)
def events_of_failure(side: Side) -> Any:
    return fields(side, "boom", wanted=(*COURSE, "task-failed"))


@PAGE.says("task-retried(uuid, exception, traceback, hostname, timestamp)", ["task-retried", "proj.flaky"], REMOTE)
def events_of_retries(side: Side) -> Any:
    return fields(side, "flaky", 1, 1, 0.01, wanted=("task-retried",))


# RabbitMQ drops such a message itself, unless a worker is quick enough.
@PAGE.says("expired is set to true if the task expired", ["task-revoked", "proj.add"], "redis")
def events_of_expired(side: Side) -> Any:
    return fields(side, "add", 1, 2, wanted=("task-revoked",), expires=-1)


class Camera(Polaroid):
    """Takes pictures of the tasks that have been seen."""

    pictures: list[int] = []  # noqa: RUF012

    def on_shutter(self, state: Any) -> None:
        self.pictures.append(state.task_count)


@PAGE.says("To take snapshots you need a Camera class", True, REMOTE)
def snapshots(side: Side) -> Any:
    own = side.new_id()
    with heard(side, own) as found, Camera(found["state"], freq=0.05, app=side.app) as camera:
        side.task("add").apply_async((1, 1), task_id=own)
        until(lambda: "task-succeeded" in found, WAIT_S)
        camera.shutter()
    return camera.pictures[-1] >= 1


@PAGE.tried_on("redis-threads", "rabbitmq-threads", "sqs-threads")
def test_page(trial: Trial, host: str, statement: Statement) -> None:
    trial(host, statement)
