"""Sandboxed handlers: whatever becomes of the child, the attempt fails with a reason, and the next one runs."""

from __future__ import annotations

import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stratix_kombu import Application, Job, JobFailed, Queue, create_app
from stratix_kombu.lifecycle.outcomes import complete
from stratix_kombu.logs import JobContext
from stratix_kombu.model.record import Completion
from stratix_kombu.worker.sandbox import supervision
from stratix_kombu.worker.sandbox.job import SandboxJob
from tests.faults.worker_processes import ROOT
from tests.processes import lives, zombies
from tests.sandbox import handlers
from tests.waiting import until

WAIT_S = 60
MEMORY_MB = 150


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    settings = {"driver": "memory", "namespace": f"box{uuid.uuid4().hex[:8]}", "shutdown_timeout": 5}
    with create_app(settings) as app:
        app.start()
        yield app


@pytest.fixture(scope="module")
def queue(app: Application) -> Queue:
    """One warm child, and every handler by the name of its function."""
    options = {"sandboxed": True, "maxSandboxes": 1, "maxMemoryUsage": MEMORY_MB}
    queue = app.queue.create_queue("q", concurrency=3, processor=options)
    for name, handler in vars(handlers).items():
        if inspect.isfunction(handler) and list(inspect.signature(handler).parameters) == ["job"]:
            queue.process(name, handler)
    return queue


def run(queue: Queue, name: str, data: Any = None, **options: Any) -> Any:
    return queue.add(name, data, **options).wait_until_finished(timeout=WAIT_S)


def reason_of(queue: Queue, name: str, data: Any = None, **options: Any) -> str:
    with pytest.raises(JobFailed) as failed:
        run(queue, name, data, **options)
    return failed.value.reason


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("leave", {"attempts": 2}, "the sandbox exited with code 3 in the middle of the job"),
        ("kill_itself", {}, "the sandbox was killed (SIGKILL): by the system because memory ran out, or by hand"),
        ("segfault", {}, "the sandbox crashed (SIGSEGV)"),
        ("loop", {"timeout": 200}, "timed out after 200 ms; its sandbox was killed"),
        ("hold_the_interpreter", {"timeout": 200}, "timed out after 200 ms; its sandbox was killed"),
        ("hoard", {}, f"MB of memory, more than max_memory_usage ({MEMORY_MB} MB); its sandbox was killed"),
        ("hoard_elsewhere", {}, f"MB of memory, more than max_memory_usage ({MEMORY_MB} MB); its sandbox was killed"),
        ("hoard_apart", {}, f"MB of memory, more than max_memory_usage ({MEMORY_MB} MB); its sandbox was killed"),
    ],
)
def test_what_ends_a_child_fails_the_attempt(
    queue: Queue, tmp_path: Path, name: str, options: dict[str, Any], reason: str
) -> None:
    before = run(queue, "pid")
    job = queue.add(name, str(tmp_path / "notes"), **options)
    with pytest.raises(JobFailed) as failed:
        job.wait_until_finished(timeout=WAIT_S)
    assert failed.value.reason.endswith(reason)
    assert job.refresh().attempts_made == options.get("attempts", 1)
    assert ("in segfault" in "".join(job.stacktrace)) == (name == "segfault"), "a crash leaves a stack trace too"
    assert not lives(before)
    assert zombies() == []
    after = run(queue, "fine", 1)
    assert after["data"] == 1
    assert after["pid"] != before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("leave_politely", "SystemExit: leaving"),
        ("hoard_at_once", f"MemoryError (max_memory_usage is {MEMORY_MB} MB)"),
        ("return_much", "PayloadTooLarge: the result of job 'return_much' in queue 'q' has 2000002 bytes"),
        ("return_object", "PayloadNotSerializable: the result of job 'return_object' in queue 'q' is not a JSON value"),
        ("raise_unpicklable", "Unpicklable: cannot be pickled"),
        ("raise_on_the_loop", "ValueError: on the loop"),
        ("give_up", "UnrecoverableError: card was stolen"),
    ],
)
def test_what_a_handler_raises_or_returns_leaves_the_child_warm(queue: Queue, name: str, reason: str) -> None:
    before = run(queue, "pid")
    assert reason_of(queue, name).startswith(reason)
    assert run(queue, "pid") == before


