"""An application that was closed can be opened and started again, with all it had."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, Closed, JobFailed, StoreUnavailable, create_app
from stratix_kombu.stores.memory.events import MemoryEventLog
from tests.waiting import until


def made(settings: dict[str, Any]) -> tuple[Application, list[Any]]:
    """An application with one of everything that has threads or connections; and what was heard."""
    app = create_app(settings)
    heard: list[Any] = []
    queue = app.queue.create_queue("q", concurrency=2)
    queue.process("plain", lambda job: job.data)

    @queue.process("coroutine")
    async def coroutine(job: Any) -> Any:
        await asyncio.sleep(0)
        return job.data

    app.queue.create_queue("limited", limiter={"max": 100, "duration": 1000}).process(lambda job: "in time")
    queue.on("completed", lambda job, result: heard.append(result))
    app.queue.on("user.registered", lambda name: heard.append(name))
    app.schedule.interval(100, lambda: heard.append("tick"), name="tick")
    return app, heard


def work(app: Application, heard: list[Any]) -> None:
    """All of it does its work."""
    queue = app.queue.get_queue("q")
    mark = uuid.uuid4().hex
    jobs = [queue.add(name, f"{name}-{mark}") for name in ("plain", "coroutine")]
    jobs.append(queue.add("plain", f"late-{mark}", delay=20))  # by the clock
    results = [job.wait_until_finished(20) for job in jobs]
    assert results == [f"{name}-{mark}" for name in ("plain", "coroutine", "late")]
    assert asyncio.run(queue.aio.get_job_counts())["waiting"] == 0
    assert app.queue.get_queue("limited").add("n").wait_until_finished(20) == "in time"
    app.queue.emit("user.registered", mark)
    until(lambda: mark in heard and {f"plain-{mark}", f"coroutine-{mark}", f"late-{mark}"} <= set(heard))
    ticks = heard.count("tick")
    until(lambda: heard.count("tick") > ticks)
    with app.distributed_lock.hold("only-one", 10_000, timeout=5):
        pass
    assert app.check_health().ok
    # Each listener hears each event once, however often it was started.
    assert [heard.count(one) for one in (mark, f"plain-{mark}")] == [1, 1]


@pytest.fixture(params=["memory", "redis", "rabbitmq", "sqs"])
def everywhere(request: pytest.FixtureRequest) -> dict[str, Any]:
    settings: dict[str, Any] = {"driver": request.param, "namespace": f"again{uuid.uuid4().hex[:8]}"}
    if request.param != "memory":
        settings["store"] = request.getfixturevalue("redis_url")
    if request.param == "redis":
        settings["redis"] = {"url": settings["store"]}
    elif request.param == "rabbitmq":
        settings["rabbitmq"] = {"url": request.getfixturevalue("amqp_url")}
    elif request.param == "sqs":
        aws = {"region": "us-east-1", "credentials": {"access_key_id": "x", "secret_access_key": "y"}}
        settings["sqs"] = {"endpoint_url": request.getfixturevalue("sqs_url"), "aws": aws, "wait_time_seconds": 1}
    return settings


def test_it_is_started_three_times(everywhere: dict[str, Any]) -> None:
    app, heard = made(everywhere)
    for _ in range(3):
        with app:
            app.start()
            work(app, heard)
        with pytest.raises(Closed):
            app.queue.get_queue("q").add("plain")


def test_start_and_close_without_a_block(settings: dict[str, Any]) -> None:
    app, heard = made(settings)
    app.start()
    work(app, heard)
    for _ in range(2):
        app.close()
        app.start()
        work(app, heard)
    app.close()
    app.close()


def test_a_coroutine_does_so(settings: dict[str, Any]) -> None:
    app, _ = made(settings)

    async def main() -> list[Any]:
        results = []
        for number in range(3):
            async with app:
                await app.astart()
                job = await app.queue.get_queue("q").aio.add("coroutine", number)
                results.append(await job.aio.wait_until_finished(20))
        return results

    assert [asyncio.run(main()) for _ in range(2)] == [[0, 1, 2]] * 2


def test_the_lifespan_of_a_web_application(settings: dict[str, Any]) -> None:
    """As test clients of FastAPI and Starlette do it: each test has an event loop of its own, enters the lifespan and
    leaves it again. The web process takes no jobs; a worker beside it does."""
    app, _ = made(settings)
    worker, _ = made(settings)
    queue = app.queue.get_queue("q")

    async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        assert scope["type"] == "lifespan"
        assert (await receive())["type"] == "lifespan.startup"
        async with app:
            await send({"type": "lifespan.startup.complete"})
            assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})

    async def one_test(number: int) -> Any:
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        served = asyncio.ensure_future(asgi({"type": "lifespan"}, inbox.get, outbox.put))
        await inbox.put({"type": "lifespan.startup"})
        assert (await outbox.get())["type"] == "lifespan.startup.complete"
        job = await queue.aio.add("plain", number)
        result = await job.aio.wait_until_finished(20)
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await served
        return result, queue.worker

    with worker:
        worker.start()
        assert [asyncio.run(one_test(number)) for number in range(3)] == [(number, None) for number in range(3)]


def test_sandboxes_come_back(settings: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "handler.py"
    file.write_text("def process(job):\n    return job.data * 2\n")
    app = create_app(settings)
    queue = app.queue.create_queue("boxed")
    queue.process("double", str(file))
    for number in range(2):
        with app:
            app.start()
            assert queue.add("double", number).wait_until_finished(30) == number * 2


def test_a_handle_of_before_is_good_again(settings: dict[str, Any]) -> None:
    app, _ = made(settings)
    with app:
        job = app.queue.get_queue("q").add("plain", 1)
    with pytest.raises(Closed):
        job.wait_until_finished(1)
    with app:
        app.start()
        assert job.wait_until_finished(20) == 1


def test_queues_that_were_closed_by_hand_come_back_too(settings: dict[str, Any]) -> None:
    """As the documented hook does it."""
    app, heard = made(settings)
    app.hook("before_close", lambda: app.queue.close_all())
    for _ in range(2):
        with app:
            app.start()
            work(app, heard)


def test_one_that_failed_to_start_can_be_started_again(settings: dict[str, Any]) -> None:
    app, heard = made(settings)
    faults = [1]
    app.hook("before_start", lambda: 1 / 0 if faults.pop() else None)
    with pytest.raises(ZeroDivisionError), app:
        app.start()
    faults.append(0)
    with app:
        app.start()
        work(app, heard)


def test_while_it_is_being_closed_it_cannot_be_started() -> None:
    app = create_app({"driver": "memory"})
    refused: list[type[BaseException]] = []

    def start_again() -> None:
        try:
            app.start()
        except Closed as closed:
            refused.append(type(closed))

    app.hook("before_close", start_again)
    with app:
        app.start()
    assert refused == [Closed]
    app.start()
    app.close()


def test_run_may_be_called_again(settings: dict[str, Any]) -> None:
    app, _ = made(settings)
    queue = app.queue.get_queue("q")
    for number in range(2):
        ended: list[Any] = []

        def ask(number: int = number, ended: list[Any] = ended) -> None:
            until(lambda: queue.worker)
            ended.append(queue.add("plain", number).wait_until_finished(20))
            app.close()

        other = threading.Thread(target=ask)
        other.start()
        app.run()
        other.join()
        assert ended == [number]


def test_listeners_come_back_when_the_store_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening asks for the end of the log; one that cannot be read now is read later."""
    app, heard = made({"driver": "memory", "namespace": f"again{uuid.uuid4().hex[:8]}"})
    app.start()
    app.close()
    away = [True]
    tail = MemoryEventLog.tail

    def answer(log: MemoryEventLog, queue: str) -> str:
        if away:
            raise StoreUnavailable("memory://", "gone")
        return tail(log, queue)

    monkeypatch.setattr(MemoryEventLog, "tail", answer)
    with app:
        app.start()
        away.clear()
        queue = app.queue.get_queue("q")

        def is_heard() -> bool:
            mark = uuid.uuid4().hex
            queue.add("plain", mark)
            app.queue.emit("user.registered", f"user-{mark}")
            return any(str(one).startswith("user-") for one in heard) and any(len(str(one)) == 32 for one in heard)

        until(is_heard)


def test_what_was_handed_back_at_the_end_runs_after_the_next_start(settings: dict[str, Any]) -> None:
    app = create_app(settings)
    queue = app.queue.create_queue("q")
    begun = threading.Event()

    @queue.process
    async def work(job: Any) -> str:
        if not begun.is_set():
            begun.set()
            await asyncio.sleep(60)
        return "at last"

    app.start()
    job = queue.add("n")
    assert begun.wait(20)
    assert app.close(0) is False
    with app:
        app.start()
        assert job.wait_until_finished(20) == "at last"


def test_waits_that_the_end_interrupts(settings: dict[str, Any]) -> None:
    app, _ = made(settings)
    job = app.queue.get_queue("q").add("plain", 1)
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            job.wait_until_finished(20)
        except (Closed, JobFailed) as problem:
            raised.append(problem)

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: job._hub._waiters)  # type: ignore[attr-defined]
    app.close()
    waiter.join()
    assert [type(one) for one in raised] == [Closed]
    with app:
        app.start()
        assert job.wait_until_finished(20) == 1
