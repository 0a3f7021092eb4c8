"""What receivers of the signals of tasks are told, in the log of a worker that imports this; and tasks for that."""

from __future__ import annotations

import sys
from typing import Any

from celery import shared_task, signals


def tell(*what: Any) -> None:
    print("told", *what, file=sys.__stderr__, flush=True)


@signals.task_received.connect
def received(request: Any, **_: Any) -> None:
    known = (request.id, request.task_id, request.kwargs, request.hostname, request.message.headers["task"])
    kinds = [type(one).__name__ for one in (request, request.eta, request.expires, request.body)]
    tell(f"received {request.name}: {kinds} {request.time_limits} {bool(all(known[:2]))} {known[2:3]} {known[4]}")


@signals.task_failure.connect
def failed(sender: Any, task_id: str, exception: Any, args: Any, kwargs: Any, einfo: Any, **_: Any) -> None:
    # Within a process the error is as it was raised; from another one it comes with its traceback as text.
    tell(
        f"failure of {sender.name}: {str(exception)!r} {list(args)[1:]} {kwargs} {type(einfo).__name__} {bool(task_id)}"
    )


@signals.task_revoked.connect
def revoked(sender: Any, request: Any, terminated: bool, signum: Any, expired: bool, **_: Any) -> None:
    tell(f"revoked {sender.name}: {terminated} {signum!r} {expired} {request.task}")


@signals.task_unknown.connect
def unknown(message: Any, exc: Any, name: str, id: str, **_: Any) -> None:
    tell(f"unknown {name}: {exc!r} {id == message.headers['id']} {message.payload[0]} {message.content_type}")


@signals.task_rejected.connect
def rejected(message: Any, exc: BaseException, **_: Any) -> None:
    tell(f"rejected {message.headers['task']}: {exc!r} {message.content_type}")


@shared_task(name="told.exits")
def exits(code: Any = 3) -> None:
    sys.exit(code)


@shared_task(name="told.exits_late", acks_late=True)
def exits_late() -> None:
    sys.exit()


@signals.worker_shutting_down.connect
def shutting_down(sig: str, how: str, exitcode: int, **_: Any) -> None:
    tell(f"shutting down: {sig} {how} {exitcode}")