def test_the_stack_trace_begins_in_the_handler(queue: Queue) -> None:
    for name in ("raise_unpicklable", "raise_on_the_loop"):
        job = queue.add(name)
        with pytest.raises(JobFailed):
            job.wait_until_finished(timeout=WAIT_S)
        (trace,) = job.refresh().stacktrace
        assert f"in {name}" in trace
        assert "child.py" not in trace


def test_errors_that_mean_something(queue: Queue, tmp_path: Path) -> None:
    job = queue.add("give_up", attempts=5)
    with pytest.raises(JobFailed):
        job.wait_until_finished(timeout=WAIT_S)
    assert job.refresh().attempts_made == 1
    assert run(queue, "hold_the_queue", str(tmp_path / "held")) == 0, "a job that was held has made no attempt"


def test_the_job_from_inside(queue: Queue) -> None:
    heard: list[Any] = []
    queue.on("progress", lambda job, value: heard.append(value))
    first = queue.add("fine", {"n": 1})
    result = run(queue, "use_the_job", {"old": True}, dependencies=[first], attempts=2, job_id="inside")
    assert result.pop("results") == {first.id: first.refresh().return_value}
    assert result == {
        "name": "use_the_job",
        "id": "inside",
        "attempts": 2,
        "made": 0,
        "queue": "q",
        "logs": ["one", "two"],
        "state": "active",
        "at once": {"step": 1},
        "data": {"new": True},
        "progress": {"step": 1},
        "cancelled": False,
        "dependencies": [[first.id, "completed", first.return_value]],
        "states": {first.id: "completed"},
        "dependents": [],
        "tries": [[1, "active", None]],
        "errors": ["InvalidJobState retry", "PayloadNotSerializable ", "JobAlreadyStarted"],
    }
    until(lambda: heard == [{"step": 1}], WAIT_S)
    assert queue.off("progress") == 1


def test_an_async_handler(queue: Queue) -> None:
    job = queue.add("fine_async", [1])
    assert job.wait_until_finished(timeout=WAIT_S) == {"pid": run(queue, "pid"), "data": [1]}
    assert job.refresh().progress == 50


def test_a_process_that_a_handler_forks_does_not_answer_for_it(queue: Queue) -> None:
    said, status = run(queue, "fork")
    assert said.startswith("in a process that its handler has forked, the job ")
    assert status == 0
    assert run(queue, "fine", 1)["data"] == 1


def test_a_job_in_a_child_has_what_a_job_has() -> None:
    """Except that it cannot wait for itself."""
    names = {name for name in dir(Job) if not name.startswith("_")} - {"wait_until_finished"}
    job = SandboxJob(dict.fromkeys(names), lambda *call: None, lambda: False)
    assert [name for name in names if not hasattr(job, name)] == []
    with pytest.raises(AttributeError, match="'nonsense'"):
        job.nonsense  # noqa: B018


def test_what_a_handler_prints_is_logged(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "stratix_kombu.sandbox"):
        job = queue.add("print_lines")
        assert job.wait_until_finished(timeout=WAIT_S) is None
        run(queue, "pid")
    lines = [(one.levelname, one.__dict__["job_id"], one.getMessage()) for one in caplog.records]
    assert ("INFO", job.id, f"job {job.id}: to stdout") in lines
    assert ("WARNING", job.id, f"job {job.id}: to stderr") in lines
    assert ("INFO", job.id, f"job {job.id}: no newline") in lines
    assert any("raw \ufffdxxx" in text for _, _, text in lines)


