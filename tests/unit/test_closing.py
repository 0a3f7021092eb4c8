"""``app.close()`` from everywhere: it closes all, or is refused before it has closed anything."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, Closed, ConfigurationError, JobFailed, create_app
from stratix_kombu.lifecycle.closing import close_within
from tests.waiting import until

OWN = ("stratix-q", "stratix-schedule", "stratix-loop", "stratix-clock", "stratix-heartbeat", "stratix-consumer")
QUICK_S = 4.0
"""Less than the time that closing gives what it waits for."""


@pytest.fixture
def app() -> Iterator[Application]:
    settings: Any = {"driver": "memory", "namespace": f"close{uuid.uuid4().hex[:8]}", "shutdown_timeout": 8}
    app = create_app(settings)
    app.queue.create_queue("q").process("work", lambda job: "worked")
    yield app
    app.close()


def is_at_work(app: Application) -> bool:
    return bool(app.queue.get_queue("q").add("work").wait_until_finished(20) == "worked")


def check_closed(app: Application) -> None:
    """Nothing of it goes on, and it takes no calls; it can be opened again."""
    with pytest.raises(Closed):
        app.queue.get_queue("q").add("work")
    assert app.queue.get_queue("q").worker is None
    assert app.queue.clock is None
    until(lambda: not [one.name for one in threading.enumerate() if one.name.startswith(OWN)])
    with app:
        app.start()
        assert is_at_work(app)


class Call:
    """Calls ``close``, whoever calls this; keeps what it returned or raised, and how long it took."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self.answers: list[Any] = []
        self.took_s = 0.0

    def __call__(self, *_: Any) -> None:
        began = time.monotonic()
        try:
            self.answers.append(self._app.close())
        except Exception as problem:
            self.answers.append(type(problem))
            raise
        finally:
            self.took_s = time.monotonic() - began

    async def awaited(self, *_: Any) -> None:
        began = time.monotonic()
        try:
            self.answers.append(await self._app.aclose())
        except Exception as problem:
            self.answers.append(type(problem))
            raise
        finally:
            self.took_s = time.monotonic() - began


# -- from what it would wait for ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_schedule_may_close_its_application(app: Application, kind: str) -> None:
    call = Call(app)
    app.schedule.interval("100 ms", call if kind == "plain" else call.awaited, limit=1)
    app.start()
    until(lambda: call.answers)
    assert call.answers == [True]
    assert call.took_s < QUICK_S
    check_closed(app)


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("event", ["stop", "completed"])
def test_a_listener_may_close_its_application(app: Application, kind: str, event: str) -> None:
    call = Call(app)
    given = call if kind == "plain" else call.awaited
    if event == "stop":
        app.queue.on(event, given)
    else:
        app.queue.get_queue("q").on("completed", lambda job, _result: given(job))
    app.start()
    app.queue.emit("stop") if event == "stop" else app.queue.get_queue("q").add("work")
    until(lambda: call.answers)
    assert call.answers == [True]
    assert call.took_s < QUICK_S
    app.queue.get_queue("q").off("completed")
    app.queue.off("stop")
    check_closed(app)


@pytest.mark.parametrize("called", ["app", "queues", "queue"])
@pytest.mark.parametrize("kind", ["plain", "async", "awaited"])
def test_a_handler_cannot_wait_for_itself(app: Application, kind: str, called: str) -> None:
    queue = app.queue.get_queue("q")
    plain = {"app": app.close, "queues": app.queue.close_all, "queue": queue.close}[called]
    later: Any = {"app": app.aclose, "queues": app.queue.aio.close_all, "queue": queue.aio.close}[called]

    async def stop(job: Any) -> None:
        if kind == "async":
            plain()
        await later()

    queue.process("stop", stop if kind != "plain" else lambda job: plain())
    app.start()
    began = time.monotonic()
    with pytest.raises(
        JobFailed, match=r"ConfigurationError: .* would wait for the job that calls it \(.*, queue 'q'\)"
    ):
        queue.add("stop", attempts=1).wait_until_finished(30)
    assert time.monotonic() - began < QUICK_S
    assert is_at_work(app), "nothing was closed"
    assert app.close() is True
    check_closed(app)


def test_a_handler_may_have_a_thread_close_it(app: Application) -> None:
    call, threads = Call(app), list[threading.Thread]()

    def stop(job: Any) -> str:
        threads.append(threading.Thread(target=call))
        threads[0].start()
        return "stopping"

    app.queue.get_queue("q").process("stop", stop)
    app.start()
    app.queue.get_queue("q").add("stop")
    until(lambda: threads)
    threads[0].join(20)
    assert call.answers == [True]
    check_closed(app)


