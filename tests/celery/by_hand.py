"""Tasks that store states and results themselves, while they run and from what Celery calls afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore

OWN_ERROR = {"exc_type": "KeyError", "exc_message": ["mine"], "exc_module": "builtins"}
STEPS: dict[str, Callable[[Any], Any]] = {
    "success": lambda task: task.update_state(state="SUCCESS", meta=1),
    "failure": lambda task: task.update_state(state="FAILURE", meta=OWN_ERROR),
    "progress": lambda task: task.update_state(state="PROGRESS", meta=1),
    "done": lambda task: task.backend.mark_as_done(task.request.id, {"x": 1}, request=task.request),
    "done by id": lambda task: task.backend.store_result(task.request.id, {"x": 2}, "SUCCESS"),
    "failed by id": lambda task: task.backend.mark_as_failure(task.request.id, ValueError("m"), traceback="Lines: m"),
    "started": lambda task: task.backend.mark_as_started(task.request.id, x=1),
    "retry": lambda task: task.backend.mark_as_retry(task.request.id, ValueError("z")),
    "revoked": lambda task: task.backend.mark_as_revoked(task.request.id, "why"),
    "unreadable": lambda task: task.update_state(state="PROGRESS", meta=object()),
    "child": lambda task: task.app.tasks["proj.add"].delay(1, 1) and None,
}
"""What a task may do, by name."""


class Tidying(Task):
    """What its handlers store is the last word, as long as the task has not succeeded."""

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        STEPS[kwargs["then"]](self)

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        STEPS[kwargs["then"]](self)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        STEPS[kwargs["then"]](self)


def define(app: Celery) -> None:
    @app.task(shared=False, name="proj.store", bind=True)
    def store(self: Task, steps: list[str], end: str = "") -> Any:
        for step in steps:
            STEPS[step](self)
        if end == "raise":
            raise ValueError("v")
        if end == "ignore":
            raise Ignore
        return 2

    @app.task(shared=False, name="proj.tidy", bind=True, base=Tidying)
    def tidy(self: Task, end: str, then: str) -> Any:
        if end == "raise":
            raise ValueError("v")
        if end == "retry":
            raise self.retry(countdown=30, exc=ValueError("r"))
        return 2
