"""Exceptions raised in a call on another thread."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stratix_kombu.celery import interrupts
from stratix_kombu.celery.interrupts import Interruptible, TaskTerminated
from tests.waiting import until


def test_it_is_raised_in_the_call() -> None:
    call, begun, caught = Interruptible(), threading.Event(), list[BaseException]()

    def work() -> None:
        begun.set()
        try:
            while True:
                pass
        except Exception as error:
            caught.append(error)
            raise

    def run() -> None:
        try:
            call.run(work)
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(10)
    call.interrupt(ValueError)
    thread.join(10)
    assert [type(one) for one in caught] == [ValueError, ValueError]


def test_what_it_returns_and_raises() -> None:
    assert Interruptible().run(lambda: 5) == 5
    with pytest.raises(KeyError):
        Interruptible().run(lambda: dict[str, int]()["nothing"])


def test_nothing_is_raised_before_it_or_after_it() -> None:
    call = Interruptible()
    call.interrupt(ValueError)
    assert call.run(lambda: 1) == 1
    call.interrupt(ValueError)
    assert sum(range(1000)) == 499500


@pytest.fixture
def no_callbacks_of_collections() -> Iterator[None]:
    """What is raised in a function of ``gc.callbacks``, and Hypothesis has one there, is written to stderr and is
    lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_callbacks_of_collections")
def test_it_never_leaves_the_call() -> None:
    """Short calls are interrupted at any moment, twice: each returns or raises, and between them nothing is raised."""
    calls, outside = list[Interruptible](), list[BaseException]()
    over = threading.Event()

    def run() -> None:
        try:
            for _ in range(150):
                one = Interruptible()
                calls.append(one)
                try:
                    one.run(_short)
                except (ValueError, TaskTerminated):
                    continue
        except BaseException as error:
            outside.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not over.is_set():
        if calls:
            calls[-1].interrupt(ValueError)
            calls[-1].interrupt(TaskTerminated)
    thread.join(10)
    assert outside == []
    assert len(calls) == 150


def _short() -> int:
    return sum(number * number for number in range(300))


def test_a_call_that_handles_it_goes_on() -> None:
    call, begun, found = Interruptible(), threading.Event(), list[Any]()

    def handles(wait: Callable[[], bool]) -> str:
        try:
            begun.set()
            while not wait():
                pass
        except ValueError:
            return "handled"
        return "not raised"

    thread = threading.Thread(target=lambda: found.append(call.run(lambda: handles(lambda: False))))
    thread.start()
    begun.wait(10)
    call.interrupt(ValueError)
    until(lambda: found, 10)
    thread.join(10)
    assert found == ["handled"]


class Finalized:
    """Loses what is raised while it is finalized."""

    def __init__(self, begun: threading.Event, go_on: threading.Event) -> None:
        self._begun, self._go_on = begun, go_on

    def __del__(self) -> None:
        self._begun.set()
        while not self._go_on.is_set():
            pass


@pytest.mark.parametrize("way", ["caught", "lost"])
def test_a_call_that_is_to_end_is_told_again(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(interrupts, "AGAIN_S", 0.02)
    lost = list[Any]()
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    call, begun, go_on, found = Interruptible(), threading.Event(), threading.Event(), list[Any]()

    def work() -> None:
        try:
            if way == "lost":
                Finalized(begun, go_on)
            begun.set()
            while True:
                pass
        except TaskTerminated:
            found.append("caught")
        while True:
            pass

    def run() -> None:
        try:
            call.run(work)
        except TaskTerminated:
            found.append("ended")

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait(10)
    call.terminate()
    until(lambda: found or lost, 10)
    go_on.set()
    thread.join(10)
    assert found == ["caught", "ended"]
    assert len(lost) >= (way == "lost")


def test_a_thread_can_be_traced_after_it_was_interrupted() -> None:
    """As a debugger does; Python 3.11 begins each function for ever if an exception was taken back and none came."""
    program = (
        "import sys\n"
        "from stratix_kombu.celery.interrupts import Interruptible, TaskTerminated\n"
        "call = Interruptible()\n"
        "try:\n"
        "    call.run(lambda: call.interrupt(TaskTerminated))\n"
        "except TaskTerminated:\n"
        "    print('interrupted')\n"
        "sys.settrace(lambda frame, event, argument: sys.settrace(None) if event == 'return' else None)\n"
        "(lambda: None)()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
