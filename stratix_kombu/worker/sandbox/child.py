"""The child: takes jobs from the worker that started it, one at a time, and ends with it."""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from queue import SimpleQueue
from types import FrameType
from typing import Any, TextIO, cast

from stratix_kombu import forks
from stratix_kombu.config.options import milliseconds
from stratix_kombu.errors import (
    Closed,
    ConfigurationError,
    InvalidPayload,
    JobCancelled,
    RateLimited,
    StaleClaim,
    UnrecoverableError,
)
from stratix_kombu.lifecycle.engine import Engine
from stratix_kombu.logs import InJob
from stratix_kombu.model.awaiting import is_async, is_awaitable
from stratix_kombu.model.codec import encode
from stratix_kombu.model.middleware import as_context, within, within_async
from stratix_kombu.worker.attempt import reason_of, stacktrace_of
from stratix_kombu.worker.sandbox import family, memory
from stratix_kombu.worker.sandbox.job import SandboxJob
from stratix_kombu.worker.sandbox.protocol import MAX_FRAME, NO_THREAD, Frames, Message, decode_error, frame
from stratix_kombu.worker.sandbox.records import Records
from stratix_kombu.worker.sandbox.soft import SOFT, undisturbed
from stratix_kombu.worker.sandbox.source import Source

CHUNK = 65_536
WATCH_MS = 1_000
"""How often the child looks whether its worker still lives."""
EXIT_S = 1.0
"""How long an idle child may take to end."""


def main(channel: int, life: int) -> None:
    """Serve the worker at the other end of the socket, until it exits."""
    die_with_the_worker(life)
    family.adopt_orphans()
    faulthandler.enable()
    for stream in (sys.stdout, sys.stderr):
        cast(TextIO, stream).reconfigure(line_buffering=True, encoding="utf-8", errors="backslashreplace")  # type: ignore[attr-defined]
    os.set_inheritable(channel, False)
    Child(socket.socket(fileno=channel)).serve()


def die_with_the_worker(life: int) -> None:
    """Have the kernel kill this process group when the worker exits, even while a handler holds the interpreter. Only
    the worker has the other end of this pipe, and it writes nothing. Where the kernel cannot do it, the thread that
    reads from the worker does."""
    os.set_inheritable(life, False)
    if sys.platform == "linux":
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(life, 0)
    if poll.poll(0):  # it was gone before the kernel knew
        os.killpg(0, signal.SIGKILL)


