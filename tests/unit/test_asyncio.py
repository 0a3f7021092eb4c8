"""Calls from coroutines: threads of their own, an application that is started by one, and what cannot be awaited."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stratix_kombu import Application, Job, WaitTimeout, create_app
from stratix_kombu.calls import Calls
from tests.waiting import until


def test_adding_waiting_and_counting(app: Application) -> None:
    queue = app.queue.create_queue("q", concurrency=3)

    async def handler(job: Job) -> int:
        await asyncio.sleep(0)
        return int(job.data) * 2

    queue.process(handler)

    async def main() -> list[int]:
        jobs = [await queue.aio.add("n", number) for number in range(5)]
        found = [await job.aio.wait_until_finished(timeout=10) for job in jobs]
        later = await queue.aio.add("n", 1, delay=60_000)
        with pytest.raises(WaitTimeout):
            await later.aio.wait_until_finished(timeout=0.02)
        assert (await queue.aio.get_job_counts())["completed"] == 5
        return found

    assert asyncio.run(main()) == [0, 2, 4, 6, 8]


def test_a_full_executor_of_the_loop_delays_no_call(app: Application) -> None:
    """What fills it ends only when the calls have been answered."""
    queue = app.queue.get_queue("work")
    queue.process(lambda job: job.data)
    answered = threading.Event()

    async def main() -> tuple[Any, list[str], bool]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        held = [loop.run_in_executor(None, answered.wait, 60) for _ in range(4)]
        try:
            job = await asyncio.wait_for(queue.aio.add("n", 7), 30)
            ended = await job.aio.wait_until_finished(30)
            names = await asyncio.wait_for(app.queue.aio.get_queue_names(), 30)
            return ended, names, any(one.done() for one in held)
        finally:
            answered.set()
            await asyncio.gather(*held)

    assert asyncio.run(main()) == (7, ["work"], False)


def test_an_application_is_started_and_closed_by_a_coroutine_whose_executor_is_full(settings: dict[str, Any]) -> None:
    answered = threading.Event()
    where: list[bool] = []

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        held = loop.run_in_executor(None, answered.wait, 60)
        app = create_app(settings)
        app.hook("after_close", lambda: where.append(threading.current_thread() is threading.main_thread()))
        try:
            async with app as entered:
                await app.astart()
                assert entered is app
                app.queue.get_queue("work").process(lambda job: job.data)
                job = await app.queue.get_queue("work").aio.add("n", 8)
                return await job.aio.wait_until_finished(30)
        finally:
            assert not held.done()
            answered.set()
            await held

    assert asyncio.run(main()) == 8
    assert where == [False]


@pytest.mark.parametrize("how", ["raises", "cancelled"])
def test_an_application_whose_start_does_not_succeed_is_closed(how: str) -> None:
    app = create_app({"driver": "memory"})
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()

    @app.hook("before_start")
    def hold() -> None:
        begun.set()
        go.wait(60)
        if how == "raises":
            raise LookupError("no")

    app.hook("after_close", closed.set)

    async def enter() -> None:
        async with app:
            await app.astart()
            raise AssertionError("it was entered")

    async def main() -> BaseException | None:
        task = asyncio.ensure_future(enter())
        while not begun.is_set():
            await asyncio.sleep(0.001)
        if how == "cancelled":
            task.cancel()
            await asyncio.sleep(0)
        go.set()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return outcome

    outcome = asyncio.run(main())
    assert isinstance(outcome, LookupError if how == "raises" else asyncio.CancelledError)
    assert closed.is_set()


def test_calls_are_bounded() -> None:
    calls, lock, go = Calls(2), threading.Lock(), threading.Event()
    running, most = 0, []

    def work() -> None:
        nonlocal running
        with lock:
            running += 1
            most.append(running)
        go.wait(60)
        with lock:
            running -= 1

    async def main() -> None:
        asked = [asyncio.ensure_future(calls.run(work)) for _ in range(6)]
        while len(most) < 2:
            await asyncio.sleep(0.001)
        go.set()
        await asyncio.gather(*asked)

    asyncio.run(main())
    calls.close()
    assert (len(most), max(most)) == (6, 2)


def test_the_threads_end_with_the_application_and_begin_with_the_first_call() -> None:
    with create_app({"driver": "memory"}) as app:
        app.start()
        calls = app.queue.engine.calls
        assert calls._pool is None
        thread = asyncio.run(calls.run(threading.current_thread))
        assert asyncio.run(calls.run(threading.current_thread)) is thread
    until(lambda: not thread.is_alive())


def test_what_cannot_be_awaited_says_what_to_write_and_what_was_added_stays(app: Application) -> None:
    queue = app.queue.get_queue("work")

    async def refused(answer: Any) -> str:
        with pytest.raises(TypeError) as raised:
            await answer
        return str(raised.value)

    async def main() -> None:
        said = await refused(queue.add("n", 1, job_id="mine", delay=60_000))
        assert "a Job cannot be awaited" in said
        assert "await queue.aio.add(...)" in said
        assert "await job.aio.wait_until_finished()" in said
        assert "await app.queue.aio.add_flow(...)" in await refused(app.queue.add_flow({"name": "f", "queue": "work"}))
        repeatable = queue.add_repeatable_job("r", every=60_000)
        assert "await queue.aio.add_repeatable_job(...)" in await refused(repeatable)

    asyncio.run(main())
    kept = queue.get_job("mine")
    assert kept is not None
    assert kept.get_state() == "delayed"
    assert not asyncio.iscoroutine(kept)


def test_a_function_by_the_clock_may_return_the_job_it_has_added() -> None:
    """A job looks like something to await; it is nothing that the function has left to do."""
    app = create_app({"driver": "memory"})
    queue = app.queue.get_queue("work")
    app.schedule.interval(100, lambda: queue.add("n"), limit=2)
    with app:
        app.start()
        until(lambda: queue.get_job_counts()["waiting"] == 2)
        until(lambda: app.schedule.list()[0].runs == 2)
    assert app.schedule.list()[0].failures == 0
