"""Tasks for comparisons with stock Celery: they return what they have seen."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chord
from celery.exceptions import Ignore, Reject
from celery.worker.request import Request


class OddError(Exception):
    """One with more than a text."""

    def __init__(self, code: int, *, why: str = "") -> None:
        super().__init__(code)
        self.code, self.why = code, why

    def __reduce__(self) -> Any:
        return _odd, (self.code, self.why)


def _odd(code: int, why: str) -> OddError:
    return OddError(code, why=why)


class Batches(Task):
    """Runs once for three messages, in the process that takes them."""

    abstract = True

    def Strategy(self, task: Any, app: Any, consumer: Any) -> Any:  # noqa: N802
        taken: list[Any] = []

        def receive(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **kwargs: Any) -> None:
            taken.append(message.payload)
            message.ack()
            if len(taken) == 3:
                task.run(list(taken))
                taken.clear()

        return receive


class NotedRequest(Request):
    """Notes, where its task does, that it is given back."""

    def reject(self, requeue: bool = False) -> None:
        note(self.args[0], f"given back {requeue}")
        super().reject(requeue=requeue)


def note(path: str, line: Any) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


def define(app: Celery) -> None:
    """Add them to an application; names begin with ``proj.``."""
    tasks = app.tasks

    @app.task(shared=False, name="proj.odd")
    def odd(*args: Any) -> None:
        raise OddError(7, why="oddly")

    @app.task(shared=False, name="proj.whole_errback")
    def whole_errback(request: Any, error: Any, traceback: Any, path: str) -> None:
        result = app.AsyncResult(request.id)
        heard = "ValueError: boom" in (traceback or "")
        note(path, f"{type(error).__name__} {heard} {result.state} {type(result.result).__name__}")

    @app.task(shared=False, name="proj.family", bind=True)
    def family(self: Task, *args: Any) -> list[Any]:
        request = self.request
        return [request.id, request.parent_id, request.root_id]

    @app.task(shared=False, name="proj.redelivered", bind=True, acks_late=True)
    def redelivered(self: Task, path: str) -> list[bool]:
        again = bool(self.request.delivery_info.get("redelivered"))
        note(path, again)
        if not again and len(Path(path).read_text().splitlines()) < 5:
            raise Reject("later", requeue=True)
        return [line == "True" for line in Path(path).read_text().split()]

    @app.task(shared=False, name="proj.quiet", ignore_result=True)
    def quiet(value: Any = None) -> Any:
        return value

    @app.task(shared=False, name="proj.ignored", bind=True)
    def ignored(self: Task, state: str = "", meta: Any = None) -> None:
        if state:
            self.update_state(state=state, meta=meta)
        raise Ignore

    @app.task(shared=False, name="proj.cut", bind=True)
    def cut(self: Task, value: Any) -> Any:
        self.request.chain = None
        return value

    @app.task(shared=False, name="proj.behind", bind=True)
    def behind(self: Task, value: Any) -> list[Any]:
        """What it sees of the chain behind it."""
        chain = self.request.chain
        shown = [[step["task"], step["args"], step["kwargs"], step["subtask_type"]] for step in chain]
        return [isinstance(chain, list), len(chain), bool(chain), shown, json.loads(json.dumps(chain)) == chain]

    @app.task(shared=False, name="proj.shorten", bind=True)
    def shorten(self: Task, value: Any, left: int) -> Any:
        """Those that come next are left out."""
        del self.request.chain[left:]
        return value

    @app.task(shared=False, name="proj.parent_of", bind=True)
    def parent_of(self: Task, fails: bool) -> None:
        tasks["proj.add"].delay(1, 1)
        if fails:
            raise ValueError("boom")

    @app.task(shared=False, name="proj.sends_chord")
    def sends_chord() -> str:
        add = tasks["proj.add"]
        return str(chord([add.si(1, 1), add.si(2, 2)], tasks["proj.total"].s()).apply_async().id)

    @app.task(shared=False, name="proj.tracked", track_started=True)
    def tracked(gate: str) -> str:
        while not Path(gate).exists():
            time.sleep(0.01)
        return "done"

    @app.task(shared=False, name="proj.fails_and_retries", bind=True)
    def fails_and_retries(self: Task) -> None:
        try:
            raise ValueError("not yet")
        except ValueError as error:
            raise self.retry(exc=error, countdown=60) from error

    @app.task(shared=False, name="proj.tell", bind=True)
    def tell(self: Task, state: str, meta: Any) -> None:
        self.update_state(state=state, meta=meta)

    @app.task(shared=False, name="proj.raise_with")
    def raise_with(value: Any) -> None:
        raise ValueError(value)

    @app.task(shared=False, name="proj.seen", bind=True)
    def seen(self: Task) -> dict[str, Any]:
        own = {key: value for key, value in (self.request.headers or {}).items() if key != "origin"}
        return {"headers": own, "delivery_info": self.request.delivery_info, "eta": self.request.eta}

    @app.task(shared=False, name="proj.outside_rejects", stratix=False)
    def outside_rejects(*args: Any) -> None:
        raise Reject("not me", requeue=False)

    @app.task(shared=False, name="proj.outside", stratix=False)
    def outside(value: Any = None) -> Any:
        return value

    @app.task(shared=False, name="proj.batched", base=Batches, typing=False)
    def batched(requests: list[Any]) -> None:
        note(requests[0][0][0], len(requests))

    @app.task(shared=False, name="proj.count")
    def count(path: str) -> int:
        note(path, "ran")
        return len(Path(path).read_text().splitlines())

    @app.task(shared=False, name="proj.steps", bind=True)
    def steps(self: Task, gate: str) -> str:
        self.update_state(state="PROGRESS", meta={"step": 1})
        while not Path(gate).exists():
            time.sleep(0.01)
        return "done"

    late = {"acks_late": True, "reject_on_worker_lost": True}

    @app.task(shared=False, name="proj.lost", bind=True, **late)
    def lost(self: Task, path: str, times: int) -> str:
        begins_again(self, path, times)
        return "ran"

    @app.task(shared=False, name="proj.lost_and_noted", bind=True, Request=NotedRequest, **late)
    def lost_and_noted(self: Task, path: str, times: int) -> str:
        begins_again(self, path, times)
        return "ran"

    @app.task(shared=False, name="proj.leaves", bind=True, **late)
    def leaves(self: Task, path: str) -> str:
        if len(begun(self, path)) == 1:
            raise SystemExit(1)
        return "ran"


def begun(task: Task, path: str) -> list[str]:
    """The lines of a file, with a new one for this run."""
    info = task.request.delivery_info
    note(path, f"retries {task.request.retries}, redelivered {bool(info.get('redelivered'))}")
    return Path(path).read_text().splitlines()


def begins_again(task: Task, path: str, times: int) -> None:
    """The process of the pool is killed so many times."""
    if len([line for line in begun(task, path) if line.startswith("retries")]) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
