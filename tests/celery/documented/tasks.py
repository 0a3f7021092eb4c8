"""Tasks as the user guide defines them; names begin with ``proj.``."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chord, group, states
from celery.contrib import rdb
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger
from celery.worker.request import Request
from pydantic import BaseModel

from tests.celery.documented import extensions, signals

logger = get_task_logger(__name__)


def note(path: str, line: Any) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


class Handlers(Task):
    """Notes when each handler runs, and the state that others see by then."""

    abstract = True

    def _note(self, what: str, task_id: str, args: Any, *more: Any) -> None:
        state = self.AsyncResult(task_id).state
        note(args[0], " ".join([what, state, *map(str, more)]))

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self._note("before_start", task_id, args)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self._note("on_success", task_id, args, retval)

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._note("on_retry", task_id, args, type(exc).__name__)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._note("on_failure", task_id, args, type(exc).__name__, type(einfo).__name__)

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self._note("after_return", task_id, args, status)


class Raising(Task):
    """Its handlers raise."""

    abstract = True

    def on_success(self, *args: Any) -> None:
        raise ValueError("on_success raised")

    def after_return(self, *args: Any) -> None:
        raise ValueError("after_return raised")


class LoggedRequest(Request):
    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        logging.getLogger("celery.task").warning("Failure detected for task %s", self.task.name)


class Watched(Task):
    abstract = True
    Request = LoggedRequest


class Given(BaseModel):
    value: int


class Returned(BaseModel):
    value: str


def listen(app: Celery, prefix: str, which: str) -> None:
    """What a worker has besides its tasks. In the process of a test these would be those of all applications."""
    if which == "extensions":
        extensions.install(app, prefix)
    elif which == "signals" and "STRATIX_TEST_PROJECT" in os.environ:
        signals.connect()
    elif which == "signed" and "STRATIX_TEST_PROJECT" in os.environ:
        app.setup_security()


def define(app: Celery) -> None:
    define_retries(app)
    define_states(app)
    define_classes(app)
    define_arguments(app)
    define_limits(app)
    define_canvas(app)


def define_retries(app: Celery) -> None:
    @app.task(shared=False, name="proj.retry_with", bind=True, default_retry_delay=0.01, max_retries=2)
    def retry_with(self: Task, path: str, how: str) -> None:
        note(path, self.request.retries)
        if how == "current exception":
            try:
                raise KeyError("current")
            except KeyError as error:
                raise self.retry(exc=error) from error
        if how == "exc":
            raise self.retry(exc=LookupError("given"))
        raise self.retry()

    @app.task(shared=False, name="proj.does_not_throw", bind=True)
    def does_not_throw(self: Task, path: str) -> None:
        if self.request.retries:
            note(path, "again")
            return
        self.retry(countdown=0.01, throw=False)
        note(path, "went on")

    options: dict[str, Any] = {"default_retry_delay": 0.01, "dont_autoretry_for": (IndexError,)}

    @app.task(shared=False, name="proj.known", bind=True, autoretry_for=(LookupError,), **options)
    def known(self: Task, name: str) -> int:
        if name == "key" and self.request.retries < 2:
            raise KeyError(name)
        if name == "index":
            raise IndexError(name)
        return int(self.request.retries)

    @app.task(
        shared=False,
        name="proj.custom_retries",
        autoretry_for=(Exception,),
        retry_kwargs={"max_retries": 1, "countdown": 0.01},
    )
    def custom_retries(path: str) -> None:
        note(path, "ran")
        raise ValueError("always")

    @app.task(shared=False, name="proj.backs_off", autoretry_for=(ValueError,), retry_backoff=20, retry_jitter=False)
    def backs_off() -> None:
        raise ValueError("busy")

    @app.task(shared=False, name="proj.tells_and_retries", bind=True)
    def tells_and_retries(self: Task, gate: str) -> str:
        if not self.request.retries:
            self.update_state(state="PROGRESS", meta={"step": 1})
            raise self.retry(countdown=0.5)
        for number in range(2):
            note(gate, number)
            while not Path(f"{gate}{number}").exists():
                time.sleep(0.01)
            self.update_state(state="NEXT", meta={"step": 2})
        return "done"

    @app.task(shared=False, name="proj.changes", bind=True)
    def changes(self: Task, x: int, y: int = 0) -> Any:
        if not self.request.retries:
            raise self.retry(args=(10,), kwargs={"y": 5}, countdown=0.01)
        return x + y


def define_states(app: Celery) -> None:
    @app.task(shared=False, name="proj.stores_itself", bind=True)
    def stores_itself(self: Task, value: Any) -> None:
        self.update_state(state=states.SUCCESS, meta=value)
        raise Ignore

    @app.task(shared=False, name="proj.rejects", bind=True)
    def rejects(self: Task) -> None:
        raise Reject("no reason", requeue=False)

    @app.task(shared=False, name="proj.rejects_late", bind=True, acks_late=True)
    def rejects_late(self: Task) -> None:
        raise Reject("no reason", requeue=False)

    @app.task(shared=False, name="proj.received_twice", bind=True, acks_late=True)
    def received_twice(self: Task) -> bool:
        if not self.request.delivery_info["redelivered"]:
            raise Reject("once more", requeue=True)
        return True

    @app.task(shared=False, name="proj.long", bind=True, base=AbortableTask)
    def long(self: Any, path: str) -> str:
        note(path, "began")
        while not (self.is_aborted() and Path(f"{path} seen").exists()):
            time.sleep(0.02)
        return "aborted"

    @app.task(shared=False, name="proj.expected", throws=(KeyError,))
    def expected(name: str) -> None:
        raise KeyError(name)

    @app.task(shared=False, name="proj.dump_context", bind=True)
    def dump_context(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
        request = self.request
        shown = ("args", "kwargs", "retries", "is_eager", "called_directly", "eta", "timelimit", "time_limit")
        more = ("soft_time_limit", "utc", "group", "chord", "parent_id", "replaced_task_nesting", "ignore_result")
        return {
            **{name: getattr(request, name) for name in (*shown, *more)},
            "expires": bool(request.expires),
            "own ids": [request.id == request.root_id, request.correlation_id == request.id, self.request is not None],
            "hostname": request.hostname,
            "origin": "@" in (request.origin or ""),
            "callbacks": len(request.callbacks or ()),
            "errbacks": len(request.errbacks or ()),
            "chain": len(request.chain or ()),
            "delivery_info": sorted(request.delivery_info),
            "properties": sorted({"correlation_id", "priority", "delivery_mode"} & set(request.properties or ())),
        }


def define_classes(app: Celery) -> None:
    @app.task(shared=False, name="proj.handled", base=Handlers, bind=True, default_retry_delay=0.5)
    def handled(self: Task, path: str, how: str = "") -> str:
        note(path, "run")
        if how == "fails":
            raise ValueError(how)
        if how == "retries" and not self.request.retries:
            raise self.retry()
        if how == "ignores":
            raise Ignore
        if how == "waits":
            _wait()
        return "done"

    @app.task(shared=False, name="proj.handlers_raise", base=Raising)
    def handlers_raise() -> str:
        return "fine"

    @app.task(shared=False, name="proj.watched", base=Watched)
    def watched() -> None:
        raise ValueError("seen")

    class Users(Task):
        """Instantiated once a process. Its class is bound to one application."""

        def __init__(self) -> None:
            self.calls = 0

        def run(self) -> int:
            self.calls += 1
            return self.calls

    users = Users()
    users.name = "proj.users"
    app.register_task(users)


def define_arguments(app: Celery) -> None:
    @app.task(shared=False, name="proj.two")
    def two(x: Any, y: Any) -> Any:
        return [x, y]

    @app.task(shared=False, name="proj.untyped", typing=False)
    def untyped(x: Any, y: Any) -> Any:
        return [x, y]

    @app.task(shared=False, name="proj.model", pydantic=True)
    def model(given: Given, other: Given | None = None) -> Returned:
        assert isinstance(given, Given)
        return Returned(value=f"example: {given.value}")

    @app.task(shared=False, name="proj.logs")
    def logs(text: str) -> None:
        logger.info("logged %s", text)
        print(f"printed {text}")

    @app.task(shared=False, name="proj.subtract")
    def subtract(x: int, y: int, debug: bool = False) -> int:
        return (x - y) * (100 if debug else 1)

    @app.task(shared=False, name="proj.log_error")
    def log_error(request: Any, exc: Any, traceback: Any, path: str = "") -> None:
        note(path, f"{type(exc).__name__} {bool(traceback)}")

    @app.task(shared=False, name="proj.on_error_of")
    def on_error_of(task_id: str, path: str) -> None:
        from celery.result import allow_join_result

        with allow_join_result():
            note(path, repr(app.AsyncResult(task_id).get(propagate=False)))

    @app.task(shared=False, name="proj.linked_note")
    def linked_note(value: Any, path: str) -> None:
        note(path, f"{value} linked")

    @app.task(shared=False, name="proj.spread")
    def spread(values: Any) -> list[Any]:
        assert isinstance(values, set)
        return list(values)

    @app.task(shared=False, name="proj.hello", bind=True)
    def hello(self: Task, a: int, b: int) -> str:
        for done in (50, 90):
            self.update_state(state="PROGRESS", meta={"progress": done})
            time.sleep(0.05)
        return f"hello world: {a + b}"


def define_canvas(app: Celery) -> None:
    tasks = app.tasks

    @app.task(shared=False, name="proj.mul")
    def mul(x: int, y: int) -> int:
        return x * y

    @app.task(shared=False, name="proj.applies")
    def applies(given: Any, *args: Any) -> str:
        return str(app.signature(given).delay(*args).id)

    @app.task(shared=False, name="proj.names_task")
    def names_task(task_id: str, path: str) -> None:
        note(path, task_id)

    @app.task(shared=False, name="proj.stamps", bind=True)
    def stamps(self: Task, *args: Any) -> Any:
        return self.request.stamps

    @app.task(shared=False, name="proj.replaced_by", bind=True)
    def replaced_by(self: Task, shape: str) -> None:
        add = tasks["proj.add"]
        shapes = {
            "task": add.s(1, 2),
            "group": group(add.s(2, 2), add.s(3, 3)),
            "chord": chord([add.s(2, 2), add.s(1, 1)], tasks["proj.total"].s()),
        }
        raise self.replace(shapes[shape])


def define_limits(app: Celery) -> None:
    @app.task(shared=False, name="proj.cleans_up", soft_time_limit=0.3)
    def cleans_up() -> str:
        try:
            time.sleep(30)
        except SoftTimeLimitExceeded:
            return "cleaned up"
        return "was not limited"

    @app.task(shared=False, name="proj.softly")
    def softly() -> None:
        time.sleep(30)

    @app.task(shared=False, name="proj.hangs", time_limit=0.5)
    def hangs(*args: Any) -> None:
        _wait()

    @app.task(shared=False, name="proj.hangs_once", time_limit=0.5, acks_late=True, acks_on_timeout=False)
    def hangs_once(path: str) -> str:
        if _first(path):
            _wait()
        return "ran again"

    @app.task(shared=False, name="proj.dies")
    def dies(path: str) -> None:
        os._exit(3)

    @app.task(shared=False, name="proj.dies_once", acks_late=True, reject_on_worker_lost=True)
    def dies_once(path: str) -> str:
        if _first(path):
            os._exit(3)
        return "ran again"

    @app.task(shared=False, name="proj.dies_and_is_retried", retry_on_worker_lost=True, default_retry_delay=0)
    def dies_and_is_retried(path: str) -> str:
        if _first(path):
            os._exit(3)
        return "ran again"

    @app.task(shared=False, name="proj.debugged")
    def debugged(x: int, y: int) -> Any:
        result = x + y
        rdb.set_trace()
        return result


def _first(path: str) -> bool:
    """Whether it has not been here before."""
    first = not Path(path).exists()
    note(path, "ran")
    return first


def _wait() -> None:
    """Longer than any limit, on a thread as well."""
    for _ in range(3000):
        time.sleep(0.01)
