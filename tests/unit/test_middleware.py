"""Functions around add, take and run: their order, what they see, and what becomes of their faults."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, Job, JobFailed, JobHead, RateLimited, Taking, create_app

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture
def app() -> Iterator[Application]:
    with create_app({"driver": "memory", "namespace": f"around{uuid.uuid4().hex[:8]}"}) as app:
        yield app


def run_one(app: Application, handler: Any, **options: Any) -> Job:
    queue = app.queue.create_queue("q")
    queue.process(handler)
    app.start()
    return queue.add("n", {"a": 1}, **options)


def test_the_first_is_the_outermost(app: Application) -> None:
    seen: list[str] = []

    @app.middleware("run")
    def outer(job: Job) -> Iterator[None]:
        seen.append(f"outer {job.name} {job.data}")
        try:
            yield
        finally:
            seen.append("outer ends")

    @app.middleware("run")
    async def inner(job: Job) -> AsyncIterator[None]:
        seen.append("inner")
        await asyncio.sleep(0)
        yield
        seen.append("inner ends")

    app.middleware("run", lambda job: nullcontext(seen.append("innermost")))
    assert run_one(app, lambda job: seen.append("handler") or 5).wait_until_finished(10) == 5
    assert seen == ["outer n {'a': 1}", "inner", "innermost", "handler", "inner ends", "outer ends"]


def test_around_async_handlers_both_kinds_share_the_context(app: Application) -> None:
    @app.middleware("run")
    def plain(job: Job) -> Iterator[None]:
        token = WHO.set("plain")
        yield
        WHO.reset(token)

    @app.middleware("run")
    async def awaited(job: Job) -> AsyncIterator[None]:
        loops.append(asyncio.get_running_loop())
        yield

    loops: list[Any] = []

    async def handler(job: Job) -> str:
        loops.append(asyncio.get_running_loop())
        return WHO.get()

    assert run_one(app, handler).wait_until_finished(10) == "plain"
    assert loops[0] is loops[1]


def test_it_sees_failures_and_may_change_them(app: Application) -> None:
    seen: list[type[BaseException]] = []

    @app.middleware("run")
    def watch(job: Job) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            seen.append(type(error))
            if job.attempts_made == 0:
                raise
            raise KeyError("changed") from error

    job = run_one(app, lambda job: 1 / 0, attempts=2)
    with pytest.raises(JobFailed, match="KeyError: 'changed'"):
        job.wait_until_finished(10)
    assert seen == [ZeroDivisionError, ZeroDivisionError]
    assert "watch" in job.refresh().stacktrace[0]


def test_the_traceback_of_a_failure_begins_in_the_handler(app: Application) -> None:
    app.middleware("run", lambda job: nullcontext())

    @app.middleware("run")
    async def awaited(job: Job) -> AsyncIterator[None]:
        yield

    def handler(job: Job) -> None:
        raise OSError("away")

    job = run_one(app, handler)
    with pytest.raises(JobFailed):
        job.wait_until_finished(10)
    frames = [line for line in job.refresh().stacktrace[0].splitlines() if line.startswith("  File")]
    assert len(frames) == 1
    assert "in handler" in frames[0]


def test_one_that_fails_fails_the_attempt(app: Application) -> None:
    ran: list[int] = []

    @app.middleware("run")
    def broken(job: Job) -> Iterator[None]:
        if job.attempts_made == 0:
            raise RuntimeError("not yet")
        yield

    job = run_one(app, lambda job: ran.append(job.attempts_made), attempts=2)
    job.wait_until_finished(10)
    assert ran == [1]


def test_what_is_swallowed_has_no_result(app: Application) -> None:
    @app.middleware("run")
    def swallow(job: Job) -> Iterator[None]:
        with suppress(ZeroDivisionError):
            yield

    assert run_one(app, lambda job: 1 / 0).wait_until_finished(10) is None


def test_rate_limited_goes_through(app: Application) -> None:
    app.middleware("run", lambda job: nullcontext())
    tries: list[int] = []

    def handler(job: Job) -> str:
        tries.append(job.attempts_made)
        if len(tries) == 1:
            raise RateLimited(1)
        return "sent"

    assert run_one(app, handler).wait_until_finished(10) == "sent"
    assert tries == [0, 0]


def test_headers_travel_beside_the_data(app: Application) -> None:
    batches: list[list[str]] = []

    @app.middleware("add")
    def label(jobs: list[JobHead]) -> Iterator[None]:
        for job in jobs:
            job.headers["who"] = WHO.get()
        yield

    @app.middleware("take")
    def count(taking: Taking) -> Iterator[None]:
        assert taking.want >= 1
        yield
        batches.append([job.headers["who"] for job in taking.jobs])

    queue = app.queue.create_queue("q", default_job_options={"backoff": 10, "attempts": 2})
    seen: list[Any] = []

    @queue.process
    def handler(job: Job) -> None:
        seen.append((job.headers, job.data, dict(job.opts)))
        if job.attempts_made == 0:
            raise OSError

    token = WHO.set("somebody")
    job = queue.add("n", {"a": 1})
    WHO.reset(token)
    assert job.headers == {"who": "somebody"}
    app.start()
    job.wait_until_finished(10)
    opts = {"attempts": 2, "priority": 0, "backoff": {"delay_ms": 10}}
    assert seen == [({"who": "somebody"}, {"a": 1}, opts)] * 2
    assert [one for one in batches if one] == [["somebody"], ["somebody"]]


def test_bulk_flows_and_coroutines_are_surrounded(app: Application) -> None:
    seen: list[tuple[str, list[str]]] = []

    @app.middleware("add")
    def note(jobs: list[JobHead]) -> Iterator[None]:
        seen.append((WHO.get(), [job.name for job in jobs]))
        yield

    queue = app.queue.create_queue("q")
    queue.add_bulk([{"name": "a"}, {"name": "b"}])
    app.queue.add_flow({"name": "root", "queue": "q", "children": [{"name": "leaf", "queue": "q"}]})

    async def adds(who: str) -> None:
        WHO.set(who)
        await queue.aio.add("c")

    async def together() -> None:
        await asyncio.gather(adds("x"), adds("y"))

    asyncio.run(together())
    assert seen[:2] == [("nobody", ["a", "b"]), ("nobody", ["leaf", "root"])]
    assert sorted(seen[2:]) == [("x", ["c"]), ("y", ["c"])]


def test_faults_around_add(app: Application) -> None:
    heard: list[BaseException] = []
    when = "before"

    @app.middleware("add")
    def broken(jobs: list[JobHead]) -> Iterator[None]:
        if when == "before":
            raise RuntimeError("before")
        yield
        raise RuntimeError("after")

    queue = app.queue.create_queue("q")
    queue.on("error", heard.append)
    with pytest.raises(RuntimeError, match="before"):
        queue.add("n")
    assert queue.get_job_counts()["waiting"] == 0
    when = "after"
    assert queue.add("n").get_state() == "waiting"
    assert [str(one) for one in heard] == ["after"]


def test_faults_around_take_lose_nothing(app: Application) -> None:
    when: list[str] = ["before", "after"]

    @app.middleware("take")
    def broken(taking: Taking) -> Iterator[None]:
        if "before" in when:
            when.remove("before")
            raise RuntimeError("before")
        yield
        raise RuntimeError("after")

    job = run_one(app, lambda job: 5)
    assert job.wait_until_finished(10) == 5


def test_a_swallowed_fault_of_the_store_is_raised(app: Application) -> None:
    @app.middleware("add")
    @contextmanager
    def swallow(jobs: list[JobHead]) -> Iterator[None]:
        with suppress(Exception):
            yield

    from stratix_kombu import DependencyNotFound

    with pytest.raises(DependencyNotFound):
        app.queue.create_queue("q").add("n", dependencies=["unknown"])


@pytest.mark.parametrize(
    ("step", "function", "words"),
    [
        ("runs", print, "did you mean 'run'"),
        ("run", 5, "must return a context manager"),
        ("run", lambda: None, "does not take"),
        ("sandbox", lambda job: None, "another process can import"),
    ],
)
def test_what_is_refused(app: Application, step: Any, function: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        app.middleware(step, function)


def test_headers_have_a_bound(app: Application) -> None:
    too_much: Any = "x" * 10_000

    @app.middleware("add")
    def label(jobs: list[JobHead]) -> Iterator[None]:
        jobs[0].headers["h"] = too_much
        yield

    with pytest.raises(ConfigurationError, match="more than 8192"):
        app.queue.get_queue("q").add("n")
    too_much = 5
    with pytest.raises(ConfigurationError, match="must be texts"):
        app.queue.get_queue("q").add("n")
