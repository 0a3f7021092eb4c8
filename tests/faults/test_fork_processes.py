"""Processes that a program makes: by multiprocessing, in a handler, in a coroutine, as a daemon. Each goes on by
itself, and its parent notices nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from stratix_kombu import Application, Job, create_app
from stratix_kombu.testing.forking import Child
from tests.faults import multiprocess

ROUNDS = 100


@pytest.fixture
def settings(redis_url: str) -> dict[str, Any]:
    return {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"procs{uuid.uuid4().hex[:8]}"}


@pytest.fixture
def app(settings: dict[str, Any]) -> Iterator[Application]:
    app = create_app(settings)
    multiprocess.here[:] = [app]
    yield app
    multiprocess.here.clear()
    app.close()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(app: Application, settings: dict[str, Any], method: str) -> None:
    queue = app.queue.get_queue("mail")
    queue.add("x", "before")
    context: Any = multiprocessing.get_context(method)
    answers = context.Queue()
    names = [f"{method}{number}" for number in range(2)]
    processes = [context.Process(target=multiprocess.write, args=(settings, name, ROUNDS, answers)) for name in names]
    for process in processes:
        process.start()
    assert multiprocess.wrong_answers(settings, "parent", ROUNDS) == 0
    assert [answers.get(timeout=60) for _ in processes] == [0, 0]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert queue.get_job_counts()["waiting"] == 3 * ROUNDS + 1


def test_an_application_is_not_pickled(app: Application) -> None:
    queue = app.queue.get_queue("mail")
    for one in (app, app.queue, queue, queue.add("x"), queue.aio, queue.add("x").aio):
        with pytest.raises(TypeError, match="an application, its queues and its jobs belong to one process"):
            pickle.dumps(one)


def test_executors_in_handlers(app: Application, settings: dict[str, Any]) -> None:
    """Each handler has a pool of forked processes, while other handlers run."""
    queue = app.queue.create_queue("work", concurrency=3)

    @queue.process("split")
    def split(job: Job) -> list[int]:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(2, mp_context=context) as pool:
            parts = [pool.submit(multiprocess.wrong_answers, settings, f"{job.id}-{n}", 40) for n in range(2)]
            return [job.attempts_made, *(part.result(60) for part in parts)]

    app.start()
    jobs = [queue.add("split") for _ in range(4)]
    assert [job.wait_until_finished(60) for job in jobs] == [[0, 0, 0]] * 4
    assert app.queue.get_queue("mail").get_job_counts()["waiting"] == 4 * 2 * 40
    assert len(queue.get_workers()) == 1


@pytest.mark.parametrize("how", ["def", "async def"])
def test_a_handler_that_forks_and_returns_twice(app: Application, how: str) -> None:
    """What the child returns is its own exit code, and not the outcome of the job."""
    queue = app.queue.get_queue("work")

    def fork(job: Job) -> list[Any]:
        pid = os.fork()
        if pid == 0:
            if job.data:
                raise ValueError("of the child")
            return ["the child"]
        return ["the parent", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]

    async def fork_async(job: Job) -> list[Any]:
        return fork(job)

    queue.process("fork", fork if how == "def" else fork_async)
    app.start()
    for fails in (False, True, False):
        assert queue.add("fork", fails).wait_until_finished(30) == ["the parent", int(fails)]
    counts = queue.get_job_counts()
    assert (counts["completed"], counts["failed"], counts["active"]) == (3, 0, 0)


def test_a_coroutine_that_forks(app: Application) -> None:
    queue = app.queue.get_queue("work")
    queue.process("double", lambda job: job.data * 2)
    app.start()

    async def use(numbers: range) -> list[int]:
        return [await (await queue.aio.add("double", one)).aio.wait_until_finished(30) for one in numbers]

    async def main() -> tuple[list[int], Any]:
        await use(range(2))
        child = Child(lambda: asyncio.run(use(range(20))))
        return await use(range(20)), child.answer()

    own, childs = asyncio.run(main())
    assert own == childs == [2 * number for number in range(20)]


def test_a_daemon_begins_with_nothing_of_its_parent(settings: dict[str, Any], app: Application) -> None:
    """The application was started before, and its parent closes it and ends."""
    queue = app.queue.get_queue("work")
    queue.process("pid", lambda job: os.getpid())
    app.start()
    parent = queue.add("pid").wait_until_finished(30)
    go, begin = os.pipe()

    def daemon() -> Any:
        os.close(begin)
        os.read(go, 1)  # until the parent has closed
        taken = [queue.worker is not None, app.queue.clock is not None]
        app.start()
        return [taken, os.getpid(), *(queue.add("pid").wait_until_finished(30) for _ in range(5))]

    child = Child(daemon)
    os.close(go)
    app.close()
    os.close(begin)
    taken, pid, *pids = child.answer()
    assert taken == [False, False]
    assert set(pids) == {pid} != {parent}


def test_a_lock_is_the_parents(app: Application) -> None:
    locks = app.distributed_lock
    lock = locks.acquire("job", ttl=60_000)
    assert lock is not None

    def child() -> Any:
        return [locks.release("job"), lock.release(), lock.extend(1_000), locks.acquire("job", ttl=1_000) is None]

    assert Child(child).answer() == [False, False, False, True]
    assert lock.release()
