"""A thread that waits for a coroutine on the loop of its process."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from stratix_kombu.celery import coroutines
from stratix_kombu.celery.coroutines import Waiting
from stratix_kombu.celery.interrupts import Interruptible, TaskTerminated
from stratix_kombu.worker.coroutines import LoopExecutor
from tests.waiting import until

WAIT_S = 20
named: ContextVar[str] = ContextVar("named", default="")


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopExecutor]:
    monkeypatch.setattr(coroutines, "CANCEL_CHECK_S", 0.01)
    loop = LoopExecutor()
    yield loop
    loop.stop()


def never() -> bool:
    return False


def test_it_returns_and_raises_what_the_coroutine_does(loop: LoopExecutor) -> None:
    async def seen() -> tuple[str, int]:
        return named.get(), id(asyncio.get_running_loop())

    async def fails() -> None:
        raise TimeoutError("its own")

    named.set("mine")
    first, second = Waiting(loop, seen()).result(never), Waiting(loop, seen()).result(never)
    assert first == second
    assert first[0] == "mine"
    with pytest.raises(TimeoutError, match="its own"):
        Waiting(loop, fails()).result(never)


def waits(thread: threading.Thread) -> bool:
    """Whether it is where a coroutine is waited for."""
    found = (frame for frame, _ in traceback.walk_stack(sys._current_frames().get(thread.ident or 0)))
    return any(frame.f_code is Waiting._wait.__code__ for frame in found)


def interrupted(loop: LoopExecutor, work: Callable[[threading.Event], Any], error: type[BaseException]) -> list[Any]:
    """What comes of a call on a thread in which that is raised while it waits."""
    call, begun, found = Interruptible(), threading.Event(), list[Any]()

    def run() -> None:
        try:
            found.append(call.run(lambda: Waiting(loop, work(begun)).result(never)))
        except BaseException as problem:
            found.append(type(problem))

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(WAIT_S)
    until(lambda: waits(thread), WAIT_S)  # the coroutine may have begun before the thread waits for it
    call.interrupt(error)
    thread.join(WAIT_S)
    return found


def test_what_is_raised_in_the_thread_is_raised_in_the_coroutine(loop: LoopExecutor) -> None:
    """Which may go on after it."""

    async def handles(begun: threading.Event) -> str:
        begun.set()
        try:
            await asyncio.sleep(WAIT_S)
        except KeyError:
            await asyncio.sleep(0.05)
            return "handled"
        return "late"

    assert interrupted(loop, handles, KeyError) == ["handled"]
    assert interrupted(loop, handles, TaskTerminated) == [TaskTerminated]


def test_what_is_raised_before_it_waits_cancels_the_coroutine(
    loop: LoopExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, begun, begin = threading.Event(), threading.Event(), loop.begin

    async def goes_on() -> None:
        begun.set()
        try:
            await asyncio.sleep(WAIT_S)
        finally:
            ended.set()

    def begin_and_raise(work: Any) -> Any:
        begin(work)
        assert begun.wait(WAIT_S)
        raise KeyError

    monkeypatch.setattr(loop, "begin", begin_and_raise)
    with pytest.raises(KeyError):
        Waiting(loop, goes_on()).result(never)
    assert ended.wait(WAIT_S / 2)


def test_one_that_does_not_end_is_left_alone(loop: LoopExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coroutines, "CANCEL_S", 0.05)
    over = threading.Event()

    async def deaf(begun: threading.Event) -> None:
        begun.set()
        while not over.is_set():
            try:
                await asyncio.sleep(0.01)
            except BaseException:
                continue

    assert interrupted(loop, deaf, TaskTerminated) == [TaskTerminated]
    over.set()


def test_it_is_cancelled_when_it_is_to_end(loop: LoopExecutor) -> None:
    ended = list[str]()

    async def waits() -> None:
        try:
            await asyncio.sleep(WAIT_S)
        finally:
            ended.append("tidy")

    with pytest.raises(asyncio.CancelledError):
        Waiting(loop, waits()).result(lambda: True)
    assert ended == ["tidy"]


def test_the_loop_is_stopped_meanwhile(loop: LoopExecutor) -> None:
    async def stops() -> None:
        threading.Thread(target=loop.stop).start()
        await asyncio.sleep(WAIT_S)

    with pytest.raises(asyncio.CancelledError):
        Waiting(loop, stops()).result(never)
