"""What a project adds to its worker, as the user guide shows: bootsteps, commands of remote control, texts of logs."""

from __future__ import annotations

import os
import sys
from typing import Any

import celery.app.trace
from celery import Celery, bootsteps
from celery.worker.control import control_command, inspect_command
from kombu import Consumer, Exchange, Queue


def tell(text: str) -> None:
    print(text, file=sys.__stderr__, flush=True)


def own_queue(prefix: str) -> Queue:
    return Queue(f"{prefix}custom", Exchange(f"{prefix}custom"), "routing_key")


def install(app: Celery, prefix: str) -> None:
    class OwnConsumer(bootsteps.ConsumerStep):
        def get_consumers(self, channel: Any) -> list[Consumer]:
            return [Consumer(channel, queues=[own_queue(prefix)], callbacks=[self.handle_message], accept=["json"])]

        def handle_message(self, body: Any, message: Any) -> None:
            tell(f"extension received {body!r}")
            message.ack()

    class WorkerStep(bootsteps.StartStopStep):
        requires = ("celery.worker.components:Pool", "celery.worker.components:Timer")

        def __init__(self, worker: Any, own_option: bool = False, **kwargs: Any) -> None:
            tell(f"extension made with {type(worker).__name__} {own_option}")

        def start(self, worker: Any) -> None:
            worker.timer.call_after(0.05, lambda: tell(f"extension ticked {worker.pool is not None}"))
            tell("extension started")

        def stop(self, worker: Any) -> None:
            tell("extension stopped")

    class InfoStep(bootsteps.StartStopStep):
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, parent: Any, **kwargs: Any) -> None:
            self.names = 0

        def start(self, parent: Any) -> None:
            tell(f"extension sees {'proj.add' in parent.strategies} {parent.task_consumer is not None}")

    app.steps["consumer"].update([OwnConsumer, InfoStep])
    app.steps["worker"].add(WorkerStep)
    if "STRATIX_TEST_PROJECT" in os.environ:
        celery.app.trace.LOG_SUCCESS = "extension: %(name)s[%(id)s] went well: %(return_value)s"


@control_command(args=[("n", int)], signature="[N=1]")
def increase_prefetch_count(state: Any, n: int = 1) -> Any:
    state.consumer.qos.increment_eventually(n)
    return {"ok": "prefetch count incremented"}


@inspect_command()
def current_prefetch_count(state: Any) -> Any:
    return {"prefetch_count": state.consumer.qos.value > 0, "named": state.hostname}
