"""Errors that cannot be pickled, and what is told of the end of a task."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from celery import Celery, Task, signals
from celery.exceptions import Reject, Retry

HOOKED = "proj.hooked"


class RefusedError(Exception):
    """It cannot be made from its arguments alone."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body}")


class MissingError(KeyError):
    """Nor can this one, but its base can."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(f"{name} in {place}")


def refused(kind: str) -> Exception:
    """An error of that kind."""
    if kind == "two arguments":
        return RefusedError(503, "down")
    if kind == "base":
        return MissingError("key", "cache")
    if kind == "local":

        class LocalError(Exception):
            pass

        return LocalError("nowhere")
    if kind == "lock":
        return ValueError("locked", threading.local())
    return KeyError("k")


def note(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


class Hooked(Task):
    """Notes what it is told of its end."""

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        note(args[0], f"on_failure {exc!r}")


def internal_error(sender: Any, args: Any, exception: Exception, **_: Any) -> None:
    if sender.name == HOOKED:
        note(args[0], f"internal {exception!r}")


def define(app: Celery) -> None:
    signals.task_internal_error.connect(internal_error)

    @app.task(shared=False, name=HOOKED, base=Hooked)
    def hooked(path: str) -> None:
        raise ValueError("boom")

    @app.task(shared=False, name="proj.refuses")
    def refuses(kind: str) -> None:
        try:
            int("no number")
        except ValueError:
            raise refused(kind)  # noqa: B904

    @app.task(shared=False, name="proj.refuses_again", bind=True)
    def refuses_again(self: Task, kind: str) -> None:
        raise self.retry(exc=refused(kind), countdown=30)

    @app.task(shared=False, name="proj.says_retry")
    def says_retry(error: str = "") -> None:
        raise Retry("by hand", exc=ValueError(error) if error else None)

    @app.task(shared=False, name="proj.rejects_for")
    def rejects_for(kind: str) -> None:
        raise Reject(refused(kind) if kind else "not me", requeue=False)

    @app.task(shared=False, name="proj.looks_typed")
    def looks_typed() -> dict[str, Any]:
        return {"__type__": "nonsense", "__value__": 1}

    @app.task(shared=False, name="proj.notes_error")
    def notes_error(request: Any, error: Any, traceback: Any, path: str) -> None:
        note(path, f"{error!r} {str(traceback).strip().splitlines()[-1]}")
