"""Handlers that raise or return anything: the attempt fails with a clear reason, the worker lives on."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Application, Job, JobFailed, Queue, UnrecoverableError, create_app


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("cannot be pickled")
        self.lock = asyncio.Lock()
        self.function = lambda: None


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Own(BaseException):
    pass


@pytest.fixture
def queue() -> Iterator[Queue]:
    app: Application = create_app({"driver": "memory", "namespace": f"handlers{uuid.uuid4().hex[:8]}"})
    with app:
        app.start()
        yield app.queue.create_queue("q", concurrency=2)


def _raises(error: BaseException) -> Any:
    def handler(job: Job) -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad value"), "ValueError: bad value"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (Own("own"), "Own: own"),
        (Unpicklable(), "Unpicklable: cannot be pickled"),
        (Unreadable(), "Unreadable: (its message cannot be read)"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
)
@pytest.mark.parametrize("flavour", ["thread", "loop"])
def test_whatever_is_raised_fails_the_job(queue: Queue, error: BaseException, reason: str, flavour: str) -> None:
    plain = _raises(error)

    async def on_loop(job: Job) -> None:
        plain(job)

    queue.process("bad", on_loop if flavour == "loop" else plain)
    queue.process("good", lambda job: "fine")
    with pytest.raises(JobFailed) as failed:
        queue.add("bad").wait_until_finished(timeout=10)
    assert failed.value.reason == reason
    assert queue.add("good").wait_until_finished(timeout=10) == "fine"


@pytest.mark.parametrize(
    "value", [object(), {1: "one"}, float("nan"), {"a": {2}}, b"bytes", [object()], "x" * 2_000_000]
)
def test_a_result_that_cannot_be_stored_fails_the_job(queue: Queue, value: object) -> None:
    queue.process(lambda job: value)
    job = queue.add("n", attempts=3)
    with pytest.raises(JobFailed, match="the result of job 'n' in queue 'q'"):
        job.wait_until_finished(timeout=10)
    assert job.refresh().attempts_made == 1, "another attempt would return the same"


def test_sys_exit_in_a_handler_does_not_end_the_process(queue: Queue) -> None:
    queue.process(lambda job: sys.exit("leaving"))
    with pytest.raises(JobFailed, match="SystemExit: leaving"):
        queue.add("n").wait_until_finished(timeout=10)


def test_unrecoverable_errors_use_no_more_attempts(queue: Queue) -> None:
    queue.process(_raises(UnrecoverableError("stolen card")))
    job = queue.add("n", attempts=5)
    with pytest.raises(JobFailed, match="stolen card"):
        job.wait_until_finished(timeout=10)
    assert job.refresh().attempts_made == 1


def test_a_job_without_a_handler_fails_and_says_so(queue: Queue) -> None:
    queue.process("known", lambda job: None)
    with pytest.raises(JobFailed, match=r"no handler for 'unknown' on queue 'q'.*known"):
        queue.add("unknown").wait_until_finished(timeout=10)


def test_attempts_are_made_until_one_succeeds(queue: Queue) -> None:
    tries: list[int] = []

    def flaky(job: Job) -> int:
        tries.append(job.attempts_made)
        if len(tries) < 3:
            raise OSError("not yet")
        return len(tries)

    queue.process(flaky)
    job = queue.add("n", attempts=5, backoff={"type": "exponential", "delay": 5, "jitter": 0.5})
    assert job.wait_until_finished(timeout=10) == 3
    assert tries == [0, 1, 2]
    job.refresh()
    assert (job.attempts_made, job.failed_reason) == (3, None)


def test_the_stack_trace_starts_in_the_handler(queue: Queue) -> None:
    def handler(job: Job) -> None:
        raise ValueError("here")

    queue.process(handler)
    job = queue.add("n")
    with pytest.raises(JobFailed):
        job.wait_until_finished(timeout=10)
    (trace,) = job.refresh().stacktrace
    assert "in handler" in trace
    assert "attempt.py" not in trace


def test_hundreds_of_coroutines_run_at_once() -> None:
    app = create_app({"driver": "memory", "namespace": f"many{uuid.uuid4().hex[:8]}"})
    running = 0
    all_run = asyncio.Event()

    async def handler(job: Job) -> None:
        nonlocal running
        running += 1
        if running == 300:
            all_run.set()
        await asyncio.wait_for(all_run.wait(), 20)

    with app:
        app.start()
        queue = app.queue.create_queue("many", concurrency=300)
        queue.process(handler)
        jobs = queue.add_bulk([{"name": "n"} for _ in range(300)])
        for job in jobs:
            job.wait_until_finished(timeout=30)
    assert running == 300
