"""Which processes run jobs: those that ask to, and no others."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import WaitTimeout, create_app
from stratix_kombu.queue import events as queue_events
from tests.waiting import until


def test_opening_an_application_runs_nothing(settings: dict[str, Any]) -> None:
    """Not its handlers, its clock, its schedules, or the hooks of a start."""
    called: list[str] = []
    with create_app(settings) as app:
        queue = app.queue.get_queue("thumbnails")
        queue.process(lambda job: called.append("handler"))
        app.schedule.cron("* * * * * *", lambda: called.append("schedule"))
        for hook in ("before_start", "after_start"):
            app.hook(hook, lambda hook=hook: called.append(hook))
        waiting, delayed = queue.add("make"), queue.add("make", delay=1)
        with pytest.raises(WaitTimeout, match=r"runs no jobs; app\.start"):
            waiting.wait_until_finished(0.05)
        assert queue.worker is None
        assert app.queue.clock is None
        assert (queue.get_workers(), waiting.get_state(), delayed.get_state()) == ([], "waiting", "delayed")
        assert called == []
        app.start()
        for job in (waiting, delayed):
            job.wait_until_finished(10)
        until(lambda: {"before_start", "after_start", "handler", "schedule"} <= set(called))


def test_so_does_a_coroutine(settings: dict[str, Any]) -> None:
    async def main() -> tuple[str, Any]:
        async with create_app(settings) as app:
            queue = app.queue.get_queue("thumbnails")
            queue.process(lambda job: "made")
            job = await queue.aio.add("make")
            with pytest.raises(WaitTimeout, match=r"runs no jobs; app\.start"):
                await job.aio.wait_until_finished(0.05)
            before = await job.aio.get_state()
            await app.astart()
            result = await job.aio.wait_until_finished(10)
            assert await app.aclose()
            return before, result

    assert asyncio.run(main()) == ("waiting", "made")


def test_a_web_process_beside_a_worker_runs_nothing_and_gets_no_hint(settings: dict[str, Any]) -> None:
    ran: list[str] = []
    with create_app(settings) as worker, create_app(settings) as web:
        for app, name in ((worker, "worker"), (web, "web")):
            app.queue.get_queue("q").process(lambda job, name=name: ran.append(name))
        worker.start()
        until(lambda: web.queue.get_queue("q").get_workers())
        for _ in range(20):
            web.queue.get_queue("q").add("n").wait_until_finished(10)
        assert ran == ["worker"] * 20
        worker.queue.get_queue("q").pause()
        with pytest.raises(WaitTimeout) as late:
            web.queue.get_queue("q").add("n").wait_until_finished(0.05)
        assert "runs no jobs" not in str(late.value)


def test_whoever_waits_for_ever_is_warned(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_events, "RECHECK_S", 0.05)
    with create_app(settings) as app, caplog.at_level(logging.WARNING, "stratix_kombu"):
        queue = app.queue.get_queue("q")
        queue.process(lambda job: "done")
        job = queue.add("n")
        hub = job._hub
        hub.subscribe(job.id, lambda outcome: None)
        until(lambda: "runs no jobs; app.start()" in caplog.text)
        app.start()
        assert job.wait_until_finished(10) == "done"
    assert caplog.text.count("runs no jobs") == 1


def test_a_program_that_imports_the_handlers_and_one_that_runs_them(redis_url: str, tmp_path: Path) -> None:
    """The shared module, the producer, and the worker are as the README has them."""
    (tmp_path / "jobs.py").write_text(
        textwrap.dedent(f"""
        import os
        from stratix_kombu import create_app
        app = create_app({{"driver": "redis", "redis": {{"url": "{redis_url}"}}, "namespace": "{tmp_path.name}"}})
        thumbnails = app.queue.create_queue("thumbnails")
        thumbnails.process("make", lambda job: os.getpid())
    """)
    )
    producer = "import os, jobs\nwith jobs.app:\n    job = jobs.thumbnails.add('make')\n    print(os.getpid(), job.id)"
    code = "import time, jobs\njobs.app.hook('after_start', lambda: print('started', flush=True))\njobs.app.run()"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    added = subprocess.run(
        [sys.executable, "-c", producer], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    pid, job_id = added.stdout.split()
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": tmp_path.name}
    with (
        create_app(settings) as app,
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as worker,
    ):
        try:
            job = app.queue.get_queue("thumbnails").get_job(job_id)
            assert job is not None
            ran_by = job.wait_until_finished(90)
        finally:
            worker.terminate()
        assert ran_by == worker.pid != int(pid)
