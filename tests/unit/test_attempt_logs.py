"""What the worker logs of attempts that fail, of jobs that are cancelled, and while it stops."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, Job, JobFailed, UnrecoverableError, create_app
from stratix_kombu.lifecycle import closing
from stratix_kombu.logs import TextFormatter
from tests.waiting import until

Log = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def _level(caplog: Log) -> None:
    caplog.set_level(logging.INFO, logger="stratix_kombu")


def said(caplog: Log, action: str) -> list[logging.LogRecord]:
    return [one for one in caplog.records if getattr(one, "action", "") == action]


def reason_of(job: Job) -> str:
    with pytest.raises(JobFailed) as failed:
        job.wait_until_finished(timeout=30)
    return failed.value.reason


async def fail_async(job: Job) -> None:
    raise ValueError(f"no such {job.data}")


def fail(job: Job) -> None:
    raise ValueError(f"no such {job.data}")


@pytest.mark.parametrize("handler", [fail, fail_async])
def test_each_attempt_and_the_last_one(app: Application, caplog: Log, handler: Any) -> None:
    queue = app.queue.get_queue("emails")
    queue.process("welcome", handler)
    job = queue.add("welcome", "thing", attempts=2, backoff={"type": "fixed", "delay": 7}, job_id="j1")
    assert reason_of(job) == "ValueError: no such thing"
    (first,), (last,) = said(caplog, "attempt_failed"), said(caplog, "job_failed")
    assert first.getMessage() == (
        "job j1 (welcome, queue emails): attempt 1 of 2 failed, next in 7 ms: ValueError: no such thing"
    )
    assert last.getMessage() == (
        "job j1 (welcome, queue emails) failed for good with attempt 2 of 2: ValueError: no such thing"
    )
    assert [first.levelname, last.levelname] == ["WARNING", "ERROR"]
    assert (first.exc_info, first.__dict__["retry_ms"]) == (None, 7)
    assert last.exc_info is not None
    assert last.exc_info[0] is ValueError
    assert TextFormatter().format(last).count("j1") == 1, "the message names the job"
    assert "in fail" in TextFormatter().format(last)
    names = ("job_id", "queue", "job_name", "attempt")
    assert [first.__dict__[name] for name in names] == ["j1", "emails", "welcome", 1]
    assert [last.__dict__[name] for name in names] == ["j1", "emails", "welcome", 2]


def test_all_ways_to_fail_are_logged_once(app: Application, caplog: Log, tmp_path: Path) -> None:
    file = tmp_path / "apart.py"
    file.write_text("def process(job): raise KeyError('apart')\n")
    queue = app.queue.create_queue("q", concurrency=4)
    queue.process("apart", str(file))
    gate = threading.Event()
    queue.process("slow", lambda job: gate.wait(30))

    @queue.process("slow async")
    async def slow(job: Job) -> None:
        await asyncio.sleep(60)

    @queue.process("final")
    def final(job: Job) -> None:
        raise UnrecoverableError("never")

    reasons = {
        "apart": "KeyError: 'apart'",
        "slow": "timed out after 20 ms",
        "slow async": "timed out after 20 ms",
        "final": "UnrecoverableError: never",
        "other": "no handler for 'other' on queue 'q'",
    }
    for name, reason in reasons.items():
        assert reason_of(
            queue.add(name, timeout=20 if "slow" in name else 0, attempts=1 + (name == "final"))
        ).startswith(reason)
    gate.set()
    until(lambda: not queue.get_jobs("active"))
    found = {one.__dict__["job_name"]: one for one in said(caplog, "job_failed")}
    assert len(said(caplog, "job_failed")) == len(reasons)
    assert said(caplog, "attempt_failed") == []
    assert {name: reasons[name] in one.getMessage() for name, one in found.items()} == dict.fromkeys(reasons, True)
    assert "apart.py" in TextFormatter().format(found["apart"]), "with the traceback of the child"


def test_more_attempts_than_allowed_by_a_retry(app: Application, caplog: Log) -> None:
    queue = app.queue.get_queue("q")
    queue.process(fail)
    job = queue.add("n")
    reason_of(job)
    job.retry()
    until(lambda: len(said(caplog, "job_failed")) == 2)
    assert "with attempt 2: ValueError" in said(caplog, "job_failed")[1].getMessage()


def test_a_cancelled_job_is_no_failure(app: Application, caplog: Log) -> None:
    queue, began = app.queue.create_queue("q", concurrency=2), threading.Semaphore(0)

    @queue.process("thread")
    def thread(job: Job) -> None:
        began.release()
        while True:
            job.check_cancelled()
            threading.Event().wait(0.01)

    @queue.process("loop")
    async def loop(job: Job) -> None:
        began.release()
        await asyncio.sleep(60)

    jobs = [queue.add(name, job_id=name) for name in ("thread", "loop")]
    assert all(began.acquire(timeout=30) for _ in range(2))
    for job in jobs:
        job.cancel("by user 7")
        assert reason_of(job) == "by user 7"
    assert sorted(one.getMessage() for one in said(caplog, "job_cancelled")) == [
        f"job {name} ({name}, queue q) was cancelled: its handler is notified" for name in ("loop", "thread")
    ]
    assert [one.levelname for one in said(caplog, "job_cancelled")] == ["INFO", "INFO"]
    assert said(caplog, "attempt_failed") + said(caplog, "job_failed") == []


def test_who_is_waited_for_and_what_is_handed_back(
    settings: dict[str, Any], caplog: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(closing, "TELL_S", 0.05)
    file = tmp_path / "apart.py"
    file.write_text("import time\ndef process(job):\n    job.update_progress(1)\n    time.sleep(60)\n")
    began, gate = threading.Semaphore(0), threading.Event()
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("videos", concurrency=3)

        @queue.process("loop")
        async def loop(job: Job) -> None:
            began.release()
            await asyncio.sleep(60)

        @queue.process("thread")
        def thread(job: Job) -> None:
            began.release()
            while not job.cancelled:
                gate.wait(0.01)
            job.check_cancelled()

        queue.process("apart", str(file))
        for name in ("loop", "thread"):
            queue.add(name, job_id=name)
        apart = queue.add("apart", job_id="apart")
        assert all(began.acquire(timeout=30) for _ in range(2))
        until(lambda: apart.refresh().progress == 1, 60)
        assert not app.close(timeout=0.3)
    (stopping,) = said(caplog, "stopping")
    assert stopping.getMessage() == "stopping, waiting for 3 jobs, up to 0.3 s"
    still = said(caplog, "still_stopping")[0].getMessage()
    assert still.startswith("still waiting for ")
    assert "job thread (thread, queue videos), for " in still
    (back,) = said(caplog, "handed_back")
    assert back.getMessage().startswith("handing back unfinished jobs, to be run by another worker: job ")
    assert (back.levelname, back.__dict__["jobs"]) == ("INFO", 3)
    assert said(caplog, "attempt_failed") + said(caplog, "job_failed") == [], "they have not failed"


def test_stopping_without_jobs(settings: dict[str, Any], caplog: Log) -> None:
    with create_app(settings) as app:
        app.start()
        app.queue.get_queue("q").process(fail)
    assert [one.getMessage() for one in said(caplog, "stopping")] == ["stopping, no job runs"]
    with create_app(settings) as app:
        app.start()
        app.queue.get_queue("q")
    assert len(said(caplog, "stopping")) == 1, "it took no jobs"


UVICORN = """
import logging.config, sys
from stratix_kombu import create_app, JobFailed

