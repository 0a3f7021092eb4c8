"""Whatever a function of the user's returns to be awaited is awaited, or refused by name."""

from __future__ import annotations

import asyncio
import functools
import logging
import subprocess
import sys
import threading
import uuid
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, WaitTimeout, create_app
from stratix_kombu.cli.lookup import load
from stratix_kombu.model.awaiting import finished
from tests.waiting import until

HOOKS = ("before_start", "after_start", "before_close", "after_close")


class Later:
    """To be awaited, and no coroutine."""

    def __init__(self, called: list[str], name: str) -> None:
        self.called, self.name = called, name

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        self.called.append(self.name)


def hooks_of(called: list[str], name: str) -> dict[str, Any]:
    async def coroutine() -> None:
        await asyncio.sleep(0)
        called.append(name)

    class Callable:
        async def __call__(self) -> None:
            await coroutine()

    return {
        "async def": coroutine,
        "partial": functools.partial(coroutine),
        "lambda": lambda: coroutine(),
        "object": Callable(),
        "awaitable": lambda: Later(called, name),
    }


@pytest.mark.parametrize("kind", ["async def", "partial", "lambda", "object", "awaitable"])
def test_hooks_are_awaited_in_order(kind: str) -> None:
    app, called = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[str]()
    _ = app.queue
    for name in HOOKS:
        app.hook(name, hooks_of(called, name)[kind])
        app.hook(name, lambda name=name: called.append(f"{name} too"))
    app.start()
    app.close()
    assert called == [one for name in HOOKS for one in (name, f"{name} too")]


def test_hooks_share_the_loop_of_the_handlers() -> None:
    app, loops = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[Any]()
    queue = app.queue.create_queue("q")

    @app.hook("beforeStart")
    @app.hook("before_close")
    @app.hook("after_close")
    async def note(job: Any = None) -> None:
        loops.append(asyncio.get_running_loop())

    queue.process(note)
    app.start()
    queue.add("n").wait_until_finished(timeout=10)
    app.close()
    started, handled, closing, closed = loops
    assert started is handled is closing is not closed


def test_async_hooks_may_use_all_of_the_application() -> None:
    app, seen = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[Any]()

    async def use() -> None:
        queue = app.queue.get_queue("q")
        await queue.aio.add("n")
        app.schedule.interval("1 hour", print)
        lock = app.distributed_lock.acquire("key", 1000)
        assert lock is not None
        seen.append((await queue.aio.get_job_counts())["waiting"])
        lock.release()

    async def start() -> None:  # a loop runs in the thread that starts it
        app.start()

    for name in ("before_start", "after_start", "before_close"):
        app.hook(name, use)
    asyncio.run(start())
    app.close()
    assert seen == [1, 2, 3]


def test_an_application_that_is_closed_within_a_loop_awaits_its_hooks() -> None:
    async def main() -> list[str]:
        app, called = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[str]()
        for name in HOOKS:
            app.hook(name, hooks_of(called, name)["async def"])
        app.start()
        app.close()
        return called

    assert asyncio.run(main()) == list(HOOKS)


def test_async_hooks_run_though_jobs_get_no_time() -> None:
    app, called = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[str]()
    _ = app.queue
    for name in HOOKS:
        app.hook(name, hooks_of(called, name)["async def"])
    app.start()
    app.close(timeout=0)
    assert called == list(HOOKS)


def test_what_an_async_hook_raises_is_raised_as_by_a_plain_one() -> None:
    async def broken() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    app, called = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[str]()
    app.hook("before_close", broken)
    app.hook("before_close", lambda: called.append("the next one"))
    app.start()
    with pytest.raises(ZeroDivisionError):
        app.close()
    assert called == ["the next one"]
    app = create_app({"driver": "memory", "namespace": uuid.uuid4().hex})
    app.hook("before_start", broken)
    with pytest.raises(ZeroDivisionError):
        app.start()
    app.close()


