"""Signals that ask a process to stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from stratix_kombu import create_app
from stratix_kombu.signals import DOUBLED_S, StopSignals


def _at_every_line(function: Any, do: Any) -> None:
    """Call a function with ``do`` called before each of its lines, and of those that it calls."""

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            do()
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)


def test_the_handler_may_interrupt_itself_and_all_else() -> None:
    with StopSignals() as signals:
        sent: list[int] = []

        def send() -> None:
            if len(sent) < 1000:
                sent.append(1)
                signal.raise_signal(signal.SIGTERM)

        _at_every_line(lambda: signal.raise_signal(signal.SIGTERM), send)
        _at_every_line(lambda: signals.wait(0.01), send)
        _at_every_line(signals.wake, send)
        assert signals.number == signal.SIGTERM
        assert len(sent) > 20


def test_a_doubled_signal_is_one_and_a_later_one_is_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    heard: list[int] = []
    monkeypatch.setattr("stratix_kombu.signals.time.monotonic", lambda: now)
    with StopSignals(again=heard.append) as signals:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        now += DOUBLED_S
        signal.raise_signal(signal.SIGINT)
        assert (signals.number, signals.again, heard) == (signal.SIGTERM, 0, [])
        now += 0.01
        signal.raise_signal(signal.SIGINT)
        assert (signals.number, signals.again, heard) == (signal.SIGTERM, signal.SIGINT, [signal.SIGINT])


def test_the_twin_of_a_signal_comes_while_there_is_a_handler_for_it() -> None:
    """What stops at once still waits for it, and then all is as it was."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        twin = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGTERM)
            twin.start()
        twin.join()
        assert signals.number == signal.SIGTERM
        assert came == []
        signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_wait_ends_with_a_signal(number: signal.Signals) -> None:
    with StopSignals() as signals:
        sender = threading.Timer(0.05, os.kill, (os.getpid(), number))
        sender.start()
        while not signals.number:
            signals.wait(5)
        sender.join()
        assert signals.number == number


def test_a_forked_process_ends_by_a_signal_as_if_there_were_no_handler() -> None:
    """Its parent does not take the signal for one of its own."""
    with StopSignals() as signals:
        context = multiprocessing.get_context("fork")
        runs, never = context.Event(), context.Event()
        child = context.Process(target=lambda: (runs.set(), never.wait(60)))
        child.start()
        assert runs.wait(30)  # Python forgets a signal that comes while it forks
        child.terminate()
        child.join(30)
        assert child.exitcode == -signal.SIGTERM
        assert signals.number == 0


def test_run_outside_the_main_thread_ends_when_the_application_is_closed() -> None:
    app = create_app({"driver": "memory"})
    thread = threading.Thread(target=app.run)
    started = threading.Event()
    app.hook("after_start", started.set)
    thread.start()
    assert started.wait(10)
    assert app.close()
    thread.join(10)
    assert not thread.is_alive()


def test_run_ends_with_what_its_start_raises() -> None:
    app = create_app({"driver": "memory"})
    handler = signal.getsignal(signal.SIGTERM)

    def fail() -> None:
        raise RuntimeError("can't start new thread")

    app.hook("before_start", fail)
    with pytest.raises(RuntimeError, match="can't start"):
        app.run()
    assert signal.getsignal(signal.SIGTERM) is handler
