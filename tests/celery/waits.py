"""Tasks that take long: plain and ``async def`` ones, which are to be ended."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from celery import Celery, Task, current_task
from celery.exceptions import SoftTimeLimitExceeded
from celery.result import allow_join_result

from stratix_kombu.logs import current_job


def note(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


class Line:
    """A client of an asyncio library: its connection belongs to the loop that has made it."""

    def __init__(self) -> None:
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def ask(self, port: int, text: str) -> str:
        async with self._turn:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = self._streams
            writer.write(f"{text}\n".encode())
            return (await reader.readline()).decode().strip()


line = Line()
"""One for each process."""
mark: ContextVar[str] = ContextVar("mark", default="")
remembered: list[weakref.ref[Any]] = []
"""The requests of tasks of this process."""


def remember(request: Any) -> None:
    gc.disable()
    remembered.append(weakref.ref(request))


def define(app: Celery) -> None:
    @app.task(shared=False, name="proj.busy")
    def busy(path: str, seconds: float = 60, catches: bool = False) -> str:
        note(path, "began")
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                time.sleep(0.01)
        except SoftTimeLimitExceeded:
            note(path, "softly")
            if not catches:
                raise
        finally:
            note(path, "ended")
        return "returned"

    @app.task(shared=False, name="proj.waits")
    async def waits(path: str, seconds: float = 60, catches: bool = False) -> str:
        note(path, "began")
        try:
            await asyncio.sleep(seconds)
        except SoftTimeLimitExceeded:
            note(path, "softly")
            if not catches:
                raise
        finally:
            note(path, "ended")
        return "returned"

    @app.task(shared=False, name="proj.limited", stratix_limiter={"max": 2, "duration": 600_000})
    def limited(path: str) -> None:
        note(path, "ran")

    @app.task(shared=False, name="proj.where", bind=True)
    async def where(self: Task, gate: str, marks: str) -> list[Any]:
        """What a coroutine and those that it starts see of their task, while others run between their steps."""
        note(marks, self.request.id)
        while not Path(gate).exists():
            await asyncio.sleep(0.01)

        async def seen() -> list[Any]:
            await asyncio.sleep(0.01)
            job = current_job()
            return [self.request.id, current_task.name, job.job_id if job else None]

        beside = asyncio.create_task(seen())
        sent = app.tasks["proj.same"].delay(1)
        return [*await seen(), *await beside, threading.get_ident(), sent.id]

    @app.task(shared=False, name="proj.calls", bind=True)
    async def calls(self: Task, port: int) -> list[Any]:
        answer = await line.ask(port, self.request.id)
        mark.set(mark.get() + "x")
        return [answer, os.getpid(), current_task.request.id, mark.get()]

    @app.task(shared=False, name="proj.asks")
    async def asks(count: int) -> list[Any]:
        """Other tasks, together, and awaits their results."""
        add = app.tasks["proj.add"]
        sent = await asyncio.gather(*(add.adelay(number, 1) for number in range(count)))
        return [[await one.aget(30) for one in sent], sorted(one.id for one in sent)]

    @app.task(shared=False, name="proj.is_remembered", bind=True)
    def is_remembered(self: Task) -> None:
        remember(self.request)

    @app.task(shared=False, name="proj.is_remembered_too", bind=True)
    async def is_remembered_too(self: Task) -> None:
        await asyncio.sleep(0)
        remember(self.request)

    @app.task(shared=False, name="proj.are_left")
    def are_left(seconds: float) -> list[int]:
        """How many requests have been remembered in this process, and how many of them are there after that time at
        most, although nothing was collected."""
        deadline = time.monotonic() + seconds
        while any(one() is not None for one in remembered) and time.monotonic() < deadline:
            time.sleep(0.01)
        left = sum(one() is not None for one in remembered)
        gc.enable()
        return [len(remembered), left]

    @app.task(shared=False, name="proj.gets_within")
    def gets_within(folder: str, enters_first: bool) -> Any:
        """Two of them allow themselves to get a result together; the one that is first to do so is the first to end
        that, and then it may not. Returns the result, or the error's type."""
        entered, entered_too, left = (Path(folder, name) for name in ("entered", "entered too", "left"))
        if enters_first:
            with allow_join_result():
                appears(entered, entered_too)
            answer = _got(app)
            left.touch()
            return answer
        until_there(entered)
        with allow_join_result():
            appears(entered_too, left)
            return _got(app)


def _got(app: Celery) -> Any:
    try:
        return app.tasks["proj.add"].delay(1, 2).get(timeout=60)
    except RuntimeError as refused:
        return type(refused).__name__


def appears(mine: Path, other: Path) -> None:
    """Say so, and wait until the other one does."""
    mine.touch()
    until_there(other)


def until_there(path: Path) -> None:
    while not path.exists():
        time.sleep(0.01)
