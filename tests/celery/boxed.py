"""Tasks that run in sandboxes: each does what it is told."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chain, current_task
from celery.exceptions import SoftTimeLimitExceeded

MEMORY_MB = 150
VARIANTS: dict[str, dict[str, Any]] = {
    "boxed": {},
    "boxed_late": {"acks_late": True},
    "boxed_again": {"acks_late": True, "reject_on_worker_lost": True},
    "boxed_small": {"stratix_sandbox": {"max_memory_usage": MEMORY_MB}},
    "boxed_gently": {"stratix_sandbox": {"kill_behavior": "graceful"}},
}


def note(path: str, line: Any) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


def define(app: Celery) -> None:
    for name, options in VARIANTS.items():

        @app.task(shared=False, name=f"proj.{name}", bind=True, **{"stratix_sandbox": True, **options})
        def boxed(self: Task, act: str, *arguments: Any) -> Any:
            return globals()[act](self, *arguments)

    @app.task(shared=False, name="proj.boxed_async", bind=True, stratix_sandbox=True)
    async def boxed_async(self: Task, path: str, seconds: float = 60, catches: bool = False) -> list[Any]:
        note(path, "began")
        try:
            await asyncio.sleep(seconds)
        except SoftTimeLimitExceeded:
            note(path, "softly")
            if not catches:
                raise
        finally:
            note(path, "ended")
        return [os.getpid(), self.request.id, current_task.name, id(asyncio.get_running_loop())]


def where(task: Task) -> list[Any]:
    request = task.request
    queue = request.delivery_info["routing_key"]
    return [os.getpid(), request.id, request.retries, request.hostname, current_task.name, queue]


def flaky(task: Task, times: int) -> int:
    if task.request.retries < times:
        raise task.retry(exc=KeyError("not yet"), countdown=0.02)
    return int(task.request.retries)


def replaced(task: Task) -> None:
    add = task.app.tasks["proj.add"]
    raise task.replace(chain(add.s(1, 1), add.s(2)))


def spawns(task: Task, path: str) -> str:
    return str(task.app.tasks["proj.note"].delay(path, "spawned").id)


def raises(task: Task, text: str) -> None:
    raise ValueError(text)


def leaves(task: Task, path: str) -> None:
    note(path, "ran")
    os._exit(3)


def is_killed(task: Task, path: str) -> None:
    note(path, "ran")
    os.kill(os.getpid(), signal.SIGKILL)


def is_killed_once(task: Task, path: str) -> bool:
    first = not Path(path).read_text()
    note(path, "ran")
    if first:
        os.kill(os.getpid(), signal.SIGKILL)
    return bool(task.request.delivery_info["redelivered"])


def exits(task: Task, path: str) -> None:
    note(path, "ran")
    raise SystemExit(4)


def hoards(task: Task) -> int:
    kept = []
    for _ in range(40):
        kept.append(bytearray(os.urandom(1024) * 10_240))
        time.sleep(0.02)
    return len(kept)


def blocks(task: Task, path: str, catches: bool = False) -> str:
    Path(f"{path}.pid").write_text(str(os.getpid()))
    note(path, "began")
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        note(path, "softly")
        if not catches:
            raise
    finally:
        note(path, "ended")
    return "returned"


def writes_while_limited(task: Task, seconds: float) -> str:
    """Each line is a message to the worker, in the middle of which the limit may come."""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            logging.getLogger("boxed").warning("x" * 10_000)
    except SoftTimeLimitExceeded:
        return "softly"
    return "late"


def speaks(task: Task, gate: str) -> str:
    print("printed", os.getpid())
    logging.getLogger("boxed").warning("logged")
    task.update_state(state="PROGRESS", meta={"done": 1})
    while not Path(gate).exists():
        time.sleep(0.01)
    return "done"