def test_a_handler_may_close_another_application(app: Application) -> None:
    def work(job: Any) -> bool:
        with create_app({"driver": "memory", "namespace": uuid.uuid4().hex}) as other:
            other.queue.create_queue("q").process("n", lambda job: 1)
            other.start()
            other.queue.get_queue("q").add("n").wait_until_finished(20)
            return other.close()

    app.queue.get_queue("q").process("other", work)
    app.start()
    assert app.queue.get_queue("q").add("other").wait_until_finished(20) is True
    assert is_at_work(app)


@pytest.mark.parametrize("name", ["before_close", "after_close"])
def test_a_hook_that_closes_again_does_not_wait_for_itself(app: Application, name: Any) -> None:
    call = Call(app)
    app.hook(name, call)
    app.hook(name, call.awaited)
    app.start()
    assert app.close() is True
    assert call.answers == [False, False]
    assert call.took_s < QUICK_S


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_starts_it_cannot_close_it(app: Application, kind: str) -> None:
    call = Call(app)
    app.hook("before_start", call if kind == "plain" else call.awaited)
    with pytest.raises(ConfigurationError, match=r"called by what app\.start\(\) calls: raise an exception there"):
        app.start()
    assert call.answers == [ConfigurationError]
    app._hooks.clear()
    app.start()
    assert is_at_work(app)


# -- what fails midway ----------------------------------------------------------------------------


def test_what_fails_spares_no_other_part(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_seconds: float) -> bool:
        raise OSError("no more")

    closed: list[str] = []
    app.schedule.interval("1 hour", lambda: None)
    app.hook("after_close", lambda: closed.append("after"))
    app.start()
    monkeypatch.setattr(app.schedule, "close", fail)
    with pytest.raises(OSError, match="no more"):
        app.close()
    assert closed == ["after"]
    assert app.queue.get_queue("q").worker is None
    assert app.close() is False, "it is not known whether all had ended"
    monkeypatch.undo()
    app.schedule.close(1)
    check_closed(app)


def test_ctrl_c_while_it_closes_leaves_nothing_running(app: Application) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    app.hook("before_close", interrupt)
    app.start()
    with pytest.raises(KeyboardInterrupt):
        app.close()
    app._hooks.clear()
    check_closed(app)


def test_a_part_that_raises_has_not_ended() -> None:
    assert close_within(1.0, {"a": lambda: 1 / 0, "b": lambda: True}) == [False, True]


# -- from several places --------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "answer"), [(8.0, True), (0.2, False)])
def test_another_thread_waits_for_the_one_that_closes(app: Application, limit: float, answer: bool) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ended: list[float] = []

    def slow(job: Any) -> None:
        begun.set()
        go_on.wait(20)

    app.queue.get_queue("q").process("slow", slow)
    app.start()
    app.queue.get_queue("q").add("slow")
    assert begun.wait(20)

    def close() -> None:
        assert app.close(limit) is answer
        ended.append(time.monotonic())

    first = threading.Thread(target=close)
    first.start()
    until(lambda: app._life.value == "closing")
    threading.Timer(1.5, go_on.set).start()
    assert app.close() is answer
    assert time.monotonic() >= ended[0] - 0.05, "after the first one"
    assert app.close() is answer
    first.join()
    go_on.set()


def test_one_that_waits_gives_up_after_its_own_time(app: Application) -> None:
    go_on = threading.Event()
    app.hook("before_close", lambda: bool(go_on.wait(20)))
    first = threading.Thread(target=app.close)
    first.start()
    until(lambda: app._life.value == "closing")
    began = time.monotonic()
    assert app.close(0) is False
    assert time.monotonic() - began < QUICK_S
    go_on.set()
    first.join()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGUSR1")
def test_a_signal_handler_may_close_it(app: Application) -> None:
    call = Call(app)
    before = signal.signal(signal.SIGUSR1, call)
    try:
        app.start()
        signal.raise_signal(signal.SIGUSR1)
        assert call.answers == [True]
        app.start()
        app.hook("before_close", lambda: signal.raise_signal(signal.SIGUSR1))
        assert app.close() is True
        assert call.answers == [True, False], "the close that it interrupted goes on"
    finally:
        signal.signal(signal.SIGUSR1, before)
    app._hooks.clear()
    check_closed(app)


def test_a_callback_of_an_event_loop_may_close_it(app: Application) -> None:
    call = Call(app)

    async def main() -> None:
        app.start()
        asyncio.get_running_loop().call_soon(call)
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert call.answers == [True]
    check_closed(app)


def test_it_may_be_closed_at_the_exit_of_the_interpreter() -> None:
    program = """
import atexit
from stratix_kombu import create_app
app = create_app({"driver": "memory"})
atexit.register(lambda: print(app.close()))
queue = app.queue.create_queue("q")
queue.process("work", lambda job: print("worked"))
queue.process("async", __import__("asyncio").sleep)
app.start()
queue.add("work").wait_until_finished(20)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "worked\nTrue\n", "")