def test_a_handler_that_holds_the_interpreter_keeps_its_lease(redis_url: str) -> None:
    """For three leases, while the clock of another process looks for expired leases."""
    settings = {"driver": "redis", "redis": {"url": redis_url}, "namespace": f"box{uuid.uuid4().hex[:8]}"}
    watch = {"lease_duration": 1_000, "stalled_check_interval": 50}
    command = [sys.executable, "-m", "tests.faults.clock_process", json.dumps({**settings, "worker": watch})]
    clock = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert clock.stdout is not None
        assert clock.stdout.readline() == "ready\n"
        with create_app({**settings, "worker": {**watch, "clock": False}}) as app:
            app.start()
            queue = app.queue.create_queue("q", processor={"sandboxed": True})
            queue.process(handlers.hold_the_interpreter_for)
            job = queue.add("n", 3_000_000)
            assert job.wait_until_finished(timeout=WAIT_S) == "done"
            assert job.refresh().attempts_started == 1
    finally:
        clock.kill()
        clock.communicate()


def test_what_a_handler_logs_is_logged_by_its_worker(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), caplog.filtering(JobContext()):
        job = queue.add("write_log", "cat.png")
        assert job.wait_until_finished(timeout=WAIT_S) is None
    lines = [one for one in caplog.records if one.name == "shop.images"]
    assert [(one.levelname, one.getMessage().partition("\n")[0]) for one in lines] == [
        ("INFO", "resizing cat.png"),
        ("ERROR", "cannot"),
    ]
    assert "ValueError: too small" in lines[1].getMessage()
    assert {(one.__dict__["job_id"], one.__dict__["queue"]) for one in lines} == {(job.id, queue.name)}


def test_a_child_hears_of_a_cancel_first(queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "CANCEL_S", WAIT_S)
    for name, reason in (("until_cancelled", "by user 7"), ("until_cancelled_async", "by user 8")):
        notes = tmp_path / name
        before = run(queue, "pid")
        job = queue.add(name, str(notes), attempts=3)
        until(notes.exists, WAIT_S)
        job.cancel(reason)
        with pytest.raises(JobFailed, match=reason):
            job.wait_until_finished(timeout=WAIT_S)
        assert job.was_cancelled
        assert job.refresh().attempts_made == 1
        assert run(queue, "pid") == before
    assert "cancelled" in notes.read_text()


