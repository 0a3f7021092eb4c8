"""Middleware around sandboxed handlers: in the worker's process, and in the child."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from stratix_kombu import Job, JobFailed, create_app
from tests.sandbox import around

WAIT_S = 60


def test_in_the_worker_and_in_the_child() -> None:
    seen: list[str] = []
    with create_app({"driver": "memory", "namespace": f"box{uuid.uuid4().hex[:8]}"}) as app:

        @app.middleware("run")
        def in_worker(job: Job) -> Iterator[None]:
            job.headers["who"] = f"parent {os.getpid()}"
            try:
                yield
            except Exception as error:
                seen.append(f"{type(error).__name__}: {error}")
                raise
            seen.append("done")

        app.middleware("sandbox", around.plain)
        app.middleware("sandbox", around.awaited)
        queue = app.queue.create_queue("q", processor={"sandboxed": True, "max_sandboxes": 1})
        for name in ("handler", "async_handler", "failing"):
            queue.process(name, getattr(around, name))
        app.start()

        def run(name: str) -> Any:
            return queue.add(name).wait_until_finished(WAIT_S)

        entered, left = [f"in parent {os.getpid()}", "awaited in"], ["awaited out", "out"]
        child, *said = run("handler")
        assert child != os.getpid()
        assert said == entered
        assert run("async_handler") == [child, *entered, *left, *entered]
        failed = queue.add("failing")
        with pytest.raises(JobFailed, match="OSError: away"):
            failed.wait_until_finished(WAIT_S)
        trace = failed.refresh().stacktrace[0]
        assert next(line for line in trace.splitlines() if line.startswith("  File")).endswith("in failing")
    assert seen == ["done", "done", "SandboxFailure: OSError: away"]