@pytest.mark.parametrize("name", ["before_close", "after_close"])
def test_a_time_out_of_the_hooks_own_is_not_ours(name: str) -> None:
    async def connect() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)

    app = create_app({"driver": "memory", "namespace": uuid.uuid4().hex})
    _ = app.queue
    app.hook(name, connect)
    app.start()
    with pytest.raises(asyncio.TimeoutError) as raised:
        app.close()
    assert not isinstance(raised.value, WaitTimeout)


@pytest.mark.parametrize("name", ["before_close", "after_close"])
def test_closing_gives_async_hooks_as_long_as_the_jobs(name: str) -> None:
    app, ended = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[str]()
    queue = app.queue.create_queue("q")

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    app.hook(name, endless)
    app.start()
    with pytest.raises(WaitTimeout, match=rf"hook .*endless \({name}\) was cancelled: it has not finished"):
        app.close(timeout=0.1)
    until(lambda: ended == ["cancelled"])
    with pytest.raises(Exception, match="closed"):
        queue.add("n")


def test_the_documented_shutdown_as_an_async_hook(app: Application) -> None:
    queue, seen = app.queue.create_queue("emails"), list[Any]()
    begun, go_on = threading.Event(), threading.Event()

    @queue.process
    async def send(job: Any) -> str:
        begun.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        return "sent"

    @app.hook("beforeClose")
    async def close() -> None:
        await queue.aio.pause()
        go_on.set()
        while (await queue.aio.get_job_counts())["active"]:
            await asyncio.sleep(0.01)
        seen.append(await job.aio.get_state())
        seen.append(await app.queue.aio.close_all())

    app.start()
    job = queue.add("welcome")
    begun.wait(10)
    app.close()
    assert seen == ["completed", True]


def test_what_would_hold_up_its_own_loop_says_what_to_write() -> None:
    app = create_app({"driver": "memory", "namespace": uuid.uuid4().hex})
    _ = app.queue

    @app.hook("before_close")
    async def close() -> None:
        app.queue.close_all()

    app.start()
    with pytest.raises(ConfigurationError, match=r"write 'await app\.queue\.aio\.close_all"):
        app.close()


def test_listeners_may_return_anything_to_be_awaited(app: Application) -> None:
    queue, called = app.queue.create_queue("q"), list[str]()
    queue.process(lambda job: 1)
    kinds = ("async def", "partial", "object", "awaitable")
    for kind in kinds:
        app.queue.on("mine", hooks_of(called, kind)[kind])
    app.queue.emit("mine")
    until(lambda: len(called) == 4)
    for kind in kinds:  # not before: the worker may find its queue drained at any moment
        queue.on("drained", hooks_of(called, kind)[kind])
    queue.add("n").wait_until_finished(timeout=10)
    until(lambda: len(called) >= 8)


def test_generators_that_are_async_are_refused_in_words(caplog: pytest.LogCaptureFixture) -> None:
    async def halves() -> Any:
        yield 1

    app = create_app({"driver": "memory", "namespace": uuid.uuid4().hex})
    app.hook("before_start", halves)
    with pytest.raises(TypeError, match="is `async def` with `yield`"):
        app.start()
    app.close()


def test_filters_and_progress_of_housekeeping_are_awaited(app: Application) -> None:
    mail, dead = app.queue.create_queue("mail", dead_letter="dead"), app.queue.get_queue("dead")
    mail.process(lambda job: 1 / 0)
    app.start()
    for number in range(3):
        mail.add("n", number)
    until(lambda: dead.get_job_counts()["waiting"] == 3)
    pages: list[int] = []

    async def wanted(letter: Any) -> bool:
        await asyncio.sleep(0)
        return bool(letter["data"] == 1)

    async def note(count: int) -> None:
        pages.append(count)

    mail.pause()
    assert dead.redrive(filter=wanted, on_progress=note) == 1
    assert asyncio.run(dead.aio.redrive(filter=wanted, on_progress=note)) == 0
    assert dead.drain(on_progress=note) == 2
    assert pages == [1, 2]