def test_cancel_kills_who_does_not_hear_and_all_it_has_started(queue: Queue, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    job = queue.add("deaf", str(notes), attempts=3)
    until(lambda: notes.exists() and notes.read_text().endswith("\n"), WAIT_S)
    pids = [int(one) for one in notes.read_text().split()]
    assert all(lives(one) for one in pids)
    job.cancel("by user 7")
    with pytest.raises(JobFailed, match="by user 7"):
        job.wait_until_finished(timeout=WAIT_S)
    assert job.refresh().attempts_made == 1
    until(lambda: not any(lives(one) for one in pids), WAIT_S)
    assert zombies() == []


def test_a_job_that_is_lost_to_another_worker_is_killed(app: Application, queue: Queue, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    job = queue.add("deaf", str(notes))
    until(lambda: notes.exists() and notes.read_text().endswith("\n"), WAIT_S)
    space = app.queue.store.transitions.space  # type: ignore[attr-defined]
    with space.lock:
        space.jobs[job.id].token = "another"
    until(lambda: not any(lives(int(one)) for one in notes.read_text().split()), WAIT_S)
    assert app.queue.engine.faults["lease_lost"]
    assert job.get_state() == "active", "it is another worker's"
    complete(app.queue.engine, [Completion(job.id, "another", "null")])


def test_an_idle_child_that_dies_is_replaced(queue: Queue) -> None:
    before = run(queue, "pid")
    os.kill(before, signal.SIGKILL)
    until(lambda: not lives(before), WAIT_S)
    assert run(queue, "pid") != before
    assert zombies() == []


def test_a_child_with_a_full_memory_takes_no_other_job(queue: Queue) -> None:
    before = run(queue, "keep_memory")
    assert run(queue, "pid") != before
    assert not lives(before)


def test_never_more_children_than_allowed_and_first_come_first_served(app: Application, tmp_path: Path) -> None:
    queue = app.queue.create_queue("two", concurrency=5, processor={"sandboxed": True, "max_sandboxes": 2})
    queue.process("wait", handlers.wait_for_file)
    gate = tmp_path / "gate"
    jobs = [queue.add("wait", str(gate)) for _ in range(6)]
    begun = Path(f"{gate}.began")
    until(lambda: begun.exists() and len(begun.read_text().split()) == 2, WAIT_S)
    assert queue.get_job_counts()["active"] == 2, "what could not run was not taken"
    gate.touch()
    results = [job.wait_until_finished(timeout=WAIT_S) for job in jobs]
    assert len(set(results)) == 2
    starts = [job.refresh().processed_on or 0 for job in jobs]
    assert starts == sorted(starts)


def test_sandboxed_jobs_do_not_hold_up_jobs_on_threads(app: Application, tmp_path: Path) -> None:
    queue = app.queue.create_queue("mixed", concurrency=2, processor={"max_sandboxes": 1})
    file = tmp_path / "waits.py"
    file.write_text("from tests.sandbox.handlers import wait_for_file as process\n")
    queue.process("wait", str(file))
    queue.process("quick", lambda job: os.getpid())
    gate = tmp_path / "gate"
    jobs = [queue.add("wait", str(gate)) for _ in range(3)]
    until(lambda: Path(f"{gate}.began").exists(), WAIT_S)
    assert [run(queue, "quick") for _ in range(3)] == [os.getpid()] * 3
    gate.touch()
    assert os.getpid() not in [job.wait_until_finished(timeout=WAIT_S) for job in jobs]
    assert run(queue, "quick") == os.getpid()


def _closed(tmp_path: Path, timeout: float, after: Callable[[Path], None]) -> tuple[bool, str, int]:
    """Close an application whose sandbox runs: whether all had ended, the job's state, and the child."""
    settings = {"driver": "memory", "namespace": f"box{uuid.uuid4().hex[:8]}"}
    observer = create_app({**settings, "worker": {"clock": False}})
    with create_app(settings) as app:
        app.start()
        queue = app.queue.create_queue("q", processor={"sandboxed": True})
        queue.process(handlers.wait_for_file)
        gate = tmp_path / "gate"
        job = queue.add("n", str(gate))
        until(Path(f"{gate}.began").exists, WAIT_S)
        after(gate)
        ended = app.close(timeout=timeout)
    seen = observer.queue.get_queue("q").get_job(job.id)
    assert seen is not None
    observer.close()
    return ended, seen.state, int(Path(f"{gate}.began").read_text())


def test_closing_waits_for_a_sandboxed_job_and_leaves_no_child(tmp_path: Path) -> None:
    ended, state, child = _closed(tmp_path, WAIT_S, lambda gate: gate.touch())
    assert (ended, state, lives(child)) == (True, "completed", False)
    assert zombies() == []


def test_closing_in_time_kills_the_child_and_hands_the_job_back(tmp_path: Path) -> None:
    ended, state, child = _closed(tmp_path, 0.05, lambda gate: None)
    assert (ended, state, lives(child)) == (False, "waiting", False)
    assert zombies() == []


def test_graceful_lets_the_handler_tidy_up(app: Application, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "GRACE_S", WAIT_S)
    options = {"sandboxed": True, "timeout": 200, "killBehavior": "graceful"}
    queue = app.queue.create_queue("graceful", processor=options)
    queue.process(handlers.tidy)
    job = queue.add("n", str(tmp_path / "notes"), timeout=60_000)
    with pytest.raises(JobFailed, match="timed out after 200 ms"):
        job.wait_until_finished(timeout=WAIT_S)
    assert job.get_logs() == ["tidied"]