# As uvicorn does it: its own loggers have handlers, and the root logger has none.
logging.config.dictConfig({"version": 1, "disable_existing_loggers": False,
    "handlers": {"default": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}},
    "loggers": {"uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False}}})
if "basic" in sys.argv:
    logging.basicConfig(level=logging.WARNING, format="mine %(message)s")
app = create_app({"driver": "memory"})
queue = app.queue.get_queue("emails")

@queue.process("welcome")
def welcome(job):
    raise ValueError("no such thing")

with app:
    app.start()
    try:
        queue.add("welcome", attempts=2, job_id="j1").wait_until_finished(timeout=30)
    except JobFailed:
        pass
"""


@pytest.mark.parametrize("how", ["uvicorn", "basic"])
def test_failures_reach_stderr_once_whatever_the_program_has_set_up(how: str, tmp_path: Path) -> None:
    file = tmp_path / "web.py"
    file.write_text(UVICORN)
    done = subprocess.run([sys.executable, str(file), how], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if "job j1" in line]
    mine = "mine " if how == "basic" else ""
    assert lines == [
        f"{mine}job j1 (welcome, queue emails): attempt 1 of 2 failed, next in 0 ms: ValueError: no such thing",
        f"{mine}job j1 (welcome, queue emails) failed for good with attempt 2 of 2: ValueError: no such thing",
    ]
    assert done.stderr.count("Traceback") == 1
