"""A project that has the bridge, and has it not, and has it again, while its tasks are under way."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from celery import Celery, chain, chord

from tests.celery.workers import Project

WAIT_S = 60
TIMES = 4


def results_of(app: Celery, number: int) -> dict[str, Any]:
    """One task of each kind, and a canvas; what each gives is known."""
    add, total, flaky = (app.tasks[f"proj.{name}"] for name in ("add", "total", "flaky"))
    return {
        "task": add.delay(number, 1),
        "delayed": add.apply_async((number, 2), countdown=0.3),
        "chain": chain(add.s(number, 1), add.s(2)).apply_async(),
        "chord": chord([add.s(number, 1), add.s(number, 2)], total.s()).apply_async(),
        "tried again": flaky.delay(number, 1),
    }


def expected(number: int) -> dict[str, Any]:
    return {
        "task": number + 1,
        "delayed": number + 2,
        "chain": number + 3,
        "chord": 2 * number + 3,
        "tried again": [number, 1],
    }


def test_nothing_is_lost_between_versions(project: Project) -> None:
    """Workers of one version take over from those of the other, for producers of both. The last one has the bridge:
    what the others could not go on with, such as what is delayed in the store, ends with it."""
    stock = project.make(bridge=False)
    stock.backend.remove_pending_result = lambda result: result  # else results look for the server when they go
    apps = [stock, project.app]
    times = 1 if project.broker.startswith("sqs") else TIMES  # moto is slow
    sent: list[tuple[int, dict[str, Any]]] = []
    with ExitStack() as stack:
        before: Any = None
        for bridge in (False, True, False, True):
            worker = project.start_worker(ready=False, bridge=bridge)
            stack.callback(worker.end)
            for app in apps:
                sent += [(number, results_of(app, number)) for number in range(len(sent), len(sent) + times)]
            worker.wait_until_ready()
            for app in apps:
                sent += [(number, results_of(app, number)) for number in range(len(sent), len(sent) + times)]
            if before is not None:
                before.end()
            before = worker
        for number, results in sent:
            assert {name: one.get(timeout=WAIT_S) for name, one in results.items()} == expected(number)