@pytest.mark.parametrize("kind", ["plain handler", "async handler"])
def test_a_custom_backoff_may_be_async(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app({"driver": "memory", "namespace": uuid.uuid4().hex})

    async def soon(attempts_made: int) -> int:
        await asyncio.sleep(0)
        return 1

    async def fail(job: Any) -> None:
        raise ValueError

    queue = app.queue.create_queue("q", backoffs={"soon": soon})
    queue.process(fail if kind.startswith("async") else lambda job: 1 / 0)
    with app:
        app.start()
        job = queue.add("n", attempts=3, backoff={"custom": "soon"})
        until(lambda: job.refresh().state == "failed")
        assert (job.attempts_made, job.get_logs()) == (3, [])
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING and "back-off" in one.message]


def test_schedules_await_whatever_their_function_returns() -> None:
    app, called = create_app({"driver": "memory", "namespace": uuid.uuid4().hex}), list[str]()
    for kind in ("async def", "partial", "object", "awaitable"):
        app.schedule.interval(100, hooks_of(called, kind)[kind], limit=1, name=kind)
    app.start()
    until(lambda: len(called) == 4)
    app.close()
    assert sorted(called) == ["async def", "awaitable", "object", "partial"]


def test_functions_that_nothing_can_await_are_refused_by_name() -> None:
    async def strategy(attempt: int) -> int:
        return 50

    with pytest.raises(ConfigurationError, match="'connect_retry_strategy' must be a plain function"):
        _ = create_app({"redis": {"url": "redis://127.0.0.1:1/0", "connectRetryStrategy": strategy}}).queue


def test_a_coroutine_in_the_place_of_a_function_is_refused() -> None:
    app = create_app({"driver": "memory", "namespace": uuid.uuid4().hex})
    queue = app.queue.get_queue("q")
    given: Any = make()
    for call in (
        lambda: app.hook("before_close", given),
        lambda: queue.process(given),
        lambda: queue.process("n", given),
        lambda: queue.on("drained", given),
        lambda: app.queue.on("mine", given),
        lambda: app.schedule.interval("1 s", given),
        lambda: app.schedule.register({"every": 1000, "handler": given}),
    ):
        with pytest.raises(ConfigurationError, match=r"must be a function.* not <coroutine object make"):
            call()
    given.close()
    app.close()


async def make() -> Application:
    """What a program may have instead of an application."""
    return create_app({"driver": "memory", "namespace": uuid.uuid4().hex})


def test_the_command_line_awaits_what_makes_the_application() -> None:
    assert isinstance(load("tests.unit.test_awaited:make"), Application)


def test_errors_that_are_no_exceptions_pass_through() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        finished(leave())
    app = create_app({"driver": "memory", "namespace": uuid.uuid4().hex})

    @app.queue.create_queue("q").process("n")
    async def handle(job: Job) -> None:
        """For its loop."""

    app.hook("before_start", leave)
    with pytest.raises(SystemExit):
        app.start()
    app.close()


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import asyncio, threading
from stratix_kombu import create_app

async def later(value):
    await asyncio.sleep(0.01)
    return value

app = create_app({"driver": "memory"})
queue = app.queue.create_queue("q", concurrency=4)
held = threading.Event()

async def on_the_loop(job):
    while not held.is_set():
        await asyncio.sleep(0.01)

queue.process("async", on_the_loop)
queue.process("later", lambda job: later(job.data))
app.start()
first = queue.add("async")
jobs = [queue.add("later", number) for number in range(8)]
print([job.wait_until_finished(timeout=30) for job in jobs])
held.set()
print(first.wait_until_finished(timeout=30))
app.close()
"""


def test_what_is_awaited_where_threads_are_greenlets() -> None:
    """One loop can run in a thread, and all greenlets are in one: see ``gevent.threadpool``."""
    done = subprocess.run([sys.executable, "-c", GREENLETS], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split("\n") == [str(list(range(8))), "None", ""], done.stdout + done.stderr
