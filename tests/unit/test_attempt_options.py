"""Back-offs that a worker does not know, the processor's time-out on threads and loops, how many run at a time, and
handlers that are files."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, ConfigurationError, create_app
from stratix_kombu.worker import attempt
from tests.waiting import until


def soon(attempts_made: int) -> int:
    return 1


def broken(attempts_made: int) -> int:
    raise ZeroDivisionError


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "back-off" in one.getMessage()]


def test_a_back_off_that_others_do_not_know_is_said_when_it_is_given(
    app: Application, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    queue = app.queue.create_queue("q")
    for _ in range(2):
        queue.add("n", attempts=2, backoff={"custom": soon})
        queue.add("n", attempts=2, backoff={"custom": "named"})
    if settings["driver"] == "memory":
        assert warnings(caplog) == []
    else:
        (said,) = warnings(caplog)
        assert said.startswith("queue q: the custom back-off 'tests.unit.test_attempt_options:soon' is known to this")
        assert "create_queue('q', backoffs=[function])" in said
    queue.process(print)
    caplog.clear()
    queue.add_bulk([{"name": "n", "opts": {"attempts": 2, "backoff": {"custom": "named"}}}] * 2)
    (said,) = warnings(caplog)
    assert "'named' is not known to this queue: its worker waits one second instead" in said


def test_a_declared_back_off_is_known(app: Application, caplog: pytest.LogCaptureFixture) -> None:
    declared = app.queue.create_queue("declared", backoffs=[soon])
    default = app.queue.create_queue("default", {"defaultJobOptions": {"attempts": 3, "backoff": {"custom": soon}}})
    for queue in (declared, default):
        queue.process(lambda job: 1 / 0)
    app.start()
    jobs = [declared.add("n", attempts=3, backoff={"custom": soon}), default.add("n")]
    for job in jobs:
        until(lambda job=job: job.refresh().state == "failed")  # type: ignore[misc]
        assert (job.attempts_made, job.get_logs()) == (3, [])
    assert warnings(caplog) == []


async def fail(job: Any) -> None:
    raise ValueError


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lost", "LookupError: the queue of this worker does not have it (registered: 'broken'): call create_queue("),
        ("broken", "ZeroDivisionError"),
    ],
)
def test_a_back_off_that_cannot_be_used_is_in_the_log_of_the_job(
    name: str,
    words: str,
    kind: str,
    app: Application,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempt, "FALLBACK_DELAY_MS", 5)
    queue = app.queue.create_queue("q", backoffs={"broken": broken})
    job = queue.add("n", attempts=2, backoff={"custom": name})
    queue.process(fail if kind == "async" else lambda job: 1 / 0)
    app.start()
    until(lambda: job.refresh().state == "failed")
    (line,) = job.get_logs()
    assert line.startswith(f"custom back-off '{name}' cannot be used, waiting 5 ms: {words}")
    assert any(line in one for one in warnings(caplog))


async def hang(job: Any) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_the_processors_time_out_needs_no_sandbox(kind: str, app: Application) -> None:
    ended = threading.Event()
    queue = app.queue.create_queue("q", {"processor": {"timeout": 50}})
    queue.process(hang if kind == "loop" else lambda job: ended.wait(20))
    app.start()
    job, shorter = queue.add("n"), queue.add("n", timeout=20)
    until(lambda: job.refresh().state == "failed")
    assert job.failed_reason == "timed out after 50 ms"
    ended.set()
    until(lambda: shorter.refresh().state in ("failed", "completed"))
    if kind == "loop":
        assert shorter.failed_reason == "timed out after 20 ms"


@pytest.mark.parametrize(
    ("job_ms", "processor_ms", "seconds"), [(0, 50, 0.05), (20, 50, 0.02), (70, 0, 0.07), (0, 0, None)]
)
def test_every_host_gives_an_attempt_the_shorter_time(job_ms: int, processor_ms: int, seconds: float | None) -> None:
    """Celery workers ask for it, too."""
    app = create_app({"driver": "memory"})
    queue = app.queue.create_queue("q", {"processor": {"timeout": processor_ms} if processor_ms else {}})
    job = queue.add("n", None, {"timeout": job_ms} if job_ms else {})
    (claim,) = app.queue.store.transitions.claim("q", [job.id], "a host", 10_000).claims
    assert queue.attempts(1).of(claim).timeout_s == seconds
    app.close(0)


def test_a_default_of_all_queues_bounds_attempts_too() -> None:
    app = create_app({"driver": "memory", "processor": {"timeout": 30}})
    queue = app.queue.get_queue("q")
    queue.process(hang)
    with app:
        app.start()
        job = queue.add("n")
        until(lambda: job.refresh().failed_reason == "timed out after 30 ms")


def test_a_queue_of_sandboxes_runs_as_many_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    app = create_app({"driver": "memory"})
    sizes = {
        "sandboxed": {"processor": {"sandboxed": True, "maxSandboxes": 4}},
        "said": {"concurrency": 2, "processor": {"sandboxed": True, "maxSandboxes": 4}},
        "plain": {"processor": {"maxSandboxes": 4}},
        "no bound": {"processor": {"sandboxed": True}},
    }
    queues = [app.queue.create_queue(name.replace(" ", "-"), options) for name, options in sizes.items()]
    assert [one.concurrency for one in queues] == [4, 2, 1, 1]
    assert caplog.records == []
    app.queue.create_queue("memory", {"processor": {"maxMemoryUsage": 100}}).process(print)
    (said,) = (one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    assert said.startswith("queue memory: 'max_memory_usage' applies to sandboxed handlers only")
    app.close()


def test_four_sandboxes_run_at_a_time(tmp_path: Path) -> None:
    handler = tmp_path / "meet.py"
    handler.write_text(
        "import pathlib, time\n"
        "def process(job):\n"
        "    here = pathlib.Path(job.data)\n"
        "    here.joinpath(job.id).touch()\n"
        "    deadline = time.monotonic() + 20\n"
        "    while len(list(here.glob('*-*'))) < 4 and time.monotonic() < deadline:\n"
        "        time.sleep(0.01)\n"
        "    return len(list(here.glob('*-*')))\n"
    )
    app = create_app({"driver": "memory"})
    queue = app.queue.create_queue("images", {"processor": {"sandboxed": True, "maxSandboxes": 4}})
    path: Any = queue.process(str(handler))
    assert path == str(handler)  # of all names, for it is no name
    with app:
        app.start()
        jobs = [queue.add(f"n{number}", str(tmp_path)) for number in range(4)]
        assert [job.wait_until_finished(timeout=60) for job in jobs] == [4] * 4


def test_a_path_alone_is_the_handler_of_all_names(tmp_path: Path) -> None:
    app = create_app({"driver": "memory"})
    queue = app.queue.create_queue("q")
    for name, words in ((tmp_path / "none.py", "cannot be read"), (Path("my-processor.js"), "cannot be read")):
        with pytest.raises(ConfigurationError, match=words):
            queue.process(str(name))
    script = tmp_path / "script.js"
    script.write_text("module.exports = async (job) => 1;\n")
    with pytest.raises(ConfigurationError, match="is not Python"):
        queue.process("n", script)
    handler = tmp_path / "own.PY"
    handler.write_text("def process(job): return 1\n")
    path: Any = queue.process(str(handler))
    assert path == str(handler)
    assert queue.handler_names == ["*"]
    queue.process(str(handler))

    @queue.process("report.pdf")
    def report(job: Any) -> None: ...

    assert queue.handler_names == ["report.pdf", "*"]
    app.close()