class Child:
    """Reads in a thread of its own, so that the handler has the main one, where signals arrive."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._sending = threading.Lock()
        self._frames = Frames(MAX_FRAME)
        self._limit = 0
        self._memory_mb = 0
        """Both are in the worker's first message."""
        self._runs: SimpleQueue[Message | None] = SimpleQueue()
        self._replies: dict[int, SimpleQueue[Message]] = {}
        self._ids = count(1)
        self._handlers: dict[Source, Callable[[Any], Any]] = {}
        self._number = 0
        """The job that runs; 0 = none."""
        self._cancelled = 0
        """The job that should stop."""
        self._told_to_end = False
        self._terminated = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._records = Records(lambda record: self._send({**record, "number": self._number}))
        self._pid = os.getpid()

    def serve(self) -> None:
        signal.signal(signal.SIGTERM, self._terminate)
        forks.register(self)
        try:
            threading.Thread(target=self._read, name="stratix-sandbox-reader", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            os._exit(NO_THREAD)
        logging.getLogger().addHandler(self._records)
        self._send({"kind": "ready"})
        while not self._terminated and (run := self._runs.get()) is not None:
            self._number = run["number"]
            job = run["job"]
            with InJob(job["id"], job["queue_name"], job["name"], job["attempts_made"] + 1):
                answer = self._run(run)
            forks.end_if_forked(self._pid, int(answer["kind"] == "failed"))
            number, self._number = self._number, 0
            if not self._terminated:
                self._send({**answer, "number": number})

    def after_fork(self) -> None:
        """What a handler forks ends by SIGTERM as other processes do, and does not talk to the worker."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        forks.close_copy(self._channel)
        logging.getLogger().removeHandler(self._records)

    # -- a job ------------------------------------------------------------------------------------

    def _run(self, run: Message) -> Message:
        logging.getLogger().setLevel(run["log_level"])  # what the worker would not log is not sent
        source = Source(**run["source"])
        try:
            loaded = source not in self._handlers
            around = [as_context(self._load(Source(**one))) for one in run["around"]]
            handler = self._load(source)  # after these, which may prepare what it needs
        except BaseException as error:
            reason = f"cannot load the handler {source}: {reason_of(error)}"
            return {
                "kind": "failed",
                "reason": reason,
                "stacktrace": stacktrace_of(error),
                "final": False,
                "unloaded": True,
            }
        self._send({"kind": "begun", "number": run["number"], "loaded": loaded})
        job = SandboxJob(run["job"], partial(self._call, run), partial(self._is_cancelled, run))
        try:
            if around and is_async(handler):
                value = self._awaited(within_async(around, job, lambda: handler(job)))
            else:
                value = within(around, job, lambda: self._awaited(handler(job)))
            result = "null" if value is None else encode(value, run["what"], run["max_bytes"])
            return {"kind": "completed", "result": result}
        except BaseException as error:
            return self._raised(error)

    def _awaited(self, value: Any) -> Any:
        """What a handler has returned; an awaitable is awaited."""
        if not is_awaitable(value):
            return value
        task = self._finish(value)
        if not task.cancelled() and (raised := task.exception()) is not None:
            raise raised  # unchanged: a BaseException would end a loop
        return task.result()

    def _load(self, source: Source) -> Callable[[Any], Any]:
        if source in self._handlers:
            return self._handlers[source]
        Engine.only_handlers = True
        try:
            handler = self._handlers[source] = source.load()
        finally:
            Engine.only_handlers = False
        return handler

    def _finish(self, value: Awaitable[Any]) -> asyncio.Task[Any]:
        """Run the loop until a coroutine has finished."""
        if self._loop is None:  # one for all jobs: what a handler keeps between them may belong to it
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        try:
            self._task = task = self._loop.create_task(_await(value))
            if self._cancelled == self._number:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait([task]))
            return task
        finally:
            self._task = None

    def _raised(self, error: BaseException) -> Message:
        """What becomes of a job whose handler has raised."""
        if isinstance(error, RateLimited):
            try:
                return {"kind": "held", "hold_ms": milliseconds(error.retry_after, "'retry_after'")}
            except ConfigurationError as problem:
                error = problem
        reason = reason_of(error)
        if isinstance(error, MemoryError) and self._memory_mb:
            reason = f"{reason} (max_memory_usage is {self._memory_mb} MB)"
        final = isinstance(error, UnrecoverableError | InvalidPayload | JobCancelled)
        return {"kind": "failed", "reason": reason, "stacktrace": stacktrace_of(error), "final": final}

    def _is_cancelled(self, run: Message) -> bool:
        number: int = run["number"]
        return number == self._cancelled or number != self._number

    def _call(self, run: Message, method: str, *arguments: Any) -> Any:
        """Have the worker call a method of the job."""
        number = run["number"]
        if number != self._number:
            raise StaleClaim(run["job"]["id"])
        if os.getpid() != self._pid:
            raise Closed(f"in a process that its handler has forked, the job {run['job']['id']!r}")
        encode(list(arguments), f"the argument of {method}()", self._limit)
        call = next(self._ids)
        reply = self._replies[call] = SimpleQueue()
        try:
            self._send({"kind": "call", "number": number, "id": call, "method": method, "arguments": arguments})
            answer = reply.get()
        finally:
            del self._replies[call]
        if "error" in answer:
            raise decode_error(answer["error"])
        return answer["value"]

    # -- the worker -------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        data = frame(message, self._limit or CHUNK)
        with undisturbed(), self._sending:
            self._channel.sendall(data)

    def _read(self) -> None:
        try:
            self._listen()
        finally:
            if not self._number:
                self._runs.put(None)
                time.sleep(EXIT_S)
            os.killpg(0, signal.SIGKILL)

    def _listen(self) -> None:
        """Take messages until the worker exits."""
        worker = os.getppid()
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        while os.getppid() == worker:
            # A process that the worker has forked may hold its end open, so the end of the stream is not all.
            if not poll.poll(WATCH_MS):
                continue
            received = self._channel.recv(CHUNK)
            if not received:
                return
            for message in self._frames.feed(received):
                self._take(message)

    def _take(self, message: Message) -> None:
        kind = message["kind"]
        if kind == "run":
            self._runs.put(message)
        elif kind == "reply":
            reply = self._replies.get(message["id"])
            if reply is not None:
                reply.put(message)
        elif kind == "cancel":
            self._cancel(message["number"])
        elif kind == "soft":
            if message["number"] == self._number and callable(signal.getsignal(SOFT)):
                signal.pthread_kill(threading.main_thread().ident or 0, SOFT)
        elif kind == "terminate":
            self._told_to_end = True
            if signal.getsignal(signal.SIGTERM) == self._terminate:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
        elif kind == "hello":
            self._limit = message["limit"]
            sys.argv[:] = message["argv"]
            self._memory_mb = message["memory_mb"]
            if self._memory_mb:
                memory.bound(self._memory_mb * memory.MB)

    def _cancel(self, number: int) -> None:
        self._cancelled = number
        task, loop = self._task, self._loop
        if task is not None and loop is not None and number == self._number:
            loop.call_soon_threadsafe(task.cancel)

    def _terminate(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: run the handler's ``finally`` blocks, and nothing more. Once, and only if the worker asked for it: a
        service manager may signal all processes of a worker that should wait for its jobs."""
        if not self._told_to_end or self._terminated:
            return
        self._terminated = True
        if self._task is None or self._loop is None:
            raise SystemExit(128 + number)
        self._loop.call_soon_threadsafe(self._task.cancel)


async def _await(value: Awaitable[Any]) -> Any:
    return await value
