"""Tasks whose classes have a part in publishing, as those of celery-once and celery-singleton, and a receiver of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Celery, Task, signals
from kombu import Exchange, Queue


class Once(Task):
    """Refuses to be published while its lock is held."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        try:
            Path(args[0]).touch(exist_ok=False)
        except FileExistsError:
            raise RuntimeError("it is queued already") from None
        return super().apply_async(args, kwargs, **options)


class Single(Task):
    """Publishes nothing while there is a result for the same."""

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        lock = Path(args[0])
        if lock.exists():
            return self.AsyncResult(lock.read_text())
        result = super().apply_async(args, kwargs, **options)
        lock.write_text(result.id)
        return result


def _note(sender: Any, body: Any, **_: Any) -> None:
    if sender == "proj.heard":
        with Path(body[0][0]).open("a") as notes:
            notes.write("published\n")


def define(app: Celery) -> None:
    """With the setting ``routed`` one queue is reached by another key of another exchange."""
    for name, base in (("once", Once), ("single", Single), ("heard", Task)):

        @app.task(shared=False, name=f"proj.{name}", base=base)
        def ran(path: str) -> str:
            return "ran"

    @app.task(shared=False, name="proj.shown")
    def shown(value: Any) -> str:
        return repr(value)

    signals.before_task_publish.connect(_note)
    name = app.conf.task_default_queue
    if app.conf.get("routed"):
        app.conf.task_queues = [Queue(name), Queue(f"{name}-routed", Exchange(f"{name}-x", "direct"), "key")]
